"""Steps of the sandbox that settle what a worker sees: cgroup, namespaces, mounts, names."""

# What socket wraps dresses numbers as enums, which would copy 20 pages into each child.
import _socket
import errno
import fcntl
import os
import socket
import struct

from runtime import wire
from runtime.worker import kernel
from runtime.worker.job import Job

_OPTIONAL_NAMESPACES = {
    "ipc": kernel.CLONE_NEWIPC,
    "uts": kernel.CLONE_NEWUTS,
    "cgroup_view": kernel.CLONE_NEWCGROUP,
}
_AF_INET, _SOCK_DGRAM = int(socket.AF_INET), int(socket.SOCK_DGRAM)
_SIOCSIFFLAGS = 0x8914
_LOOPBACK_UP = struct.pack("16sH22x", b"lo", 0x1)
"""struct ifreq with IFF_UP: netdevice(7)."""
_FOLDERS = {"code": "/var/task", "layers": "/opt"}
_SHM_BYTES = 16 * 1024 * 1024
_SHM_INODES = 1024
_INODE_BYTES = 4096
"""Of a /tmp, for each inode, where the order does not say."""


def cgroup(job: Job) -> None:
    """Join the cgroup: a process that writes 0 moves itself, which is quick for a single-threaded one."""
    for fd in job.cgroups:
        os.write(fd, b"0")


def namespaces(job: Job) -> None:
    """Leave the zygote's namespaces; the pid namespace is the zygote's doing, who forked us into a new one."""
    flags = kernel.CLONE_NEWNS
    for name, flag in _OPTIONAL_NAMESPACES.items():
        if name not in job.missing:
            flags |= flag
    kernel.unshare(flags)


def network(job: Job) -> None:
    """Join the network namespace that was passed, or make one with nothing but a loopback of its own."""
    if "netns" in job.fds:
        kernel.setns(job.fds["netns"], kernel.CLONE_NEWNET)
    else:
        kernel.unshare(kernel.CLONE_NEWNET)
        any_socket = _socket.socket(_AF_INET, _SOCK_DGRAM)
        fcntl.ioctl(any_socket.fileno(), _SIOCSIFFLAGS, _LOOPBACK_UP)
        any_socket.close()


def proc(_job: Job) -> None:
    """Show this pid namespace in /proc, and nothing but processes."""
    # Made before the zygote's is taken away: inside a user namespace the kernel gives a proc only to those who see one.
    fd = kernel.new_filesystem("proc", {"subset": "pid"}, kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    kernel.unmount("/proc")
    kernel.place_mount(fd, "/proc")
    os.close(fd)


def group(_job: Job) -> None:
    """Lead a process group of our own: kill(0) must not reach the zygote."""
    os.setpgid(0, 0)


def own_proc(_job: Job) -> None:
    """Show this pid namespace in /proc: over the template's, which cannot be taken away from below."""
    fd = kernel.new_filesystem("proc", {"subset": "pid"}, kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    kernel.place_mount(fd, "/proc")
    os.close(fd)


def cgroup_view(_job: Job) -> None:
    """See the cgroup that was just joined as the root of all."""
    kernel.unshare(kernel.CLONE_NEWCGROUP)


def tmp(job: Job) -> None:
    """Place /tmp and /dev/shm."""
    limits = job.order.limits
    if "tmp" in job.fds:
        of_tmp = job.fds.pop("tmp")
    else:
        of_tmp = _tmpfs(limits["tmp_bytes"], limits.get("tmp_inodes", limits["tmp_bytes"] // _INODE_BYTES))
    of_shm = _tmpfs(limits.get("shm_bytes", _SHM_BYTES), _SHM_INODES)
    for path, fd in (("/tmp", of_tmp), ("/dev/shm", of_shm)):
        kernel.place_mount(fd, path)
        os.close(fd)


def mounts(job: Job) -> None:
    """Place the function's folders; or let the mounter do it as soon as they are known (``mounter``).

    The host's paths exist in another mount namespace only: step into it, take copies along, and step back.
    """
    own_view = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    if job.has_gate:
        _pass_on(job.fds["gate"], own_view)
    else:
        folders = job.order.folders
        if "layers" in folders:
            check_layers()
        kernel.setns(job.setting.host_view, kernel.CLONE_NEWNS)
        copied = copies(folders)
        kernel.setns(own_view, kernel.CLONE_NEWNS)
        place(copied)
    os.close(own_view)


def check_layers() -> None:
    """Raise OSError where layers would hide what workers run."""
    if os.listdir(_FOLDERS["layers"]):  # noqa: PTH208 - no Path in a worker
        raise OSError(errno.EBUSY, "the interpreter lies in /opt, so layers cannot be placed there")


def copies(folders: dict[str, str]) -> dict[str, int]:
    """Return detached, read-only mounts of a function's folders, whose paths are in sight, by where they belong."""
    fds: dict[str, int] = {}
    try:
        for name, path in _FOLDERS.items():
            if name in folders:
                fds[path] = kernel.clone_tree(folders[name])
                kernel.restrict_mount(fds[path], kernel.RDONLY | kernel.NOSUID | kernel.NODEV)
    except BaseException:
        close(fds)
        raise
    return fds


def place(mounts: dict[str, int]) -> None:
    """Attach detached mounts, each at its path, and close them."""
    try:
        for path, fd in mounts.items():
            kernel.place_mount(fd, path)
    finally:
        close(mounts)


def close(mounts: dict[str, int]) -> None:
    """Let go of mounts: those that are detached are gone then."""
    for fd in mounts.values():
        os.close(fd)


def _pass_on(gate: int, fd: int) -> None:
    end = _socket.socket(fileno=gate)
    end.sendmsg([wire.NAMESPACE], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", fd))])
    end.detach()


def _tmpfs(size: int, inodes: int) -> int:
    options = {"size": str(size), "nr_inodes": str(inodes), "mode": "1777"}
    return kernel.new_filesystem("tmpfs", options, kernel.NOSUID | kernel.NODEV)


def hostname(job: Job) -> None:
    """Set the host's name, in our own uts namespace only."""
    if "uts" not in job.missing:
        socket.sethostname(job.order.hostname)


def directory(job: Job) -> None:
    """Stand where the function's code lies."""
    os.chdir(job.order.folders["code"] if job.setting.mode == "bare" else _FOLDERS["code"])
