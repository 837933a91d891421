"""What this machine lets a sandbox do, found out by doing it: the program of a throw-away process.

It is executed as ``python -I -S`` with the mode ("root", "user" or "bare") and a uid, tries each control in a child of
its own with the code that confines workers, and writes one JSON object: by control, null where it works, else
[errno, reason]. Controls are named as the steps of ``sandbox``.
"""

import errno
import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Callable

from runtime.worker import kernel, landlock, rights, root, seccomp

Trial = Callable[[str, int], None]
"""Takes the mode and the uid; raises OSError where the control cannot be had."""


def main(arguments: list[str]) -> None:
    """Run all trials and print the result."""
    mode, uid = arguments[0], int(arguments[1])
    results = {name: _attempt(trial, mode, uid) for name, trial in _TRIALS.items() if mode != "bare" or name in _BARE}
    sys.stdout.write(json.dumps(results))
    sys.stdout.flush()


def _attempt(trial: Trial, mode: str, uid: int) -> list[int | str] | None:
    """Run a trial in a child; return None, or errno and reason."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        answer = b"null"
        try:
            trial(mode, uid)
        except OSError as error:
            answer = json.dumps([error.errno or 0, error.strerror or str(error)]).encode()
        except BaseException as error:
            answer = json.dumps([0, f"{type(error).__name__}: {error}"]).encode()
        finally:
            os.write(write_end, answer)
            os._exit(0)
    os.close(write_end)
    answer = os.read(read_end, 4096)
    os.close(read_end)
    _, status = os.waitpid(pid, 0)
    if not answer:
        return [0, f"the trial ended with status {status}"]
    result: list[int | str] | None = json.loads(answer)
    return result


def _enter(mode: str, flags: int = 0) -> None:
    """Make namespaces as the zygote does: in mode "user" inside a user namespace."""
    if mode == "user":
        uid, gid = os.getuid(), os.getgid()
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
        kernel.write_maps(0, uid, 0, gid)
        flags &= ~kernel.CLONE_NEWPID
    if flags:
        kernel.unshare(flags)


def _within(trial: Callable[[], None]) -> None:
    """Run a trial as pid 1 of the new pid namespace; raise what it raised."""
    failure = _attempt(lambda _mode, _uid: trial(), "", 0)
    if failure is not None:
        raise OSError(int(failure[0]), str(failure[1]))


def _user(mode: str, _uid: int) -> None:
    _enter(mode)


def _pid(mode: str, _uid: int) -> None:
    def check() -> None:
        if os.getpid() != 1:
            raise OSError(errno.EINVAL, "the pid namespace was not entered")

    _enter(mode, kernel.CLONE_NEWPID)
    _within(check)


def _mount(mode: str, _uid: int) -> None:
    _enter(mode, kernel.CLONE_NEWNS)
    kernel.make_slave("/")


def _mounts(mode: str, _uid: int) -> None:
    _mount(mode, 0)
    tree = kernel.clone_tree("/usr")
    kernel.restrict_mount(tree, kernel.RDONLY | kernel.NOSUID | kernel.NODEV)
    memory = kernel.new_filesystem("tmpfs", {"size": "1m", "mode": "1777"}, kernel.NOSUID | kernel.NODEV)
    kernel.place_mount(memory, "/tmp")


def _root(mode: str, _uid: int) -> None:
    _enter(mode, kernel.CLONE_NEWPID | kernel.CLONE_NEWNS)
    kernel.make_slave("/")
    _within(lambda: root.enter(""))


def _proc(mode: str, _uid: int) -> None:
    def show() -> None:
        fd = kernel.new_filesystem("proc", {"subset": "pid"}, kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
        kernel.place_mount(fd, "/proc")

    _enter(mode, kernel.CLONE_NEWPID | kernel.CLONE_NEWNS)
    kernel.make_slave("/")
    _within(show)


def _ipc(mode: str, _uid: int) -> None:
    _enter(mode, kernel.CLONE_NEWIPC)


def _uts(mode: str, _uid: int) -> None:
    _enter(mode, kernel.CLONE_NEWUTS)
    socket.sethostname("trial")


def _cgroup_view(mode: str, _uid: int) -> None:
    _enter(mode, kernel.CLONE_NEWCGROUP)


def _network(mode: str, _uid: int) -> None:
    _enter(mode, kernel.CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def _identity(mode: str, uid: int) -> None:
    if mode == "user":
        _enter(mode)
        kernel.unshare(kernel.CLONE_NEWUSER)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        kernel.write_maps(rights.WORKER_UID, 0, rights.WORKER_GID, 0)
    else:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def _privileges(_mode: str, _uid: int) -> None:
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _landlock(_mode: str, _uid: int) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    landlock.confine(kernel.landlock_abi(), ["/usr"], [], [])
    _must_fail(lambda: os.open("/", os.O_RDONLY), "a path that no rule allows was read")


def _signals(_mode: str, _uid: int) -> None:
    abi = kernel.landlock_abi()
    if abi < landlock.SCOPES_ABI:
        raise OSError(errno.EOPNOTSUPP, f"Landlock has ABI {abi}, its scopes came with {landlock.SCOPES_ABI}")


def _seccomp(_mode: str, _uid: int) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.load_filter(seccomp.program(kernel.MACHINE))
    _must_fail(lambda: kernel.unshare(kernel.CLONE_NEWUTS), "a call that the filter forbids was made")


def _must_fail(action: Callable[[], object], otherwise: str) -> None:
    try:
        action()
    except PermissionError:
        return
    raise OSError(errno.EINVAL, otherwise)


_TRIALS: dict[str, Trial] = {
    "user": _user,
    "pid": _pid,
    "mount": _mount,
    "mounts": _mounts,
    "root": _root,
    "proc": _proc,
    "ipc": _ipc,
    "uts": _uts,
    "cgroup_view": _cgroup_view,
    "network": _network,
    "identity": _identity,
    "privileges": _privileges,
    "landlock": _landlock,
    "signals": _signals,
    "seccomp": _seccomp,
}
_BARE = frozenset({"identity", "privileges", "landlock", "signals", "seccomp"})
"""What there is to try where no namespaces are made."""
