"""Landlock, the second wall: which paths may be read, run or written, and signals only within the sandbox.

What it forbids is forbidden already by mounts and ids where there are namespaces; where there are none it is the wall
that keeps a worker off the host's files. Rules name what a descriptor names, so a rule for a filesystem that was
mounted after the ruleset was thought of must be made from that mount. Rights and their first ABI: landlock(7).
"""

import errno
import os
from collections.abc import Iterable

from runtime.worker import kernel

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

_ABI_RIGHTS = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
SCOPES_ABI = 6
_SCOPE_ABSTRACT_UNIX_SOCKET = 1
_SCOPE_SIGNAL = 2

READ = EXECUTE | READ_FILE | READ_DIR
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that mean something for what is not a directory; the kernel refuses others there, with EINVAL."""


def handled(abi: int) -> int:
    """Return all rights on files that an ABI knows: what no rule allows is denied."""
    rights = 0
    for first, added in _ABI_RIGHTS:
        if abi >= first:
            rights |= added
    return rights


def attributes(abi: int) -> bytes:
    """Return struct landlock_ruleset_attr for an ABI: all rights on files, none on the network, all scopes."""
    files = handled(abi).to_bytes(8, "little")
    if abi < SCOPES_ABI:
        return files
    return files + bytes(8) + (_SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL).to_bytes(8, "little")


def confine(abi: int, read: Iterable[str | int], write: Iterable[str | int], use: Iterable[str | int]) -> None:
    """Confine this process for ever, by ``rules``."""
    ruleset = rules(abi, read, write, use)
    try:
        kernel.landlock_restrict(ruleset)
    finally:
        os.close(ruleset)


def rules(abi: int, read: Iterable[str | int], write: Iterable[str | int], use: Iterable[str | int]) -> int:
    """Return a ruleset: what may be ``read`` and run, ``write`` as well, or ``use`` (devices, read and written).

    Each is a path or a descriptor. A path that does not exist is left out: what is not allowed is denied.
    """
    known = handled(abi)
    ruleset = kernel.landlock_create(attributes(abi))
    try:
        for places, rights in ((read, READ), (write, known & ~IOCTL_DEV), (use, READ_FILE | WRITE_FILE | IOCTL_DEV)):
            for place in places:
                try:
                    _allow(ruleset, rights & known, place)
                except FileNotFoundError:
                    continue
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def _allow(ruleset: int, rights: int, place: str | int) -> None:
    fd = os.open(place, os.O_PATH | os.O_CLOEXEC) if isinstance(place, str) else place
    try:
        try:
            kernel.landlock_allow(ruleset, rights, fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            kernel.landlock_allow(ruleset, rights & _OF_FILES, fd)
    finally:
        if isinstance(place, str):
            os.close(fd)
