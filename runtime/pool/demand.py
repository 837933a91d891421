"""How many blanks of one kind to hold, from the times at which workers were started. Pure.

A blank saves its start only if it was there before: so as many are wanted as starts came at once lately. That is the
most that came within ``WINDOW_S``, and it fades by half every ``HALF_LIFE_S``. When nothing was started for
``LINGER_S``, none is wanted.
"""

import math
from collections import deque

WINDOW_S = 0.1
"""Starts that come within it come at once: about what a few forks take."""

HALF_LIFE_S = 30.0
LINGER_S = 300.0


class Demand:
    """Of one kind of blank. Times are seconds on the caller's clock, and rise."""

    __slots__ = ("_at", "_latest", "_level")

    def __init__(self, most: int) -> None:
        """``most``: how many starts at once are remembered."""
        self._latest: deque[float] = deque(maxlen=most)
        self._level = 0.0
        self._at = -math.inf

    def started(self, now: float) -> None:
        """Count a start, whether or not there was a blank for it."""
        self._latest.append(now)
        while self._latest[0] < now - WINDOW_S:
            self._latest.popleft()
        self._level = max(self._faded(now), len(self._latest))
        self._at = now

    def wanted(self, now: float, least: int) -> int:
        """Return how many to hold; ``least`` as long as any are wanted at all."""
        if now - self._at > LINGER_S:
            return 0
        # A single start says only that there are starts.
        level = round(self._faded(now))
        return max(least, level if level > 1 else 0)

    def _faded(self, now: float) -> float:
        return self._level * math.exp2((self._at - now) / HALF_LIFE_S) if self._level else 0.0
