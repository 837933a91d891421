"""Which row is next: every lane gets its turn, however much the others hold. Pure; the clock is passed in.

A lane that has something due stands in one of two lines: ``idle`` if nothing of it is running, else ``busy``. The idle
line goes first, and each lane takes one row at a turn. So a lane that waits is as far from its turn as there are other
lanes, not rows; and what a lane gets when all others are quiet is bounded by its owner alone.

In memory is only a window of each lane: the next rows that are due. What came later stays in the file until the window
runs low (``more``). What is not yet due is known by its lane's earliest time only, in a heap of all lanes' times. So
memory depends on the number of lanes that hold anything, not on how much they hold, nor on how many could.

``known`` are the rows of a lane that are in its window or running. A row is known until its end is durable, because
until then the file still shows it as due.
"""

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Iterator

from runtime.invoke.queue import rows

_NEVER = float("inf")


class Lane:
    """The rows of one function or target."""

    __slots__ = (
        "depth",
        "known",
        "line",
        "loading",
        "loading_size",
        "missed",
        "more",
        "name",
        "next_due",
        "oldest",
        "paused_until",
        "refusals",
        "running",
        "size",
        "uncounted",
        "wake_at",
        "window",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.depth = 0
        """Rows that it holds, in memory or not, running or not."""
        self.size = 0
        """Bytes of them."""
        self.uncounted = False
        """Whether what it held at the start is not yet in these two."""
        self.window: deque[rows.Row] = deque()
        self.known: set[int] = set()
        self.running = 0
        self.more = False
        """Whether there may be due rows that are not in the window."""
        self.loading = 0
        """Rows that are being loaded, at most."""
        self.loading_size = 0
        self.missed = _NEVER
        """When the first of the rows is due that were known when a load was asked for, and have been put off since."""
        self.next_due = _NEVER
        """When the first row that is not due yet will be."""
        self.oldest = 0.0
        """Since when the row that was taken last had been due."""
        self.refusals = 0
        """How many times in a row it could not run what it had."""
        self.paused_until = 0.0
        self.wake_at = _NEVER
        self.line: OrderedDict[Lane, None] | None = None

    def lag(self, now: float) -> float:
        """Return for how many seconds, at least, the next row has been due."""
        if self.window:
            return now - self.window[0].due
        return now - self.oldest if self.more else 0.0


class Lanes:
    """All lanes that hold anything."""

    def __init__(self, *, window: int, window_size: int) -> None:
        """``window`` rows, ``window_size`` bytes: the most that is kept in memory, running rows not counted."""
        self._window = window
        self._window_size = window_size
        self._lanes: dict[str, Lane] = {}
        self._idle: OrderedDict[Lane, None] = OrderedDict()
        self._busy: OrderedDict[Lane, None] = OrderedDict()
        self._times: list[tuple[float, int, Lane]] = []
        self._order = itertools.count()
        self._held = 0
        self._held_size = 0
        self._loads = 0
        self.running = 0
        self.ended = 0
        """Rows that ran and ended, since the start."""
        self.added = 0
        """Rows that came in, since the start."""
        self.depth = 0
        self.size = 0

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def get(self, name: str) -> Lane | None:
        """Return a lane, if it holds anything."""
        return self._lanes.get(name)

    @property
    def starved(self) -> bool:
        """Return whether lanes that run something wait for more."""
        return bool(self._busy)

    @property
    def waiting(self) -> bool:
        """Return whether any lane has something due and is not at its limit."""
        return bool(self._busy or self._idle or self._loads)

    # What comes in

    def restore(self, name: str, due: float) -> None:
        """Learn that a lane held something when we stopped, which is due from then on; ``counted`` has to follow."""
        lane = self._lane(name)
        lane.uncounted = True
        lane.next_due = lane.oldest = due
        self._schedule(lane, due)

    def counted(self, backlog: rows.Backlog) -> None:
        """Learn how much it was; what came and went meanwhile counts already."""
        lane = self._lanes[backlog.lane]
        lane.uncounted = False
        self._count(lane, backlog.depth, backlog.size)
        self._drop_if_empty(lane)

    def announce(self, row: rows.Row) -> None:
        """Count a row that is being written."""
        self._count(self._lane(row.lane), 1, row.size)

    def withdraw(self, row: rows.Row) -> None:
        """Forget a row that was announced and could not be written."""
        lane = self._lanes[row.lane]
        self._count(lane, -1, -row.size)
        self._drop_if_empty(lane)

    def add(self, row: rows.Row) -> None:
        """Take in an announced row that is now written and due."""
        self.added += 1
        lane = self._lanes[row.lane]
        if lane.more or self._held >= self._window or self._held_size + row.size > self._window_size:
            lane.more = True
        else:
            self._hold(lane, row)
        self.enlist(lane)

    def defer(self, row: rows.Row, due: float) -> None:
        """Hear that a row, which runs no more, is written as due later."""
        lane = self._lanes[row.lane]
        lane.known.discard(row.id)
        lane.next_due = min(lane.next_due, due)
        lane.missed = min(lane.missed, due)
        self._schedule(lane, due)

    def forget(self, row: rows.Row) -> None:
        """Hear that a row, which runs no more, is gone from the file."""
        lane = self._lanes[row.lane]
        lane.known.discard(row.id)
        self._count(lane, -1, -row.size)
        self._drop_if_empty(lane)

    def ask(self, lane: Lane) -> tuple[int, int] | None:
        """Return how many rows and bytes to load for a lane whose window runs low, or None.

        All rows are meant but for those that are known now. ``loaded`` or ``unloaded`` has to follow.
        """
        if not lane.more or lane.loading:
            return None
        # At least one row each: a lane whose turn it is must get on. Otherwise no more than there is room for.
        count = max(1, min(self._window // 8, (self._window - self._held) // 2))
        if len(lane.window) > count // 4:
            return None
        lane.loading = count
        lane.loading_size = max(1, min(self._window_size // 8, (self._window_size - self._held_size) // 2))
        lane.missed = _NEVER
        self._loads += 1
        self._held += count
        self._held_size += lane.loading_size
        return count, lane.loading_size

    def unloaded(self, lane: Lane) -> None:
        """Hear that a load is over, without rows so far."""
        self._loads -= bool(lane.loading)
        self._held -= lane.loading
        self._held_size -= lane.loading_size
        lane.loading = lane.loading_size = 0

    def loaded(self, lane: Lane, loaded: rows.Loaded) -> None:
        """Take in what was asked for."""
        if self._lanes.get(lane.name) is not lane:
            return  # all of it is done, and the lane gone
        self.unloaded(lane)
        for row in loaded.rows:
            self._hold(lane, row)
        lane.more = loaded.more
        lane.next_due = min(lane.missed, _NEVER if loaded.next_due is None else loaded.next_due)
        self._schedule(lane, lane.next_due)
        self.enlist(lane)

    # What goes out

    def next(self, now: float, *, room: bool) -> Lane | None:
        """Return the lane whose turn it is, out of its line: one that runs nothing, or any other where there is room.

        The caller takes a row of it, has rows loaded, or leaves it; ``enlist`` puts it back into a line.
        """
        while True:
            line = self._idle or (self._busy if room else None)
            if not line:
                return None
            lane, _ = line.popitem(last=False)
            lane.line = None
            if lane.paused_until > now:
                self._schedule(lane, lane.paused_until)
            else:
                return lane

    def take(self, lane: Lane) -> rows.Row:
        """Return the lane's next row, which runs from now on; its window must not be empty."""
        row = lane.window.popleft()
        self._held -= 1
        self._held_size -= row.size
        lane.oldest = row.due
        lane.running += 1
        self.running += 1
        return row

    def finished(self, lane: Lane) -> None:
        """Hear that a row runs no more; it stays known until ``forget`` or ``defer``."""
        lane.running -= 1
        self.running -= 1
        self.ended += 1
        if not lane.running and lane.line is self._busy:
            del self._busy[lane]
            lane.line = None
        self.enlist(lane)

    def refused(self, lane: Lane, row: rows.Row, until: float) -> None:
        """Hear that a row that was taken could not run: it is the lane's first again, after a pause."""
        lane.running -= 1
        self.running -= 1
        self.pause(lane, until)
        self._hold(lane, row, first=True)
        self._schedule(lane, lane.paused_until)

    def pause(self, lane: Lane, until: float) -> None:
        """Let a lane rest."""
        lane.paused_until = max(lane.paused_until, until)

    def resume(self, lane: Lane) -> None:
        """Hear that a lane can run what it has: the next refusal is the first again."""
        lane.refusals = 0
        lane.paused_until = 0.0

    def enlist(self, lane: Lane) -> None:
        """Put a lane into its line if it has anything due and is in none."""
        if lane.line is None and (lane.window or (lane.more and not lane.loading)):
            lane.line = self._busy if lane.running else self._idle
            lane.line[lane] = None

    # Time

    @property
    def wake_at(self) -> float | None:
        """Return when ``wake`` is to be called next."""
        while self._times:
            at, _, lane = self._times[0]
            if lane.wake_at == at:
                return at
            heapq.heappop(self._times)
        return None

    def wake(self, now: float) -> None:
        """Put the lanes whose time has come into line."""
        while self._times and self._times[0][0] <= now:
            at, _, lane = heapq.heappop(self._times)
            if lane.wake_at != at:
                continue
            lane.wake_at = _NEVER
            if lane.next_due <= now:
                lane.next_due = _NEVER
                lane.more = True
            self._schedule(lane, min(lane.next_due, lane.paused_until if lane.paused_until > now else _NEVER))
            self.enlist(lane)

    # How

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name)
        return lane

    def _count(self, lane: Lane, depth: int, size: int) -> None:
        lane.depth += depth
        lane.size += size
        self.depth += depth
        self.size += size

    def _hold(self, lane: Lane, row: rows.Row, *, first: bool = False) -> None:
        if first:
            lane.window.appendleft(row)
        else:
            lane.window.append(row)
        lane.known.add(row.id)
        self._held += 1
        self._held_size += row.size

    def _schedule(self, lane: Lane, at: float) -> None:
        if at < lane.wake_at:
            lane.wake_at = at
            heapq.heappush(self._times, (at, next(self._order), lane))

    def _drop_if_empty(self, lane: Lane) -> None:
        if lane.depth or lane.uncounted:
            return
        if lane.line is not None:
            del lane.line[lane]
            lane.line = None
        lane.wake_at = _NEVER
        self.unloaded(lane)
        del self._lanes[lane.name]
