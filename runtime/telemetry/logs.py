"""Keeps what functions print: takes it on the event loop, writes it to disk in a thread, reads it back.

On the loop a chunk is only counted and queued. The thread wakes for the first chunk, waits a moment so that more can
come, then cuts the chunks into events (see ``lines``) and appends them (see ``files``). It also reads, so nothing is
ever read while it is being rotated, and a reader sees all that was logged before it asked.

A function that prints faster than the limit loses chunks, as does everyone where the disk does not keep up; a line of
the platform's says how much was lost. The platform's own lines are not limited, up to twice the buffer.
"""

import asyncio
import collections
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from runtime import model
from runtime.telemetry import files, folders, reading, writer

T = TypeVar("T")

LINE_COST = 64
"""What a line break counts in bytes against the rate: events cost time and space beside their text."""

_PLATFORM, _WHOLE, _FUNCTION = writer.Kind.PLATFORM, writer.Kind.WHOLE, writer.Kind.FUNCTION


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is taken, and kept."""

    rate: float = 4 * 1024 * 1024
    """Bytes per second of one log group."""
    burst: float = 16 * 1024 * 1024
    """Bytes of one log group beyond the rate."""
    buffer_bytes: int = 32 * 1024 * 1024
    """Bytes waiting for the disk, of all groups."""
    batch_s: float = 0.05
    """How long the writer waits for more, in seconds: what is logged is in the file within twice that."""
    disk: files.Limits = dataclasses.field(default_factory=files.Limits)


class LogStore:
    """Log files of functions; listens to ``log_written`` and ``log_closed``.

    ``clock`` gives Unix time in seconds. Start it before the first event and close it last.
    """

    def __init__(self, root: Path, limits: Limits, clock: Callable[[], float]) -> None:
        self._root = root
        self._rate, self._burst, self._buffer_bytes = limits.rate, limits.burst, limits.buffer_bytes
        self._batch_s = limits.batch_s
        self._clock = clock
        self._sources: dict[str, writer.Source] = {}
        self._queue: collections.deque[writer.Item] = collections.deque()
        self._put = 0
        self._awake = False
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closing = False
        self._writer = writer.Writer(files.Files(root, limits.disk), clock, self._tell)
        self._thread = threading.Thread(target=self._run, name="hotfork-logs", daemon=True)
        self.dropped = {"rate": 0, "buffer": 0}
        """Bytes of output lost since the start, by reason; see ``dropped_bytes`` for all."""

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def close(self) -> None:
        """Write what is buffered and stop; blocks until that is done."""
        if self._thread.ident is None:
            return
        self._closing = True
        self._hurry.set()
        self._wake.set()
        self._thread.join()

    def dropped_bytes(self) -> dict[str, float]:
        """Return the bytes of output lost since the start, by reason: rate, buffer, disk."""
        return {**self.dropped, "disk": self._writer.lost}

    # On the event loop

    def log_written(
        self, version: model.Version, stream: str, data: bytes, *, platform: bool = False, whole: bool = False
    ) -> None:
        """Queue bytes of a stream; drop them where there are too many."""
        source = self._sources.get(version.log_group)
        if source is None:
            source = self._sources[version.log_group] = writer.Source(version.log_group, self._burst)
        now = self._clock()
        size = len(data)
        waiting = self._put - self._writer.taken + size
        kind = _FUNCTION
        if platform:
            kind = _WHOLE if whole else _PLATFORM
            if waiting > 2 * self._buffer_bytes:
                self._drop("buffer", source, version, stream, data)
                return
        else:
            tokens, elapsed = source.tokens, now - source.stamp
            if elapsed > 0:
                tokens += elapsed * self._rate
                if tokens > self._burst:  # noqa: PLR1730 - min() costs three times as much
                    tokens = self._burst
            source.stamp = now
            source.tokens = tokens
            cost = size + LINE_COST * data.count(b"\n")
            if cost > tokens or waiting > self._buffer_bytes:
                self._drop("rate" if cost > tokens else "buffer", source, version, stream, data)
                return
            source.tokens = tokens - cost
        self._put += size
        self._queue.append((source, stream, data, kind, now))
        if not self._awake:
            self._awake = True
            self._wake.set()

    def log_closed(self, version: model.Version, stream: str) -> None:
        """Let go of a stream; what it had not ended becomes its last event."""
        source = self._sources.get(version.log_group)
        if source is not None:
            self._enqueue((source, stream, b"", writer.Kind.CLOSED, self._clock()))

    def forget(self, group: str) -> None:
        """Let go of what is held in memory for a group whose function was deleted; its files stay, as on AWS."""
        self._sources.pop(group, None)

    async def read(
        self, group: str, after: str | None = None, limit: int = 1000, wanted: reading.Filter = reading.ANY
    ) -> reading.Page:
        """Return events after a cursor (None: from the oldest); raise ValueError where it is no cursor of ours.

        Sees all that was logged before the call.
        """
        folder = folders.of_group(self._root, group)
        return await self._ask(lambda: reading.read(folder, after, limit, wanted))

    async def wait(self, group: str, cursor: str) -> None:
        """Return once something was written after a cursor. Without a poll: a writer's call ends it."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        folder = folders.of_group(self._root, group)
        self._waiting.setdefault(group, set()).add(written)
        try:
            # First listen, then look: what is written between the two is heard.
            if not await self._ask(lambda: reading.has_more(folder, cursor)):
                await written
        finally:
            waiting = self._waiting[group]
            waiting.discard(written)
            if not waiting:
                del self._waiting[group]

    def _drop(self, reason: str, source: writer.Source, version: model.Version, stream: str, data: bytes) -> None:
        self.dropped[reason] += len(data)
        source.dropped_bytes += len(data)
        source.dropped_records += data.count(b"\n") or 1
        source.as_json = version.json_logs
        if not source.noticed:
            source.noticed = True
            self._enqueue((source, stream, b"", writer.Kind.DROPPED, self._clock()))

    def _enqueue(self, item: writer.Item) -> None:
        self._queue.append(item)
        if not self._awake:
            self._awake = True
            self._wake.set()

    async def _ask(self, question: Callable[[], T]) -> T:
        """Run a question in the thread, after what is queued."""
        loop = self._loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def answered(give: Callable[[], None]) -> None:
            if not answer.done():  # cancelled: nobody waits any more
                give()

        def job() -> None:
            try:
                result = question()
            except Exception as error:  # noqa: BLE001 - raised where it was asked
                loop.call_soon_threadsafe(answered, functools.partial(answer.set_exception, error))
            else:
                loop.call_soon_threadsafe(answered, functools.partial(answer.set_result, result))

        self._queue.append(job)
        self._hurry.set()
        self._wake.set()
        return await answer

    # In the thread

    def _run(self) -> None:
        while True:
            self._wake.wait(self._writer.due_in())
            if not self._closing:
                self._hurry.wait(self._batch_s)
            # All this before the queue is emptied: what is queued from now on wakes the thread again.
            self._wake.clear()
            self._hurry.clear()
            self._awake = False
            closing = self._closing
            self._writer.drain(self._queue, last=closing)
            if closing:
                return

    def _tell(self, groups: set[str]) -> None:
        """Wake those who wait for a group; called in the thread."""
        if self._loop is not None and not groups.isdisjoint(self._waiting):
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._woken, groups)

    def _woken(self, groups: set[str]) -> None:
        for group in groups:
            for written in self._waiting.get(group, ()):
                if not written.done():
                    written.set_result(None)
