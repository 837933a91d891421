"""Appends to the files of log groups: rotation, a cap on the whole, few open files. Blocking; used by one thread.

A group's file is begun anew once it has reached its size; the newest of the old ones are kept. Where all files together
outgrow the total, the oldest files go, whoever's they are. Files are only ever appended to and removed as a whole, so a
reader's place in one (its name and an offset) stays true.
"""

import collections
import dataclasses
import os
from pathlib import Path

from runtime.telemetry import folders

OPEN_FILES = 64
"""Files kept open: thousands of functions may log, and file descriptors are few."""

_EVICT_TO = 0.9
"""Of the total; so that a full store is not searched for old files at every write."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept."""

    file_bytes: int = 10 * 1024 * 1024
    files: int = 5
    """Files of a group beside the one being written."""
    total_bytes: int = 10 * 1024 * 1024 * 1024
    """Of all groups."""


@dataclasses.dataclass(slots=True)
class _File:
    fd: int
    folder: Path
    begun: int
    size: int


class Files:
    """The log files under a root."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._open: collections.OrderedDict[str, _File] = collections.OrderedDict()
        self._total = -1  # not counted yet

    def append(self, group: str, data: bytes, now_ms: int) -> None:
        """Append whole lines to a group's newest file; raise OSError where the disk refuses."""
        file = self._open.get(group)
        if file is None:
            file = self._find(group, now_ms)
        else:
            self._open.move_to_end(group)
        if file.size and file.size + len(data) > self._limits.file_bytes:
            file = self._rotate(group, file, now_ms)
        try:
            _write(file.fd, data)
        except OSError:
            # A part may have been written: _find ends the broken line.
            self._close(group)
            raise
        file.size += len(data)
        self._grow(len(data))

    def close(self) -> None:
        """Close the open files."""
        for group in list(self._open):
            self._close(group)

    def _find(self, group: str, now_ms: int) -> _File:
        folder = folders.of_group(self._root, group)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = folders.files(folder)
        if not known:
            return self._begin(group, folder, now_ms)
        fd = _open(folder / folders.file_name(known[-1]))
        file = _File(fd, folder, known[-1], os.fstat(fd).st_size)
        self._keep(group, file)
        if file.size and os.pread(fd, 1, file.size - 1) != b"\n":
            # A crash cut the last line off.
            _write(fd, b"\n")
            file.size += 1
        return file

    def _begin(self, group: str, folder: Path, begun: int) -> _File:
        name = folders.file_name(begun)
        file = _File(_open(folder / name, os.O_CREAT | os.O_EXCL), folder, begun, 0)
        self._keep(group, file)
        link = folder / f"{folders.CURRENT}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.replace(folder / folders.CURRENT)
        return file

    def _rotate(self, group: str, file: _File, now_ms: int) -> _File:
        self._close(group)
        old = folders.files(file.folder)
        for begun in old[: max(0, len(old) - self._limits.files)]:
            self._remove(file.folder / folders.file_name(begun))
        return self._begin(group, file.folder, max(now_ms, file.begun + 1))

    def _keep(self, group: str, file: _File) -> None:
        self._open[group] = file
        if len(self._open) > OPEN_FILES:
            self._close(next(iter(self._open)))

    def _close(self, group: str) -> None:
        os.close(self._open.pop(group).fd)

    def _grow(self, size: int) -> None:
        if self._total < 0:
            self._total = sum(stat.st_size for _, stat in self._all())
        else:
            self._total += size
        if self._total > self._limits.total_bytes:
            self._evict()

    def _evict(self) -> None:
        """Remove the oldest files, but for those being written, until there is room again."""
        found = sorted(self._all(), key=lambda entry: entry[1].st_mtime_ns)
        self._total = sum(stat.st_size for _, stat in found)
        writing = {file.folder / folders.file_name(file.begun) for file in self._open.values()}
        for path, _ in found:
            if self._total <= self._limits.total_bytes * _EVICT_TO:
                return
            if path not in writing:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return
        if self._total >= 0:
            self._total -= size

    def _all(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                if folders.begun(name) is not None:
                    path = Path(folder, name)
                    try:
                        found.append((path, path.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        continue
        return found


def _open(path: Path, more: int = 0) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | more, 0o600)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
