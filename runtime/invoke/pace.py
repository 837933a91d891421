"""How many events may run at once: as many as the machine has processors for.

A handler that waits wants many workers, one that computes wants as many as there are processors; which it is shows in
how busy the processors are. So a backlog begins with a worker for each processor, and gets twice as many every tenth of
a second as long as processors idle. Without a backlog the number falls back to what is in use. More workers than that
would drain no backlog faster, and would leave those who send events less of the processors.

Where the processors are busy and more events come in than end, those who send them go first: they wait for an answer,
and nobody waits for the events, which are safe. So one event runs at a time until the flood is over.

Processors that others keep busy must not hold up events that only wait: where none of those that run has ended for a
second, there is one more a second all the same.
"""

import os

import psutil

TICK_S = 0.1
_GROWTH = 2.0
_LEAST = 2
_IDLE_ENOUGH = 0.1
_STUCK_TICKS = 10


class Pace:
    """The number, and how it changes. Pure."""

    def __init__(self, *, processors: int, limit: int) -> None:
        self._least = min(limit, max(_LEAST, processors))
        self._limit = limit
        self.width = self._least
        self._stuck = 0
        self._ended = 0
        self._depth = 0

    def tick(self, *, starved: bool, running: int, ended: int, depth: int, idle: float) -> None:
        """Adapt, every ``TICK_S`` seconds for as long as events wait for room.

        ``ended`` counts the events that ended so far, ``depth`` those that wait or run, ``idle`` is the share of the
        processors that idled.
        """
        self._stuck = self._stuck + 1 if ended == self._ended else 0
        flooded = depth > self._depth and idle <= _IDLE_ENOUGH
        self._ended, self._depth = ended, depth
        if self.width <= self._least and not self._stuck:
            self.width = 1 if flooded else self._least
        if not starved:
            self.width = max(self._least, min(self.width, running))
        elif running < self.width:
            return
        elif idle > _IDLE_ENOUGH:
            self.width = min(self._limit, int(self.width * _GROWTH) + 1)
        elif self._stuck >= _STUCK_TICKS:
            self._stuck = 0
            self.width = min(self._limit, self.width + 1)


class Processors:
    """What the host's processors did between two looks."""

    def __init__(self) -> None:
        self.count = len(os.sched_getaffinity(0))
        self._last = (0.0, 0.0)

    def idle(self) -> float:
        """Return the share of the time since the last look that the processors idled."""
        times = psutil.cpu_times()
        idle, total = times.idle + times.iowait, sum(times)
        last_idle, last_total = self._last
        self._last = idle, total
        return (idle - last_idle) / (total - last_total) if total > last_total else 0.0
