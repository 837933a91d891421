"""Tells when a folder changes: inotify(7), by ctypes.

A package for it (watchfiles, watchdog) would be a dependency of everybody for one command, and collects events
for 50 ms before it tells; this is hardly more code than the use of one.
"""

import ctypes
import os
import select
from collections.abc import Iterator
from pathlib import Path

_MASK = 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400
"""IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF.

Not IN_MODIFY: a file that is being written is not finished."""
_ONLYDIR = 0x01000000
_QUIET_MS = 4
"""Changes that come within it come together: an editor writes a file in several steps."""

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Watches a folder and all below it, but for folders of some names. Close it when it is not needed any more."""

    def __init__(self, root: Path, skipped: frozenset[str]) -> None:
        """Raise OSError where the kernel gives no more watches (fs.inotify.max_user_watches)."""
        self._root = root
        self._skipped = skipped
        self._fd: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._look()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return once something has changed and is quiet again, or False after ``timeout_s``."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(None if timeout_s is None else timeout_s * 1000):
            return False
        while poll.poll(_QUIET_MS):
            os.read(self._fd, 1 << 16)
        self._look()
        return True

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)

    def _look(self) -> None:
        """Watch all folders that there are now; those that are watched stay so."""
        for folder in self._folders():
            watched = _libc.inotify_add_watch(self._fd, os.fsencode(folder), _MASK | _ONLYDIR)
            if watched < 0 and os.path.isdir(folder):  # noqa: PTH112 - else it went meanwhile
                raise OSError(ctypes.get_errno(), "inotify_add_watch", folder)

    def _folders(self) -> Iterator[str]:
        for folder, subfolders, _ in os.walk(self._root):
            subfolders[:] = [name for name in subfolders if name not in self._skipped]
            yield folder
