"""The Linux system calls that Python 3.11 lacks, one thin function each.

Every function raises OSError with the errno and the call's name. They go through ``PyDLL``: the interpreter's lock is
kept, because zygote and workers-to-be have one thread and a call is over in microseconds. Numbers from the kernel's
``syscall.tbl``; calls newer than Linux 5.1 have the same number on every architecture.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


RDONLY = 0x1
NOSUID = 0x2
NODEV = 0x4
NOEXEC = 0x8
"""Attributes of mounts (mount_setattr(2), MOUNT_ATTR_*)."""

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_SET_MODE_FILTER = 1

_PR_GET_TID_ADDRESS = 40
_CLONE_CHILD_CLEARTID = 0x00200000
_CLONE_CHILD_SETTID = 0x01000000
_CLONE_INTO_CGROUP = 0x200000000
_SIGCHLD = 17
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MS_SLAVE = 0x80000
_MNT_DETACH = 2
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 0x1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MADV_POPULATE_WRITE = 23
_MADV_COLLAPSE = 25
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MOST_MMAP_THRESHOLD = 32 * 1024 * 1024
_HUGE = 1 << 21
"""Bytes of a huge page, on x86_64 and, with pages of 4 KB, on aarch64."""
_CLOEXEC = 1
"""Of fsopen and fsmount; open_tree takes O_CLOEXEC."""

_NUMBERS = {
    "x86_64": {
        "capset": 126,
        "clone": 56,
        "mount": 165,
        "pivot_root": 155,
        "prctl": 157,
        "seccomp": 317,
        "setns": 308,
        "umount2": 166,
        "unshare": 272,
    },
    "aarch64": {
        "capset": 91,
        "clone": 220,
        "mount": 40,
        "pivot_root": 41,
        "prctl": 167,
        "seccomp": 277,
        "setns": 268,
        "umount2": 39,
        "unshare": 97,
    },
}
_COMMON = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "mount_setattr": 442,
    "clone3": 435,
    "close_range": 436,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

_BYTES = bytes.__basicsize__ - 1
"""Where in a bytes object its characters begin: behind all else but the null that ends them."""

MACHINE = platform.machine()
"""Architecture: the supported ones are the keys of _NUMBERS."""
_NUMBER = {**_COMMON, **_NUMBERS.get(MACHINE, {})}

_set_limit: Callable[..., Any] = resource.setrlimit
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall: Any = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long]


@contextlib.contextmanager
def pretended(answer: Callable[[], int]) -> Iterator[None]:
    """Within this block, call the kernel by no function here but ``fork``: ``answer`` gives what would come of it."""
    global _set_limit, _syscall
    made = _syscall, _set_limit
    _syscall, _set_limit = (lambda *_: answer()), (lambda *_: None)
    try:
        yield
    finally:
        _syscall, _set_limit = made


def _call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _syscall(_NUMBER[name], *values)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _is_glibc() -> bool:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") is not None
    except (OSError, ValueError):
        return False


_GLIBC = _is_glibc()


def keep_freed_memory(size: int) -> None:
    """Have malloc keep so many bytes that were freed, and keep large blocks among the others (mallopt(3)).

    It maps each large block by itself otherwise, or gives back what is freed at once: to fault it in again costs more
    than all that is done with it.
    """
    if _GLIBC:
        _libc.mallopt(_M_MMAP_THRESHOLD, _MOST_MMAP_THRESHOLD)
        _libc.mallopt(_M_TRIM_THRESHOLD, size)


def fork() -> int:
    """Fork without Python's at-fork hooks, as os.fork otherwise. Only where there is, and has been, one thread.

    The hooks (threading, logging) repair locks that another thread may have held: there is none, and what they touch
    would have to be copied for each child, 160 pages and 0.4 ms.
    """
    pid: int = _libc.fork()
    if pid < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"fork: {os.strerror(code)}")
    return pid


def fork_into(cgroup: int) -> int:
    """Fork as ``fork`` does, the child being born in the cgroup (v2) whose directory ``cgroup`` is: that costs nothing.

    Raises OSError also where the kernel or a filter around us does not offer it.
    """
    if not _GLIBC:
        raise OSError(errno.ENOSYS, "clone3: another C library keeps the thread's id in another way")
    # The C library keeps the thread's id at an address that clone3 must fill in for the child: the one where the kernel
    # is to clear it at the thread's end.
    address = ctypes.c_uint64()
    _call("prctl", _PR_GET_TID_ADDRESS, ctypes.addressof(address), 0, 0, 0)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal; stack, tls and set_tid are none; cgroup.
    flags = _CLONE_INTO_CGROUP | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
    arguments = struct.pack("<11Q", flags, 0, address.value, 0, _SIGCHLD, 0, 0, 0, 0, 0, cgroup)
    return _call("clone3", arguments, len(arguments))


def clone(flags: int) -> int:
    """Fork into new namespaces (CLONE_NEW*), with Python's at-fork hooks; return the child's pid, 0 in the child.

    For a process that has run other code than ours. It must have one thread: the C library's own hooks are not called.
    """
    if not _GLIBC:
        raise OSError(errno.ENOSYS, "clone: another C library keeps the thread's id in another way")
    address = ctypes.c_uint64()
    _call("prctl", _PR_GET_TID_ADDRESS, ctypes.addressof(address), 0, 0, 0)
    flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID | _SIGCHLD
    # clone(flags, stack, parent_tid, child_tid, tls), the last two the other way round on aarch64.
    last = (address.value, 0) if MACHINE == "x86_64" else (0, address.value)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _syscall(_NUMBER["clone"], *(ctypes.c_long(value) for value in (flags, 0, 0, *last)))
    code = ctypes.get_errno()
    if pid:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    if pid < 0:
        raise OSError(code, f"clone: {os.strerror(code)}")
    return pid


def collapse() -> None:
    """Gather this process's memory in huge pages, where it can: a fork then copies fewer entries of page tables."""
    with open("/proc/self/maps") as file:  # noqa: PTH123 - no Path in a worker
        lines = file.read().splitlines()
    for line in lines:
        span, rights, *_, name = (*line.split(None, 5), "")[:6]
        if rights != "rw-p" or name not in ("", "[heap]"):
            continue
        first, end = (int(address, 16) for address in span.split("-"))
        first, end = -(-first // _HUGE) * _HUGE, end // _HUGE * _HUGE
        if first < end:
            # What cannot be gathered stays as it is.
            _libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _MADV_COLLAPSE)


def populate(spans: bytes) -> None:
    """Make pages this process's own that it is going to write to: pairs of first address and length, in bytes.

    What is not there, or cannot be had (before Linux 5.14), is left out.
    """
    for first, length in struct.iter_unpack("=QQ", spans):
        _libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _MADV_POPULATE_WRITE)


def _path(path: str) -> bytes:
    if "\0" in path:
        raise ValueError("a path with a null character means another path to the kernel")
    return path.encode(errors="surrogateescape")  # as os.fsencode, whose own functions and texts are six pages more


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` (CLONE_NEW*) name, for new ones."""
    _call("unshare", flags)


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


def setns(fd: int, kind: int) -> None:
    """Join the namespace of ``kind`` (CLONE_NEW*) that ``fd`` names."""
    _call("setns", fd, kind)


def make_slave(path: str) -> None:
    """Let the mount at ``path`` and all below it hear of mounts made outside, but not tell of theirs."""
    _call("mount", None, _path(path), None, _MS_REC | _MS_SLAVE, None)


def unmount(path: str) -> None:
    """Detach the mount at ``path`` now; it goes when nothing uses it any more."""
    _call("umount2", _path(path), _MNT_DETACH)


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root and move the old one to ``old``."""
    _call("pivot_root", _path(new), _path(old))


def clone_tree(path: str, *, recursive: bool = False) -> int:
    """Return a descriptor of a detached copy of the mount at ``path`` (a bind mount without a place yet)."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _call("open_tree", -100, _path(path), flags)


def place_mount(fd: int, path: str) -> None:
    """Attach the detached mount ``fd`` at ``path``."""
    _call("move_mount", fd, b"", -100, _path(path), _MOVE_MOUNT_F_EMPTY_PATH)


def restrict_mount(fd: int, attributes: int, *, recursive: bool = False) -> None:
    """Add attributes (RDONLY, NOSUID ...) to the mount ``fd``, and cut it off from propagation."""
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    values = struct.pack("<QQQQ", attributes, 0, _MS_PRIVATE, 0)
    _call("mount_setattr", fd, b"", _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0), values, len(values))


def new_filesystem(kind: str, options: Mapping[str, str | None], attributes: int) -> int:
    """Return a detached mount of a new filesystem. An option that is None is a flag."""
    context = _call("fsopen", kind.encode(), _CLOEXEC)
    try:
        for key, value in options.items():
            if value is None:
                _call("fsconfig", context, _FSCONFIG_SET_FLAG, key.encode(), None, 0)
            else:
                _call("fsconfig", context, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
        _call("fsconfig", context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("fsmount", context, _CLOEXEC, attributes)
    finally:
        os.close(context)


def prctl(option: int, argument: int = 0) -> None:
    """Set one attribute of the process (PR_*)."""
    _call("prctl", option, argument, 0, 0, 0)


def close_from(fd: int) -> None:
    """Close every descriptor from ``fd`` on."""
    _call("close_range", fd, 0xFFFFFFFF, 0)


def hold_to(limit: int, value: int) -> None:
    """Set a resource limit (resource.RLIMIT_*) for good; a lower one that we were given and may not raise stays."""
    try:
        _set_limit(limit, (value, value))
    except ValueError:  # getrlimit(2): EPERM
        _, lower = resource.getrlimit(limit)
        resource.setrlimit(limit, (lower, lower))


def drop_capabilities(kept: int = 0) -> None:
    """Leave nothing in the permitted and effective sets but ``kept``, a mask of the first 32; and inherit none."""
    # struct __user_cap_header_struct of _LINUX_CAPABILITY_VERSION_3, then two data structs: effective, permitted,
    # inheritable, each in halves.
    header = (0x20080522).to_bytes(4, "little") + bytes(4)
    _call("capset", header, kept.to_bytes(4, "little") * 2 + bytes(16))


def load_filter(program: bytes) -> None:
    """Load a seccomp filter: ``program`` is an array of struct sock_filter."""
    # struct sock_fprog: a 16-bit length, padding, a pointer. ctypes would make a type of array first, on 15 pages.
    head = struct.pack("<QQ", len(program) // 8, id(program) + _BYTES)
    _call("seccomp", SECCOMP_SET_MODE_FILTER, 0, head)


def landlock_abi() -> int:
    """Return the version of Landlock's ABI. Raises OSError where the kernel has none."""
    return _call("landlock_create_ruleset", None, 0, 1)


def landlock_create(attributes: bytes) -> int:
    """Return a descriptor of a new ruleset: ``attributes`` is struct landlock_ruleset_attr."""
    return _call("landlock_create_ruleset", attributes, len(attributes), 0)


def landlock_allow(ruleset: int, rights: int, fd: int) -> None:
    """Allow ``rights`` on what ``fd`` names and all below it."""
    # struct landlock_path_beneath_attr, packed.
    _call("landlock_add_rule", ruleset, 1, struct.pack("<Qi", rights, fd), 0)


def landlock_restrict(ruleset: int) -> None:
    """Confine this process by a ruleset."""
    _call("landlock_restrict_self", ruleset, 0)


def ended() -> Iterator[tuple[int, int]]:
    """Collect the children that ended, and yield pid and status of each; never waits."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status
