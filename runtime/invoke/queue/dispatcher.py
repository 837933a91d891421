"""Keeps rows running: takes them out of the lanes, has more of them loaded, and wakes up when the next is due."""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from runtime.invoke.queue import lanes, rows

UNWRITTEN = 128
"""Rows that have run and whose end is not yet durable: with more of them, no further one is begun."""
_TURN = 32
"""Rows that are begun in one turn of the event loop: a millisecond or two."""
_RELOAD_S = 1.0


class Store(Protocol):
    """Keeps rows; ``sqlite.SqliteQueue``."""

    def apply(self, change: rows.Change) -> None:
        """Have a change written."""

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


class Runner(Protocol):
    """Knows what to do with rows."""

    def start(self, lane: lanes.Lane, row: rows.Row) -> None:
        """Run a row; its end is told to the dispatcher, now or later. Must not raise."""

    def limit(self, lane: lanes.Lane) -> int:
        """Return how many rows of a lane may run at once; at least 1."""

    def width(self) -> int:
        """Return how many rows may run at once in all; a lane that runs nothing need not heed it."""

    def may_begin(self) -> bool:
        """Return whether a row may begin now, whichever it is."""

    def starved(self) -> None:
        """Hear that rows wait for nothing but ``width`` or ``may_begin``."""


class Dispatcher:
    """Runs the rows of some lanes; use from one event loop."""

    def __init__(
        self,
        waiting: lanes.Lanes,
        store: Store,
        runner: Runner,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """``clock`` gives Unix time in seconds."""
        self.lanes = waiting
        self._store = store
        self._runner = runner
        self._clock = clock
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._unwritten = 0
        self.held_up = False
        """Whether anything was left waiting because the disk is behind; for others to reset."""
        self._pumping = False
        self._stopped = False

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def pump(self) -> None:
        """Begin whatever can begin."""
        if self._stopped or self._pumping:
            return
        self._pumping = True
        held_back = False
        try:
            now = self._clock()
            self.lanes.wake(now)
            for _ in range(_TURN):
                if self._unwritten >= UNWRITTEN:
                    self.held_up = True
                    break
                if not self._runner.may_begin():
                    held_back = self.lanes.waiting
                    break
                lane = self.lanes.next(now, room=self.lanes.running < self._runner.width())
                if lane is None:
                    break
                self._serve(lane, now)
            else:
                self._loop.call_soon(self.pump)
        finally:
            self._pumping = False
        self._set_timer(now)
        if held_back or self.lanes.starved:
            self._runner.starved()

    def finished(self, lane: lanes.Lane, change: rows.Change) -> None:
        """Hear that a row has run, and have what came of it written; ``pump`` goes on."""
        self.lanes.finished(lane)
        self.settle(change)

    def settle(self, change: rows.Change) -> None:
        """Have the end of a row written."""
        self._unwritten += 1
        then = change.then

        def written(error: Exception | None) -> None:
            self._unwritten -= 1
            then(error)

        change.then = written
        self._store.apply(change)

    def _serve(self, lane: lanes.Lane, now: float) -> None:
        wanted = self.lanes.ask(lane)
        if wanted is not None:
            limit, size = wanted
            self._store.load(lane.name, now, set(lane.known), limit=limit, size=size, then=self._loaded(lane))
        if lane.window and lane.running < self._runner.limit(lane):
            row = self.lanes.take(lane)
            self.lanes.enlist(lane)
            self._runner.start(lane, row)

    def _loaded(self, lane: lanes.Lane) -> Callable[[rows.Loaded | None], None]:
        def then(loaded: rows.Loaded | None) -> None:
            if loaded is None:
                self.lanes.unloaded(lane)
                self.lanes.pause(lane, self._clock() + _RELOAD_S)
                self.lanes.enlist(lane)
            else:
                self.lanes.loaded(lane, loaded)
            self.pump()

        return then

    def _set_timer(self, now: float) -> None:
        at = self.lanes.wake_at
        if self._timer is not None:
            if at == self._timer_at:
                return
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer_at = at
            self._timer = self._loop.call_later(max(0.0, at - now), self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.pump()
