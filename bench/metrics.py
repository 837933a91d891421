"""Reads a scrape: the text format of Prometheus, as far as the server writes it. Pure."""

import dataclasses
import re
from collections.abc import Mapping

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Sample = tuple[str, frozenset[tuple[str, str]]]


def parse(text: str) -> dict[Sample, float]:
    """Return every sample by its name and labels."""
    found = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            found[match.group(1), frozenset(_LABEL.findall(match.group(2) or ""))] = float(match.group(3))
    return found


def means(samples: Mapping[Sample, float], name: str, label: str) -> dict[str, tuple[float, int]]:
    """Return mean and count of a histogram for each value of a label."""
    found = {}
    for (each, labels), total in samples.items():
        values = dict(labels)
        if each == f"{name}_sum" and label in values:
            count = int(samples.get((f"{name}_count", labels), 0))
            if count:
                found[values[label]] = (total / count, count)
    return found


def growth(before: Mapping[Sample, float], after: Mapping[Sample, float]) -> dict[Sample, float]:
    """Return by how much every sample of the second scrape grew since the first; for counters and histograms."""
    return {sample: value - before.get(sample, 0) for sample, value in after.items()}


def by(samples: Mapping[Sample, float], name: str, label: str) -> dict[str, float]:
    """Return the values of a metric, added up for each value of a label."""
    found: dict[str, float] = {}
    for (each, labels), value in samples.items():
        values = dict(labels)
        if each == name and label in values:
            found[values[label]] = found.get(values[label], 0) + value
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """What a histogram without labels tells of single observations."""

    count: int
    below: Mapping[float, int]
    """Observations up to each bound."""
    total: float

    @property
    def most(self) -> float:
        """A bound of the largest: that of its bucket, or where it is in the last one, the sum of all."""
        return min((bound for bound, count in self.below.items() if count == self.count), default=self.total)

    def above(self, bound: float) -> int:
        """Return how many were above a bound of the buckets."""
        return self.count - self.below[bound]


def observed(samples: Mapping[Sample, float], name: str) -> Observed:
    """Return what a histogram without labels holds."""
    below = {float(bound): int(count) for bound, count in by(samples, f"{name}_bucket", "le").items()}
    count = below.pop(float("inf"), 0)
    return Observed(count, below, samples.get((f"{name}_sum", frozenset()), 0.0))
