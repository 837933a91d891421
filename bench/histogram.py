"""A log-linear histogram of durations, as HdrHistogram draws it: constant relative error, constant memory. Pure.

Values are whole nanoseconds. Below 256 every value has a bucket of its own; above, each power of two is cut into 128
buckets, so that a bucket's middle is within 0.4 % of every value in it. Count, sum, minimum and maximum are exact.
The first ``SAMPLE_LIMIT`` values are kept as well, in the order in which they came, as long as there are no more.

The scheme: hdrhistogram.github.io/HdrHistogram (Tene).
"""

from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate

import msgspec

SAMPLE_LIMIT = 100_000

_SUB_BITS = 7
_LINEAR = 1 << (_SUB_BITS + 1)
_LARGEST = (1 << 43) - 1
"""Two hours and 26 minutes; longer values count as this."""


def bucket_of(value: int) -> int:
    """Return the index of the bucket that holds a value (0 .. 2**43 - 1)."""
    shift = value.bit_length() - _SUB_BITS - 1
    return value if shift <= 0 else (shift << _SUB_BITS) + (value >> shift)


def bounds_of(bucket: int) -> tuple[int, int]:
    """Return the smallest and the largest value that a bucket holds."""
    if bucket < _LINEAR:
        return bucket, bucket
    shift = (bucket >> _SUB_BITS) - 1
    low = (bucket - (shift << _SUB_BITS)) << shift
    return low, low + (1 << shift) - 1


class Histogram(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finished histogram, as it stands in a result file."""

    count: int
    total: int = 0
    min: int = 0
    max: int = 0
    buckets: list[tuple[int, int]] = []
    """Index and count of the buckets that are not empty, in rising order."""
    samples: list[int] | None = None
    """Every value in the order in which it came; None where there were too many."""

    @property
    def mean(self) -> float:
        """The exact mean; 0 where there is nothing."""
        return self.total / self.count if self.count else 0.0

    def ranked(self) -> "Ranked":
        """Return what finds values by their rank."""
        return Ranked(self)


class Ranked:
    """Finds a histogram's values by rank, exactly where the samples were kept."""

    __slots__ = ("_buckets", "_ends", "_max", "_min", "_samples", "count")

    def __init__(self, histogram: Histogram) -> None:
        self.count = histogram.count
        self._min, self._max = histogram.min, histogram.max
        self._samples = None if histogram.samples is None else sorted(histogram.samples)
        self._buckets = [index for index, _ in histogram.buckets]
        self._ends = list(accumulate(count for _, count in histogram.buckets))

    def at(self, rank: int) -> int:
        """Return the value of a rank, 1 (the smallest) .. count."""
        if not 1 <= rank <= self.count:
            raise IndexError(f"rank {rank} of {self.count}")
        if self._samples is not None:
            return self._samples[rank - 1]
        if rank in (1, self.count):
            return self._min if rank == 1 else self._max
        low, high = bounds_of(self._buckets[_first_reaching(self._ends, rank)])
        return min(max((low + high) // 2, self._min), self._max)


def _first_reaching(ends: list[int], rank: int) -> int:
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if ends[middle] < rank:
            low = middle + 1
        else:
            high = middle
    return low


class Recorder:
    """Takes values while a load runs."""

    __slots__ = ("_buckets", "_count", "_max", "_min", "_samples", "_total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._total = 0
        self._min = _LARGEST
        self._max = 0
        self._samples = array("q")

    def record(self, value: int) -> None:
        """Take a value in nanoseconds; a negative one counts as 0."""
        value = min(max(value, 0), _LARGEST)
        shift = value.bit_length() - 8
        bucket = value if shift <= 0 else (shift << 7) + (value >> shift)  # bucket_of, without the call
        buckets = self._buckets
        buckets[bucket] = buckets.get(bucket, 0) + 1
        self._count += 1
        self._total += value
        if value < self._min:  # noqa: PLR1730 - half the price of min()
            self._min = value
        if value > self._max:  # noqa: PLR1730
            self._max = value
        if self._count <= SAMPLE_LIMIT:
            self._samples.append(value)

    def finish(self) -> Histogram:
        """Return what was recorded."""
        if not self._count:
            return Histogram(count=0, samples=[])
        return Histogram(
            count=self._count,
            total=self._total,
            min=self._min,
            max=self._max,
            buckets=sorted(self._buckets.items()),
            samples=self._samples.tolist() if self._count <= SAMPLE_LIMIT else None,
        )


def of(values: Iterable[int]) -> Histogram:
    """Return the histogram of some values, in nanoseconds."""
    recorder = Recorder()
    for value in values:
        recorder.record(value)
    return recorder.finish()


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return the histogram of all that went into several."""
    parts = [each for each in histograms if each.count]
    if not parts:
        return Histogram(count=0, samples=[])
    buckets: dict[int, int] = {}
    for index, count in _all_buckets(parts):
        buckets[index] = buckets.get(index, 0) + count
    count = sum(each.count for each in parts)
    kept = [each.samples for each in parts if each.samples is not None]
    return Histogram(
        count=count,
        total=sum(each.total for each in parts),
        min=min(each.min for each in parts),
        max=max(each.max for each in parts),
        buckets=sorted(buckets.items()),
        samples=[v for each in kept for v in each] if len(kept) == len(parts) and count <= SAMPLE_LIMIT else None,
    )


def _all_buckets(parts: Iterable[Histogram]) -> Iterator[tuple[int, int]]:
    for part in parts:
        yield from part.buckets
