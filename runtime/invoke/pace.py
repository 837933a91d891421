"""How many events may run at once: as many as the machine has processors for.

A handler that waits wants many workers, one that computes wants as many as there are processors; which it is shows in
how busy the processors are. So a backlog begins with a worker for each processor, and gets twice as many every tenth of
a second as long as processors idle. Without a backlog the number falls back to what is in use. More workers than that
would drain no backlog faster, and would leave those who send events less of the processors.

Where events come in by the thousand and the processors are busy, or this process is (it has little more than one of
them), those who send them go first (``flood``), and what idles is left to them.

Processors that others keep busy must not hold up events that only wait: where none of those that run has ended for a
second, there is one more a second all the same.
"""

import os
import time
from typing import NamedTuple

import psutil

from runtime.invoke import flood

TICK_S = 0.1
_GROWTH = 2.0
_LEAST = 2
_IDLE_ENOUGH = 0.1
_STUCK_TICKS = 10
_FULLY_USED = 0.5
"""Of a processor: a process of which one thread at a time can use the interpreter takes little more than one, and less
while it waits for the disk."""


class Seen(NamedTuple):
    """What was found at a look."""

    starved: bool
    """Whether events wait for room."""
    waiting: bool
    """Whether any wait."""
    senders: float
    """How many who send events waited for their answer, on average since the last look."""
    running: int
    """How many events run."""
    received: int
    """How many have come in so far,"""
    ended: int
    """and ended."""
    idle: float
    """The share of the processors that idled since the last look."""
    used: float
    """How many of them this process used."""


class Pace:
    """The number, and how it changes. Pure."""

    def __init__(self, *, processors: int, limit: int) -> None:
        self._least = min(limit, max(_LEAST, processors))
        self._limit = limit
        self.width = self._least
        self.flood = flood.Flood()
        self._stuck = 0
        self._ended = 0

    def tick(self, now: float, seen: Seen) -> None:
        """Adapt, every ``TICK_S`` seconds for as long as events wait, or come in by the thousand.

        ``now`` is any clock's, in seconds.
        """
        busy = seen.idle <= _IDLE_ENOUGH
        in_use = busy or seen.used >= _FULLY_USED
        self.flood.look(now, received=seen.received, senders=seen.senders, waiting=seen.waiting, busy=in_use)
        self._stuck = self._stuck + 1 if seen.ended == self._ended else 0
        self._ended = seen.ended
        if not seen.starved and not self.flood.now:
            self.width = max(self._least, min(self.width, seen.running))
        elif seen.running < self.width:
            return
        elif not busy and not self.flood.now:
            self.width = min(self._limit, int(self.width * _GROWTH) + 1)
        elif self._stuck >= _STUCK_TICKS:
            self._stuck = 0
            self.width = min(self._limit, self.width + 1)


class Processors:
    """What the host's processors, and this process, did between two looks."""

    def __init__(self) -> None:
        self.count = len(os.sched_getaffinity(0))
        self._last = (0.0, 0.0)
        self._last_own = (0.0, 0.0)

    def idle(self) -> float:
        """Return the share of the time since the last look that the processors idled."""
        times = psutil.cpu_times()
        idle, total = times.idle + times.iowait, sum(times)
        last_idle, last_total = self._last
        self._last = idle, total
        return (idle - last_idle) / (total - last_total) if total > last_total else 0.0

    def used(self) -> float:
        """Return how many processors this process used since the last look, on average."""
        used, now = time.process_time(), time.monotonic()
        last_used, last = self._last_own
        self._last_own = used, now
        return (used - last_used) / (now - last) if now > last else 0.0
