"""The queue's store on SQLite: one thread that owns the file and does everything in the order in which it is asked.

Callers are told on the event loop, in the same order. So whoever hears that rows were loaded has heard of every change
that was written before, and of none that was written after: memory and file cannot drift apart.

Whatever waits goes into one transaction: the more callers wait, the more each fsync serves. What one turn of the event
loop asks for is handed over at its end, together: to wake the thread for each would cost more than the change itself.
What nobody waits for is gathered for a moment, apart from the others, whose transaction it would make longer.
``synchronous=FULL`` makes a change durable before its caller hears of it (sqlite.org/pragma.html#pragma_synchronous).

Where the disk is full, changes that need not be kept are refused; the others wait, and are tried again every second.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from runtime.invoke.queue import loading, rows, schema, writing

BATCH_CHANGES = 128
"""In one transaction, or twice as many: what is told to their callers in one turn of the event loop takes a few
milliseconds."""
BATCH_BYTES = 16 * 1024 * 1024
RETRY_S = 1.0
LAZY_S = 0.02
LAZY_CHANGES = 32
"""For so long, and so many of them, changes are gathered that nobody waits for."""
_VACUUM_PAGES = 256
_FREE_PAGES = 16_384
"""64 MB of the file may stand empty; more is given back to the disk, a MB at a time."""
_LOOK_EVERY = 64

_log = logging.getLogger(__name__)


class _Load(NamedTuple):
    lane: str
    now: float
    known: Collection[int]
    limit: int
    size: int
    then: Callable[[rows.Loaded | None], None]


class _End:
    """Stands behind the last work."""


_Work: TypeAlias = list[rows.Change] | _Load | _End


class Start(NamedTuple):
    """What a store holds when it is opened."""

    lanes: Sequence[tuple[str, float]]
    """With the time at which the first row of each is due."""
    last_id: int
    letters: int


class SqliteQueue:
    """The store in the file at ``path``; its folder must exist."""

    def __init__(self, path: Path, *, letters: int, letters_size: int) -> None:
        """``letters`` and ``letters_size``, in bytes, bound what is kept of events without a taker."""
        self.path = path
        self._limits = letters, letters_size
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._connection: sqlite3.Connection
        self._grave: writing.Grave
        self._held: list[rows.Change] = []
        self._asked: list[rows.Change] = []
        """Changes that are not yet handed over to the thread."""
        self._asked_size = 0
        self._handing = False
        """Whether they will be, at the end of this turn of the loop."""
        self._lazy: list[rows.Change] = []
        """The same, of those that nobody waits for."""
        self._handing_lazy: asyncio.TimerHandle | None = None
        self._callers = 0
        """Who waits to hear of a change that may be refused."""
        self._seen = self._looks = 0
        """How many that were, summed up each time before some of them heard, and how often."""
        self._batches = 0
        self._counting: sqlite3.Connection
        self._opened = False
        self._full = False
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._counter = threading.Thread(target=self._count, name="event-counter", daemon=True)
        self.after_batch: Callable[[], None] = lambda: None
        """Called on the event loop when the callers of a batch have heard."""
        self.on_evicted: Callable[[int], None] = lambda _count: None
        """Called on the event loop when letters went for want of room."""
        self.on_counted: Callable[[Sequence[rows.Backlog]], None] = lambda _backlogs: None
        """Called on the event loop with what each lane held at ``open``, as soon as that is counted."""

    @property
    def letters(self) -> int:
        """Return how many letters there are."""
        return self._grave.letters

    def open(self) -> Start:
        """Open the file; blocks. Raises ConfigError where the file is not ours."""
        self._connection = schema.prepare(self.path)
        self._counting = schema.connect(self.path)
        self._opened = True
        self._grave = writing.Grave(self._connection, letters=self._limits[0], size=self._limits[1])
        # What is counted is the state of this moment, whatever is written meanwhile: a read transaction sees only that.
        self._counting.execute("BEGIN")
        return Start(loading.lanes(self._counting), loading.last_id(self._counting), self._grave.letters)

    def start(self) -> None:
        """Begin to write, and to count; ``open`` was called."""
        self._counter.start()
        self._thread.start()

    def waiting(self) -> float:
        """Return how many waited at a time, on average since the last call, to hear that their event is accepted."""
        mean = self._seen / self._looks if self._looks else 0.0
        self._seen = self._looks = 0
        return mean

    def apply(self, change: rows.Change) -> None:
        """Have a change written."""
        if change.lazy:
            self._lazy.append(change)
            if len(self._lazy) >= LAZY_CHANGES:
                self._hand_over_lazy()
            elif self._handing_lazy is None:
                self._handing_lazy = self._loop.call_later(LAZY_S, self._hand_over_lazy)
            return
        if not change.keep:
            self._callers += 1
        self._asked.append(change)
        for row in change.put:
            self._asked_size += row.size
        if len(self._asked) >= BATCH_CHANGES or self._asked_size >= BATCH_BYTES:
            self._hand_over()
        elif not self._handing:
            self._handing = True
            self._loop.call_soon(self._hand_over_all)

    def _hand_over_all(self) -> None:
        self._handing = False
        self._hand_over()

    def _hand_over(self) -> None:
        if self._asked:
            self._work.put(self._asked)
            self._asked, self._asked_size = [], 0

    def _hand_over_lazy(self) -> None:
        if self._handing_lazy is not None:
            self._handing_lazy.cancel()
            self._handing_lazy = None
        if self._lazy:
            self._work.put(self._lazy)
            self._lazy = []

    def load(
        self,
        lane: str,
        now: float,
        known: Collection[int],
        *,
        limit: int,
        size: int,
        then: Callable[[rows.Loaded | None], None],
    ) -> None:
        """Have rows of a lane read that are due and not ``known``; ``then`` gets None where they cannot be read."""
        self._hand_over()
        self._hand_over_lazy()
        self._work.put(_Load(lane, now, known, limit, size, then))

    async def close(self) -> None:
        """Write what waits and close the file."""
        self._hand_over()
        self._hand_over_lazy()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if self._thread.is_alive():
            self._counting.interrupt()
            self._counter.join()
            self._work.put(_End())
            self._thread.join()
        if self._opened:
            self._counting.close()
            self._connection.close()

    # On the threads

    def _count(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # interrupted, if at all
            self._tell(self.on_counted, loading.backlogs(self._counting))
            self._counting.execute("COMMIT")

    def _run(self) -> None:
        running = True
        while running:
            changes, work = self._next_batch()
            if changes:
                self._write(changes)
            if isinstance(work, _Load):
                self._load(work)
            elif isinstance(work, _End):
                running = False
        if self._held:
            _log.warning("the outcome of %d events could not be written: they will run again", len(self._held))

    def _next_batch(self) -> tuple[list[rows.Change], _Load | _End | None]:
        """Wait for work; return the changes, those held back first, and what comes behind them that is no change."""
        changes, self._held, size = self._held, [], 0
        try:
            work = self._work.get(timeout=RETRY_S if changes else None)
            while isinstance(work, list):
                changes += work
                size += sum([row.size for change in work for row in change.put])
                if len(changes) >= BATCH_CHANGES or size >= BATCH_BYTES:
                    return changes, None
                work = self._work.get_nowait()
        except queue.Empty:
            return changes, None
        return changes, work

    def _write(self, changes: list[rows.Change]) -> None:
        try:
            evicted = writing.write(self._connection, changes, self._grave)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear
            self._failed(changes, error)
            return
        self._full = False
        self._tell(self._settle, [(change, None) for change in changes], evicted)
        with contextlib.suppress(sqlite3.Error):
            self._give_back_space()

    def _failed(self, changes: list[rows.Change], error: Exception) -> None:
        """Refuse what may be refused and hold the rest; a change that is wrong in itself must not hold up others."""
        ours = not isinstance(error, sqlite3.DatabaseError) or isinstance(
            error, sqlite3.IntegrityError | sqlite3.ProgrammingError
        )
        if ours and len(changes) > 1:
            for change in changes:
                self._write([change])
            return
        if ours:
            _log.error("a change of the event queue is not valid: %s", error)
        refused = [change for change in changes if ours or not change.keep]
        self._held += [change for change in changes if change.keep and not ours]
        if not ours and not self._full:
            self._full = True
            _log.error("the queue of events cannot be written, and refuses events until it can: %s", error)
        self._tell(self._settle, [(change, error) for change in refused], 0)

    def _settle(self, settled: Sequence[tuple[rows.Change, Exception | None]], evicted: int) -> None:
        callers = sum([not change.keep for change, _ in settled])
        if callers:
            self._seen += self._callers
            self._looks += 1
            self._callers -= callers
        for change, error in settled:
            try:
                change.then(error)
            except Exception:  # noqa: BLE001 - one listener's bug is not the others'
                _log.exception("a change of the event queue was written, but not heard of")
        if evicted:
            self.on_evicted(evicted)
        self.after_batch()

    def _load(self, work: _Load) -> None:
        loaded: rows.Loaded | None = None
        try:
            loaded = loading.due_rows(
                self._connection, work.lane, work.now, work.known, limit=work.limit, size=work.size
            )
        except sqlite3.Error:
            _log.exception("events of %s cannot be read", work.lane)
        self._tell(work.then, loaded)

    def _tell(self, listener: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(listener, *arguments)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _give_back_space(self) -> None:
        self._batches += 1
        if self._batches % _LOOK_EVERY == 0:
            free: int = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
            if free > _FREE_PAGES:
                # A script is carried out to its end; a statement without columns would stop after the first page.
                self._connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
