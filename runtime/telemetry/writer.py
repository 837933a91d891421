"""The log store's work in its thread: queued chunks become events, events lines, lines files."""

import collections
import dataclasses
import enum
import logging
import time
from collections.abc import Callable
from typing import TypeAlias

from runtime.pool import report
from runtime.telemetry import files, lines

NOTICE_S = 1.0
"""Seconds between two lines that say how much of a group was dropped."""

HELD_LIMIT = 32 * 1024 * 1024
"""Bytes of unfinished lines, of all streams; above it they are not waited for."""

_FLUSH = 256 * 1024
_YIELD = 100
"""Chunks between two turns of the event loop, some 0.15 ms; one of a function's takes as long as two."""
_REASON = "The function wrote faster than its log may grow, or than the disk takes it."
_log = logging.getLogger(__name__)


class Kind(enum.Enum):
    """What a queued chunk is."""

    FUNCTION = "output of the function"
    PLATFORM = "lines of the platform's, each an event"
    WHOLE = "lines of the platform's, one event"
    CLOSED = "the end of its stream"
    DROPPED = "the place where chunks were dropped"


_PLATFORM = Kind.PLATFORM


@dataclasses.dataclass(slots=True, eq=False)
class Source:
    """A log group that is being written to. The loop writes all fields but ``told_*``, which are the thread's."""

    group: str
    tokens: float
    stamp: float = 0.0
    dropped_bytes: int = 0
    dropped_records: int = 0
    noticed: bool = False
    """Whether the thread knows of the latest drops; it clears this when it tells of them."""
    as_json: bool = False
    told_bytes: int = 0
    told_records: int = 0
    told_at: float = 0.0


Chunk: TypeAlias = tuple[Source, str, bytes, Kind, float]
"""Source, stream, data, kind, Unix time."""

Item: TypeAlias = Chunk | Callable[[], None]


class Writer:
    """Turns queued items into files; all of it runs in one thread."""

    def __init__(self, store: files.Files, clock: Callable[[], float], tell: Callable[[set[str]], None]) -> None:
        """``tell`` hears the groups that were written to."""
        self._files = store
        self._clock = clock
        self._tell = tell
        self._splitters: dict[tuple[str, str], lines.Splitter] = {}
        self._held = 0
        self._lines: dict[str, list[bytes]] = {}
        self._size = 0
        self._notices: dict[Source, str] = {}
        self._failing = False
        self.taken = 0
        """Bytes taken off the queue."""
        self.lost = 0
        """Bytes that the disk refused."""

    def due_in(self) -> float | None:
        """Return after how many seconds there is something to do without a new item; None: never."""
        return NOTICE_S if self._notices else None

    def drain(self, queue: collections.deque[Item], *, last: bool) -> None:
        """Work off the queue; with ``last``, leave nothing in memory."""
        taken = 0
        while queue:
            item = queue.popleft()
            if not isinstance(item, tuple):
                self._notice(last=False)
                self._flush()
                item()
                continue
            if item[3] is _PLATFORM:  # as most are
                taken += self._take_run(item, queue)
            else:
                self._take(*item)
                taken += 2
            if self._size > _FLUSH:
                self._flush()
            if taken >= _YIELD:
                taken = 0
                time.sleep(0)  # gives the event loop its turn at the interpreter
        if last:
            for group, stream in list(self._splitters):
                self._end(group, stream, self._clock())
        self._notice(last=last)
        self._flush()
        if last:
            self._files.close()

    def _take_run(self, first: Chunk, queue: collections.deque[Item]) -> int:
        """Take a chunk of the platform's, and those that follow it; return how many: at most as many as a turn has."""
        run = [first]
        while queue and len(run) < _YIELD:
            item = queue[0]
            if not isinstance(item, tuple) or item[3] is not _PLATFORM:
                break
            run.append(item)
            queue.popleft()
        written = lines.platform_runs([(now, stream, data) for _, stream, data, _, now in run])
        for (source, stream, data, _, now), text in zip(run, written, strict=True):
            self.taken += len(data)
            if self._splitters:
                self._end(source.group, stream, now)
            self._add(source.group, text)
        return len(run)

    def _take(self, source: Source, stream: str, data: bytes, kind: Kind, now: float) -> None:
        group = source.group
        if kind is Kind.FUNCTION:
            self.taken += len(data)
            self._split(group, stream, data, now)
        elif kind is Kind.WHOLE:
            self.taken += len(data)
            self._end(group, stream, now)
            self._add(group, lines.platform_event(now, stream, data))
        else:
            # Of dropped chunks, too: the rest of a line may be lost, and what follows is not its continuation.
            self._end(group, stream, now)
            if kind is Kind.DROPPED:
                self._notices[source] = stream

    def _split(self, group: str, stream: str, data: bytes, now: float) -> None:
        key = (group, stream)
        splitter = self._splitters.get(key)
        if splitter is None:
            splitter = self._splitters[key] = lines.Splitter()
        held = splitter.held
        block = splitter.feed(data)
        if self._held + splitter.held - held > HELD_LIMIT:
            block += splitter.flush()
        self._held += splitter.held - held
        if block:
            self._add(group, lines.function_lines(now, stream, block))

    def _end(self, group: str, stream: str, now: float) -> None:
        """Make an event of what a stream has not ended, and let go of it."""
        splitter = self._splitters.pop((group, stream), None)
        if splitter is not None and splitter.held:
            self._held -= splitter.held
            self._add(group, lines.function_lines(now, stream, splitter.flush()))

    def _notice(self, *, last: bool) -> None:
        """Say how much was dropped, once a second for each group."""
        now = self._clock()
        for source, stream in list(self._notices.items()):
            if not last and 0 <= now - source.told_at < NOTICE_S:
                continue
            del self._notices[source]
            source.noticed = False  # before the counts are read: later drops give notice again
            dropped_bytes, dropped_records = source.dropped_bytes, source.dropped_records
            line = report.logs_dropped(
                dropped_bytes=dropped_bytes - source.told_bytes,
                dropped_records=dropped_records - source.told_records,
                reason=_REASON,
                now=now,
                as_json=source.as_json,
            )
            source.told_bytes, source.told_records, source.told_at = dropped_bytes, dropped_records, now
            self._add(source.group, lines.platform_lines(now, stream, line))

    def _add(self, group: str, data: bytes) -> None:
        self._lines.setdefault(group, []).append(data)
        self._size += len(data)

    def _flush(self) -> None:
        groups, self._lines, self._size = self._lines, {}, 0
        if not groups:
            return
        now_ms = int(self._clock() * 1000)
        for group, written in groups.items():
            data = b"".join(written)
            try:
                self._files.append(group, data, now_ms)
                self._failing = False
            except OSError as error:
                self.lost += len(data)
                if not self._failing:
                    _log.warning("log files cannot be written, output of functions is lost: %s", error)
                self._failing = True
        self._tell(set(groups))
