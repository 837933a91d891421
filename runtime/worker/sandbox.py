"""The confinement of a worker: an ordered list of named steps, run in the freshly forked child.

A step that fails ends the worker: nothing ever falls through to a weaker sandbox. What is left out was named in the
order, with its reason, and is told in ``wire.Confined.missing``. Why this order:

    cgroup          first, so that all that follows is accounted to the worker
    namespaces      mount, ipc, uts, cgroup (the pid namespace is the zygote's doing: it forked us into it)
    network         needs privilege over the namespace that is joined
    proc            shows this pid namespace only; needs privilege over it
    group           kill(0) must not reach the zygote
    --- up to here nothing depends on the function ---
    mounts          code, layers, /tmp, /dev/shm: while we may still mount
    hostname
    user            [mode "user"] a user namespace of the worker's own: RLIMIT_NPROC counts per user and namespace, so
                    it comes before the limits; it takes away every right over the namespaces above, so it comes last
    limits
    identity        bounding set, groups, ids
    privileges      no capability, no new ones by exec, not dumpable
    landlock
    descriptors     0 /dev/null, 1 and 2 log, 3 requests, 4 responses, nothing else
    directory       /var/task, empty environment
    seccomp         last: it forbids most of the above
"""

import dataclasses
import errno
import fcntl
import os
import resource
import socket
from collections.abc import Callable
from typing import NoReturn

from runtime import wire
from runtime.worker import kernel, landlock

REQUEST_FD = 3
RESPONSE_FD = 4
WORKER_UID = 993
WORKER_GID = 990
"""Inside a worker's own user namespace: the ids that functions have on AWS."""

REFUSED = 70
"""Exit status of a worker whose confinement failed (EX_SOFTWARE)."""

_FOLDERS = {"code": "/var/task", "layers": "/opt"}
_SHM_BYTES = 16 * 1024 * 1024
_SHM_INODES = 1024
_INODE_BYTES = 4096
"""Of a /tmp, for each inode."""
_SPARE_FD = 64
"""Where descriptors are parked while 0 to 4 are laid out."""


class StepFailed(Exception):
    """A step failed: ``step`` is its name, ``errno`` the system call's answer, or 0."""

    def __init__(self, step: str, code: int, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.errno = code
        self.reason = reason


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """What all workers of a zygote share."""

    mode: str
    """"root", "user" or "bare"."""
    filter: bytes
    """The seccomp program."""
    landlock_abi: int
    """0: the kernel has none."""
    readable: tuple[str, ...]
    """Mode "bare": host paths that a worker may read."""
    absent: dict[str, str]
    """Controls that no worker of this zygote has, with reasons."""
    host_view: int
    """Descriptor of a mount namespace that shows the host's folders; -1 in mode "bare"."""


@dataclasses.dataclass(slots=True)
class Job:
    """One worker to confine: the order, the descriptors that came with it, and what was left out so far."""

    setting: Setting
    order: wire.Spawn
    fds: dict[str, int]
    cgroups: list[int]
    missing: dict[str, str]

    @property
    def response_fd(self) -> int:
        """Return where the outcome is to be told: it moves as descriptors are laid out."""
        return self.fds["response"]

    def lacks(self, control: str) -> bool:
        """Return whether a control is to be left out, and note it."""
        reason = self.setting.absent.get(control) or self.order.skip.get(control)
        if reason is None:
            return False
        self.missing[control] = reason
        return True


def prepare(job: Job) -> None:
    """Run the steps that need nothing of the function."""
    _run(PREPARE, job)


def seal(job: Job) -> None:
    """Run the steps that make the worker the function's, and close the door."""
    _run(SEAL, job)


def _run(steps: "tuple[Step, ...]", job: Job) -> None:
    for name, step in steps:
        if job.lacks(name):
            continue
        try:
            step(job)
        except OSError as error:
            raise StepFailed(name, error.errno or 0, str(error)) from error
        except Exception as error:
            raise StepFailed(name, 0, f"{type(error).__name__}: {error}") from error


def _cgroup(job: Job) -> None:
    if not job.cgroups:
        raise OSError(errno.EBADF, "no cgroup was passed")
    for fd in job.cgroups:
        os.write(fd, b"0")


_NAMESPACES = (
    ("mount", kernel.CLONE_NEWNS),
    ("ipc", kernel.CLONE_NEWIPC),
    ("uts", kernel.CLONE_NEWUTS),
    ("cgroup_view", kernel.CLONE_NEWCGROUP),
)


def _namespaces(job: Job) -> None:
    flags = 0
    for name, flag in _NAMESPACES:
        if not job.lacks(name):
            flags |= flag
    kernel.unshare(flags)


def _network(job: Job) -> None:
    if "netns" in job.fds:
        kernel.setns(job.fds["netns"], kernel.CLONE_NEWNET)
    else:
        kernel.unshare(kernel.CLONE_NEWNET)


def _proc(_job: Job) -> None:
    # Made before the zygote's is taken away: inside a user namespace the kernel gives a proc only to those who see one.
    fd = kernel.new_filesystem("proc", {"subset": "pid"}, kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    kernel.unmount("/proc")
    kernel.place_mount(fd, "/proc")
    os.close(fd)


def _group(_job: Job) -> None:
    os.setpgid(0, 0)


def _mounts(job: Job) -> None:
    copies = _copies(job)
    limits = job.order.limits
    if "tmp" in job.fds:
        copies["/tmp"] = job.fds["tmp"]
    else:
        copies["/tmp"] = _tmpfs(limits["tmp_bytes"], limits.get("tmp_inodes", limits["tmp_bytes"] // _INODE_BYTES))
    copies["/dev/shm"] = _tmpfs(limits.get("shm_bytes", _SHM_BYTES), _SHM_INODES)
    for path, fd in copies.items():
        kernel.place_mount(fd, path)
        os.close(fd)


def _copies(job: Job) -> dict[str, int]:
    """Return detached, read-only mounts of the function's folders by where they belong.

    The host's paths exist in another mount namespace only: step into it, take copies along, and step back.
    """
    folders = job.order.folders
    own_view = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    kernel.setns(job.setting.host_view, kernel.CLONE_NEWNS)
    copies = {path: kernel.clone_tree(folders[name]) for name, path in _FOLDERS.items() if name in folders}
    kernel.setns(own_view, kernel.CLONE_NEWNS)
    os.close(own_view)
    for fd in copies.values():
        kernel.restrict_mount(fd, kernel.RDONLY | kernel.NOSUID | kernel.NODEV)
    return copies


def _tmpfs(size: int, inodes: int) -> int:
    options = {"size": str(size), "nr_inodes": str(inodes), "mode": "1777"}
    return kernel.new_filesystem("tmpfs", options, kernel.NOSUID | kernel.NODEV)


def _hostname(job: Job) -> None:
    socket.sethostname(job.order.hostname)


def _user(job: Job) -> None:
    if job.setting.mode != "user":
        return  # the worker has an id of its own instead
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    # A process that is not dumpable does not own its own /proc/self/uid_map.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    write_maps(WORKER_UID, uid, WORKER_GID, gid)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def write_maps(inner_uid: int, uid: int, inner_gid: int, gid: int) -> None:
    """Map one uid and one gid of the parent into the user namespace this process just made."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inner_uid} {uid} 1"),
        ("gid_map", f"{inner_gid} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _limits(job: Job) -> None:
    # A core of 1 byte is none (no core format fits), and unlike 0 it also keeps the kernel from starting a core_pattern
    # program, which ignores the limit otherwise: core(5).
    for name, value in {**job.order.limits, "CORE": 1}.items():
        if name.isupper():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def _identity(job: Job) -> None:
    drop_bounding_set()
    if job.setting.mode != "user":
        os.setgroups([])
        os.setresgid(job.order.gid, job.order.gid, job.order.gid)
        os.setresuid(job.order.uid, job.order.uid, job.order.uid)


def drop_bounding_set() -> None:
    """Give up every capability that an exec could bring back. Raises OSError where even that is not allowed."""
    for capability in range(64):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return  # the first number that the kernel does not know
            raise


def _privileges(_job: Job) -> None:
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    # Forgotten by the kernel when the ids change, so it comes after.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)


_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def _landlock(job: Job) -> None:
    abi = job.setting.landlock_abi
    if not abi:
        raise OSError(errno.EOPNOTSUPP, "the kernel has no Landlock")
    if job.setting.mode == "bare":
        folders = job.order.folders
        own = [folders[name] for name in _FOLDERS if name in folders]
        landlock.confine(abi, [*job.setting.readable, "/proc/self", *own], [folders["tmp"]], _DEVICES)
    else:
        landlock.confine(abi, ["/"], ["/tmp", "/dev/shm"], _DEVICES)


def _descriptors(job: Job) -> None:
    fds = job.fds
    parked = {}
    fds["null"] = os.open("/dev/null", os.O_RDONLY)
    for name in ("null", "log", "request", "response"):
        parked[name] = fcntl.fcntl(fds[name], fcntl.F_DUPFD_CLOEXEC, _SPARE_FD)
    os.dup2(parked["null"], 0)
    os.dup2(parked["log"], 1)
    os.dup2(parked["log"], 2)
    # Not inherited by what the function executes.
    os.dup2(parked["request"], REQUEST_FD, inheritable=False)
    os.dup2(parked["response"], RESPONSE_FD, inheritable=False)
    fds.clear()
    fds["response"] = RESPONSE_FD
    kernel.close_from(RESPONSE_FD + 1)


def _directory(job: Job) -> None:
    os.environ.clear()
    os.chdir("/var/task" if job.setting.mode != "bare" else job.order.folders["code"])


def _seccomp(job: Job) -> None:
    kernel.load_filter(job.setting.filter)


Step = tuple[str, Callable[[Job], None]]

PREPARE: tuple[Step, ...] = (
    ("cgroup", _cgroup),
    ("namespaces", _namespaces),
    ("network", _network),
    ("proc", _proc),
    ("group", _group),
)
SEAL: tuple[Step, ...] = (
    ("mounts", _mounts),
    ("hostname", _hostname),
    ("user", _user),
    ("limits", _limits),
    ("identity", _identity),
    ("privileges", _privileges),
    ("landlock", _landlock),
    ("descriptors", _descriptors),
    ("directory", _directory),
    ("seccomp", _seccomp),
)


def confine(job: Job, serve: Callable[[int, int], NoReturn]) -> NoReturn:
    """Confine this process and let it serve, or tell what stood in the way and exit; never returns."""
    try:
        prepare(job)
        seal(job)
    except StepFailed as failed:
        os.write(job.response_fd, wire.encode(wire.Refused(failed.step, failed.errno, failed.reason)))
        os._exit(REFUSED)
    os.write(RESPONSE_FD, wire.encode(wire.Confined(job.missing)))
    serve(REQUEST_FD, RESPONSE_FD)
