"""What can be said about the numbers of a run, and how surely. Pure: randomness is passed in.

Percentiles are by nearest rank: the smallest value that at least ``share`` of the values do not exceed.

*Within one run* a percentile's confidence interval comes from order statistics: how many of n independent values lie
below the true percentile is binomial, whatever the distribution (Conover, Practical Nonparametric Statistics, 3.2).

*Over several runs* the runs differ by more than chance within each, so a bootstrap resamples on two levels: runs, then
values. The second level costs one draw instead of n: the rank of a resample's percentile among the original values
follows a Beta distribution, as the k-th of n uniform draws does.

A percentile of several runs is the median of theirs; any other figure the mean. Ratios are new / old. Intervals cover
95 %.
"""

import dataclasses
import math
import random
import statistics
from collections.abc import Callable, Sequence
from typing import Protocol

CONFIDENCE = 0.95
RESAMPLES = 2000

_EXACT_BELOW = 10.0
"""Variance of the binomial below which its distribution is summed up instead of taken for normal."""


class Ranked(Protocol):
    """Values that are found by rank."""

    @property
    def count(self) -> int:
        """How many there are."""

    def at(self, rank: int) -> float:
        """Return the value of a rank, 1 (the smallest) .. count."""


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; an end is infinite where there are too few values for one."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Return whether a value lies within."""
        return self.low <= value <= self.high


NO_INTERVAL = Interval(-math.inf, math.inf)


def rank_of(share: float, count: int) -> int:
    """Return the nearest rank of a percentile (``share`` 0 .. 1) among ``count`` values."""
    # Without the rounding, 0.07 * 100 would have rank 8.
    return min(max(math.ceil(round(share * count, 9)), 1), count)


def percentile(values: Ranked, share: float) -> float:
    """Return a percentile, or NaN where there are no values."""
    return values.at(rank_of(share, values.count)) if values.count else math.nan


class Sorted:
    """Plain numbers, found by rank."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[float]) -> None:
        self._values = sorted(values)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._values)

    def at(self, rank: int) -> float:
        """Return the value of a rank, 1 (the smallest) .. count."""
        if rank < 1:
            raise IndexError(f"rank {rank}")
        return self._values[rank - 1]


def percentile_interval(values: Ranked, share: float) -> Interval:
    """Return the confidence interval of a percentile of independent values.

    An end is infinite where even the smallest or largest value does not bound the percentile surely enough.
    """
    n = values.count
    if not n:
        return NO_INTERVAL
    low, high = _rank_interval(n, share)
    return Interval(values.at(low) if low >= 1 else -math.inf, values.at(high) if high <= n else math.inf)


def _rank_interval(n: int, share: float) -> tuple[int, int]:
    """Return ranks between which the percentile lies; 0 or n + 1 where there is none."""
    tail = (1 - CONFIDENCE) / 2
    variance = n * share * (1 - share)
    if variance >= _EXACT_BELOW:
        spread = statistics.NormalDist().inv_cdf(1 - tail) * math.sqrt(variance)
        return max(math.floor(n * share - spread), 0), min(math.ceil(n * share + spread) + 1, n + 1)
    # P(percentile < value of rank k) = P(at most k - 1 values lie below it): the binomial's cumulated probability.
    below = 0.0
    low, high = 0, n + 1
    for k in range(n + 1):
        below += _binomial(n, k, share)
        if below <= tail:
            low = k + 1
        if below >= 1 - tail:
            high = k + 1
            break
    return low, high


def _binomial(n: int, k: int, p: float) -> float:
    if p in (0.0, 1.0):
        return float(k == n * p)
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))


def typical_percentile(runs: Sequence[Ranked], share: float) -> float:
    """Return the median of the runs' percentiles."""
    known = [percentile(run, share) for run in runs if run.count]
    return statistics.median(known) if known else math.nan


def resampled_percentile(runs: Sequence[Ranked], share: float, chance: random.Random) -> float:
    """Draw what ``typical_percentile`` might have been, had the runs been made again."""
    drawn = []
    for run in chance.choices(runs, k=len(runs)):
        rank = rank_of(share, run.count)
        place = chance.betavariate(rank, run.count - rank + 1)
        drawn.append(run.at(rank_of(place, run.count)))
    return statistics.median(drawn)


def typical_percentile_interval(runs: Sequence[Ranked], share: float, chance: random.Random) -> Interval:
    """Return the interval of ``typical_percentile``: by order statistics for one run, else by bootstrap."""
    runs = [run for run in runs if run.count]
    if len(runs) <= 1:
        return percentile_interval(runs[0], share) if runs else NO_INTERVAL
    return middle([resampled_percentile(runs, share, chance) for _ in range(RESAMPLES)])


def percentile_ratio_interval(
    new: Sequence[Ranked], old: Sequence[Ranked], share: float, chance: random.Random
) -> Interval:
    """Return the interval of the ratio of two typical percentiles."""
    new, old = [run for run in new if run.count], [run for run in old if run.count]
    if not new or not old:
        return NO_INTERVAL
    return _ratios(lambda: resampled_percentile(new, share, chance), lambda: resampled_percentile(old, share, chance))


def scalar_interval(values: Sequence[float]) -> Interval:
    """Return the interval of the mean of a few figures, one of each run, by Student's t; none for a single one."""
    if len(values) <= 1:
        return NO_INTERVAL
    spread = _t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return Interval(mean - spread, mean + spread)


def scalar_ratio_interval(new: Sequence[float], old: Sequence[float]) -> Interval:
    """Return the interval of the ratio of two means of positive figures, by Welch's t on their logarithms."""
    if min(len(new), len(old)) <= 1 or min(*new, *old) <= 0:
        return NO_INTERVAL
    logs = [[math.log(value) for value in values] for values in (new, old)]
    parts = [statistics.variance(each) / len(each) for each in logs]
    middle = statistics.fmean(logs[0]) - statistics.fmean(logs[1])
    error = math.sqrt(sum(parts))
    if not error:
        return Interval(math.exp(middle), math.exp(middle))
    freedom = sum(parts) ** 2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, logs, strict=True))
    spread = _t(max(math.floor(freedom), 1)) * error
    return Interval(math.exp(middle - spread), math.exp(middle + spread))


def _ratios(draw_new: Callable[[], float], draw_old: Callable[[], float]) -> Interval:
    drawn = []
    for _ in range(RESAMPLES):
        new, old = draw_new(), draw_old()
        drawn.append(new / old if old else math.inf)
    return middle(drawn)


def middle(drawn: Sequence[float]) -> Interval:
    """Return the interval that holds the middle 95 % of what was drawn."""
    ranked = Sorted(drawn)
    tail = (1 - CONFIDENCE) / 2
    return Interval(percentile(ranked, tail), percentile(ranked, 1 - tail))


_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Student's t, two-sided 95 %, for 1 .. 15 degrees of freedom."""


def _t(freedom: int) -> float:
    if freedom <= len(_T):
        return _T[freedom - 1]
    # Cornish-Fisher, right to three digits from here on.
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
