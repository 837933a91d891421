"""The Linux system calls that the supervisor needs and Python 3.11 lacks, one thin function each.

They go through ``CDLL``, which lets other threads run: most are made in threads, and some take milliseconds.
(A worker-to-be has its own, in ``worker.kernel``, that keep the interpreter's lock.) Each raises OSError with the
errno and the call's name. Numbers from the kernel's ``syscall.tbl``; from 424 on they are the same on every
architecture.
"""

import ctypes
import os
from collections.abc import Mapping

CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4

NOSUID = 0x2
NODEV = 0x4
"""Attributes of mounts (mount_setattr(2), MOUNT_ATTR_*)."""

_FSOPEN, _FSCONFIG, _FSMOUNT, _FSPICK = 430, 431, 432, 433
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_FSCONFIG_CMD_RECONFIGURE = 7
_FSPICK_EMPTY_PATH = 8
_CLOEXEC = 1
_SCHED_SETATTR, _SCHED_GETATTR = {"x86_64": (314, 315), "aarch64": (274, 275)}.get(os.uname().machine, (-1, -1))

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(name: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _call(name: str, number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _check(name, _libc.syscall(ctypes.c_long(number), *values))


def new_filesystem(kind: str, options: Mapping[str, str | None], attributes: int) -> int:
    """Return a descriptor (O_PATH) of a detached mount of a filesystem. An option that is None is a flag."""
    context = _call("fsopen", _FSOPEN, kind.encode(), _CLOEXEC)
    try:
        for key, value in options.items():
            if value is None:
                _call("fsconfig", _FSCONFIG, context, _FSCONFIG_SET_FLAG, key.encode(), None, 0)
            else:
                _call("fsconfig", _FSCONFIG, context, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
        _call("fsconfig", _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _call("fsmount", _FSMOUNT, context, _CLOEXEC, attributes)
    finally:
        os.close(context)


def remount(mount: int) -> None:
    """Reconfigure the filesystem of a mount as it is: the kernel then forgets the names that were looked up in it."""
    context = _call("fspick", _FSPICK, mount, b"", _CLOEXEC | _FSPICK_EMPTY_PATH)
    try:
        _call("fsconfig", _FSCONFIG, context, _FSCONFIG_CMD_RECONFIGURE, None, None, 0)
    finally:
        os.close(context)


def syncfs(fd: int) -> None:
    """Write out what waits to be written of the filesystem that ``fd``, which is not O_PATH, lies on."""
    _check("syncfs", _libc.syncfs(fd))


def sched_setattr(pid: int, attributes: bytes) -> None:
    """Have a process, or with 0 the calling thread, scheduled as a struct sched_attr says."""
    _call("sched_setattr", _SCHED_SETATTR, pid, attributes, 0)


def sched_getattr(pid: int, size: int) -> bytes:
    """Return the struct sched_attr of a process, of this size."""
    attributes = ctypes.create_string_buffer(size)
    _call("sched_getattr", _SCHED_GETATTR, pid, attributes, size, 0)
    return attributes.raw


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` (CLONE_NEW*) name, for new ones: the calling thread only."""
    _check("unshare", _libc.unshare(flags))


def setns(fd: int, kind: int) -> None:
    """Join the namespace of ``kind`` (CLONE_NEW*) that ``fd`` names: the calling thread only."""
    _check("setns", _libc.setns(fd, kind))


def prctl(option: int, argument: int) -> None:
    """Set one attribute of the process (PR_*)."""
    _check("prctl", _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), 0, 0, 0))
