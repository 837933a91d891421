"""A stock of empty groups, the same for v1 and v2: made ahead, used again once they are empty.

One stock serves all memory classes: writing the limits of a group takes a few microseconds, making one 170.
Groups move between three queues, each end of which is taken by one thread at a time at most:

    clean -- acquire --> in use -- release --> used -- recycle --> clean, or removed

One that the kernel will not clean or remove is given up: nobody is given it any more, and at the end it is tried again.
"""

import collections
import contextlib
import dataclasses
import errno
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from runtime.pool.cgroups import place, port

_log = logging.getLogger(__name__)

_PATIENCE_S = 1.0
"""How long killed processes may take to be gone."""
_LEFT_BYTES = 8 << 20
"""Memory in an empty group that is no sign of anything: the kernel's own, and counters that lag behind."""
LITTLE_BYTES = 1 << 20
"""Memory that may stay charged to a group that is used again: it is the next worker's, which has so much less. To free
it takes 0.8 ms of processor time, and most workers leave some 20 KB."""
_SUSPICIOUS_ROUNDS = 50
_LAST_ROUND = 500
"""Attempts to empty a group that others can join: after which they are suspected, after which it is let go."""


class Kept(port.Group, Protocol):
    """What a group offers to the stock."""

    def empty(self) -> bool:
        """Return whether no process is in it."""

    def clean(self) -> bool:
        """Make an empty group as new; False where it cannot be, and is to be replaced."""

    def kill_members(self) -> None:
        """Kill every process in it."""

    def held_bytes(self) -> int:
        """Return the memory charged to it that is no cache of files: of an empty group, what others hold."""

    def remove(self) -> None:
        """Close its files and remove its directories."""


class Stock:
    """The back-end of one kind of cgroup: ``make`` opens the group in a set of directories."""

    def __init__(
        self,
        kind: str,
        controls: Mapping[str, port.Control],
        parents: Mapping[str, Path],
        make: Callable[[str, Mapping[str, Path]], Kept],
        *,
        later: Mapping[str, Path] | None = None,
    ) -> None:
        """``later`` are more parents, in which groups make their directories themselves, should they need one."""
        self.kind = kind
        self.controls = controls
        self.parents = parents
        self.later = later or {}
        self._make = make
        self._numbers = itertools.count(1)
        self._clean: collections.deque[Kept] = collections.deque()
        self._used: collections.deque[Kept] = collections.deque()
        self._busy: dict[str, Kept] = {}
        self._spent: dict[str, Callable[[str], None]] = {}
        self._rounds: dict[str, int] = {}
        """How often those of the spent were found not to be clean."""
        self._given_up: list[Kept] = []
        self._short = False
        """Whether no group could be made ahead when that was tried last."""
        self._recycling = threading.Lock()
        self._latest: port.Limits | None = None

    def acquire(self, limits: port.Limits) -> Kept:
        """Return an empty group with limits set, unthrottled; raises OSError where none can be made."""
        try:
            group = self._clean.pop()
        except IndexError:
            group = self._new()
        # What is made ahead is for plain workers, too, and they are not counted.
        self._latest = dataclasses.replace(limits, counted=False) if limits.counted else limits
        try:
            group.limit(limits)
        except BaseException:
            self._used.append(group)
            raise
        self._busy[group.name] = group
        return group

    def release(self, group: port.Group, *, spent: Callable[[str], None] | None = None) -> None:
        """Take back a group whose worker was killed."""
        if spent is not None:
            self._spent[group.name] = spent
        self._used.append(self._busy.pop(group.name))

    def recycle(self, spare: int, keep: int = 0) -> int:
        """Clean what was released, keep ``spare`` groups ready, and of the used ones up to ``keep``.

        Returns how many still hold processes.
        """
        with self._recycling:
            held = 0
            most = max(spare, keep)
            for _ in range(len(self._used)):
                group = self._used.popleft()
                with self._giving_up(group):
                    if not self._reuse(group, most):
                        held += 1
                        self._used.append(group)
            self._fill(spare)
            while len(self._clean) > most:
                with contextlib.suppress(IndexError):
                    group = self._clean.popleft()
                    with self._giving_up(group):
                        group.remove()
            return held

    def close(self) -> None:
        """Kill what is left in any group and remove them all; raises OSError where one cannot be emptied."""
        groups = [*self._busy.values(), *self._used, *self._clean, *self._given_up]
        self._busy.clear()
        self._used.clear()
        self._clean.clear()
        self._given_up.clear()
        deadline = time.monotonic() + _PATIENCE_S
        for group in groups:
            while not group.empty() and time.monotonic() < deadline:
                group.kill_members()
                time.sleep(0.001)
            group.remove()
        for parent in dict.fromkeys((*self.parents.values(), *self.later.values())):
            with contextlib.suppress(FileNotFoundError):
                parent.rmdir()

    def _reuse(self, group: Kept, most: int) -> bool:
        """Clean a used group, or remove it; return whether it is no more among the used. Raises OSError."""
        spent = self._spent.get(group.name)
        if spent is not None:
            return self._bury(group, spent)
        if not group.empty():
            return False
        if len(self._clean) < most and group.clean():
            self._clean.append(group)
        else:
            group.remove()
        return True

    def _fill(self, spare: int) -> None:
        """Make groups ahead, as far as they can be made."""
        try:
            while len(self._clean) < spare:
                group = self._new()
                # Whoever comes next most likely wants what the last one wanted: then there is nothing left to write.
                try:
                    if self._latest is not None:
                        group.limit(self._latest)
                except OSError:
                    self._used.append(group)
                    raise
                # Last: from here on it may be taken, in another thread.
                self._clean.append(group)
        except OSError as error:
            if not self._short:
                _log.warning("no cgroups can be made ahead: %s", error)
            self._short = True
        else:
            self._short = False

    @contextlib.contextmanager
    def _giving_up(self, group: Kept) -> Iterator[None]:
        """Give a group up where an OSError says that it cannot be used again."""
        try:
            yield
        except OSError as error:
            _log.warning("the cgroup %s is given up: %s", group.name, error)
            self._rounds.pop(group.name, None)
            self._given_up.append(group)
            spent = self._spent.pop(group.name, None)
            if spent is not None:
                spent("the cgroup of a copy that is gone cannot be removed")

    def _bury(self, group: Kept, spent: Callable[[str], None]) -> bool:
        """Remove a group that others can join, once nobody is in it and no memory; return whether that is done.

        Memory would otherwise go on to be charged to the parent, which has no limit.
        """
        rounds = self._rounds[group.name] = self._rounds.get(group.name, 0) + 1
        if rounds in (_SUSPICIOUS_ROUNDS, _LAST_ROUND):
            spent("it holds on to the cgroup of a copy that is gone")
        if not group.empty():
            group.kill_members()
            return False
        try:
            if group.held_bytes() > _LEFT_BYTES and rounds < _LAST_ROUND:
                group.clean()
                return False
            group.remove()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False  # somebody came back
        del self._spent[group.name], self._rounds[group.name]
        return True

    def _new(self) -> Kept:
        name = f"{next(self._numbers):06d}"
        directories = {controller: parent / name for controller, parent in self.parents.items()}
        with contextlib.ExitStack() as undo:
            for path in dict.fromkeys(directories.values()):
                path.mkdir()
                undo.callback(_remove, path)
            group = self._make(name, directories)
            undo.pop_all()
        return group


def _remove(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def adopt(where: place.Place, directory: Path) -> Path:
    """Make this supervisor's parent in a directory, after collecting those of dead ones; raises OSError."""
    for entry in list(directory.iterdir()):
        if entry.is_dir() and where.orphan(entry.name):
            collect(entry)
    parent = directory / where.name()
    parent.mkdir(exist_ok=True)
    return parent


def collect(orphan: Path) -> None:
    """Kill what is left of a dead supervisor's workers and remove their groups; what resists is left for next time."""
    deadline = time.monotonic() + _PATIENCE_S
    try:
        inside = [path for path in orphan.iterdir() if path.is_dir()]
    except OSError:
        return  # another supervisor that starts now was faster
    for directory in [*inside, orphan]:
        while pids := members(directory):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            write(f"{directory}/cgroup.freeze", b"0")
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        with contextlib.suppress(OSError):
            directory.rmdir()


def members(directory: Path) -> list[int]:
    """Return the pids of the processes in a group, as far as they are in our pid namespace; none if it is gone."""
    # The kernel writes 0 for a process of another pid namespace, and kill(2) takes 0 for our own process group.
    return [int(pid) for pid in read(f"{directory}/cgroup.procs").split() if pid != b"0"]


def read(path: str) -> bytes:
    """Return what a control file holds; nothing where it does not exist."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.read(fd, 1 << 16)
    except OSError as error:
        if error.errno == errno.ENODEV:  # the group was removed under us
            return b""
        raise
    finally:
        os.close(fd)


def write(path: str, value: bytes) -> bool:
    """Write a control file; return False where it does not exist. Other errors are raised."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(fd, value)
    finally:
        os.close(fd)
    return True


def count(text: bytes, name: bytes) -> int:
    """Return the number beside a name in a file of ``name number`` lines; 0 where it is not there."""
    for line in text.splitlines():
        key, _, value = line.partition(b" ")
        if key == name:
            return int(value)
    return 0
