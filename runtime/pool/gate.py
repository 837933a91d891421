"""Few processes are made at the same time: the others wait their turn, in the order in which they were asked for.

A thousand that are made at once share the processor: all of them are late, and the event loop is one of a thousand.
One after the other they take no longer in sum, and the first one serves while the last one is still to come. Where only
our own code runs between the two ends of a gate, no function can hold it shut.
"""

from collections import deque
from collections.abc import Callable

AT_ONCE = 8
"""Workers that are made at the same time: their forks, their confinement and what they hold overlap."""


class Gate:
    """Use from one event loop."""

    __slots__ = ("_admitting", "_inside", "_most", "_waiting")

    def __init__(self, most: int = AT_ONCE) -> None:
        self._most = most
        self._inside = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._admitting = False

    def enter(self, go: Callable[[], None]) -> None:
        """Call ``go`` when it is its turn, which may be now; whoever is called is to ``leave``, once."""
        self._waiting.append(go)
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
            while self._waiting and self._inside < self._most:
                self._inside += 1
                self._waiting.popleft()()
        finally:
            self._admitting = False
