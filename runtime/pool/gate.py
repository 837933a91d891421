"""Few processes are made at the same time: the others wait their turn, which goes round among those who ask.

A thousand that are made at once share the processor: all of them are late, and the event loop is one of a thousand.
One after the other they take no longer in sum, and the first one serves while the last one is still to come. Where only
our own code runs between the two ends of a gate, no function can hold it shut. Nor does one wait for the thousand of
another: each has its lane, and of all lanes one enters after the other.
"""

from collections import deque
from collections.abc import Callable, Hashable

AT_ONCE = 8
"""Workers that are made at the same time: their forks, their confinement and what they hold overlap."""


class Gate:
    """Use from one event loop."""

    __slots__ = ("_admitting", "_inside", "_lanes", "_most")

    def __init__(self, most: int = AT_ONCE) -> None:
        self._most = most
        self._inside = 0
        self._lanes: dict[Hashable, deque[Callable[[], None]]] = {}
        """Who waits, by who asked; whose turn is next comes first. None is empty."""
        self._admitting = False

    def enter(self, go: Callable[[], None], lane: Hashable = None) -> None:
        """Call ``go`` when it is its turn, which may be now; whoever is called is to ``leave``, once."""
        self._lanes.setdefault(lane, deque()).append(go)
        self._admit()

    def leave(self) -> None:
        """Make place for the next one."""
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        if self._admitting:
            return  # one that entered left at once: the loop below goes on
        self._admitting = True
        try:
            while self._lanes and self._inside < self._most:
                self._inside += 1
                self._next()()
        finally:
            self._admitting = False

    def _next(self) -> Callable[[], None]:
        lane = next(iter(self._lanes))
        waiting = self._lanes.pop(lane)
        go = waiting.popleft()
        if waiting:
            self._lanes[lane] = waiting  # behind all others
        return go
