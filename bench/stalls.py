"""By how much something that a server does now and then holds up the calls beside it. Pure: randomness is passed in.

Each time that it was done is a *window*, and one of a pair: in the same run an equally long window follows, in which it
was not done. What is compared is the longest latency of any call that was under way in a window. A machine has stalls
of its own, which strike windows of both kinds alike; the longest wait of a whole run is mostly one of them. If what is
done holds calls up for S, and the machine stalls them for N, a window's longest latency is the greater of both, so that

    P(longest with <= x) = P(S <= x) * P(N <= x),    P(longest without <= x) = P(N <= x)

and of the times, the share that held a call up for longer than x is 1 - the first over the second. Stalls count from
the median of the windows without. What stalls every time shows as that, however noisy the machine; noise does not.
"""

import bisect
import dataclasses
import random
import statistics
from collections.abc import Iterable, Sequence

from bench import stats


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in nanoseconds of the monotonic clock."""

    begin: int
    end: int

    def latencies(self, times: Iterable[tuple[int, int]]) -> list[int]:
        """Return the latencies of the calls that were under way in it; ``times`` says when each was due and ended."""
        return [ended - due for due, ended in times if due <= self.end and ended >= self.begin]


@dataclasses.dataclass(frozen=True, slots=True)
class Pairs:
    """The longest latency in each window with, and in the one without that belongs to it."""

    with_: Sequence[float]
    without: Sequence[float]

    @property
    def usual(self) -> float:
        """The longest latency that a window without has in the median."""
        return statistics.median(self.without)

    def share_above(self, stall: float) -> float:
        """Return the share of times that held a call up for longer than this."""
        return _share(sorted(self.with_), sorted(self.without), self.usual + stall)

    def exceeded_by(self, share: float) -> float:
        """Return the stall that no more than this share of the times exceeds; 0 where it is less than usual waits."""
        with_, without, usual = sorted(self.with_), sorted(self.without), self.usual
        for longest in reversed(with_):
            # Just below it, the window itself is one of those above.
            if longest > usual and _share(with_, without, longest, itself=True) > share:
                return longest - usual
        return 0.0

    def resampled(self, chance: random.Random) -> "Pairs":
        """Draw the pairs that might have been seen as well."""
        drawn = chance.choices(range(len(self.with_)), k=len(self.with_))
        return Pairs([self.with_[i] for i in drawn], [self.without[i] for i in drawn])

    def intervals(
        self, chance: random.Random, *, share: float, stalls: Sequence[float]
    ) -> tuple[stats.Interval, list[stats.Interval]]:
        """Return the intervals of ``exceeded_by(share)``, and of ``share_above`` for each of these stalls."""
        draws = [self.resampled(chance) for _ in range(stats.RESAMPLES)]
        return (
            stats.middle([draw.exceeded_by(share) for draw in draws]),
            [stats.middle([draw.share_above(stall) for draw in draws]) for stall in stalls],
        )


def _share(with_: Sequence[float], without: Sequence[float], x: float, *, itself: bool = False) -> float:
    """Return the share of times that held a call up for longer than until x; with ``itself``, as long as that."""
    held = bisect.bisect_left(with_, x) if itself else bisect.bisect_right(with_, x)
    return max(1 - (held / len(with_)) / (bisect.bisect_right(without, x) / len(without)), 0.0)
