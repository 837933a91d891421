"""What ``bench.inside`` is told, and what it answers: JSON documents, both of them."""

import msgspec

from bench import histogram


class Order(msgspec.Struct, frozen=True):
    """What to measure."""

    isolation: str
    state_dir: str
    warm_s: float = 1.0
    in_flight: int = 1
    cold: int = 0
    """Functions to start one after the other, before the warm calls."""


class Taken(msgspec.Struct, frozen=True):
    """What it took."""

    warm: histogram.Histogram
    warm_rate: float
    cold: histogram.Histogram
    phases: dict[str, histogram.Histogram]
    """Of the cold calls: queue, fork, init."""
    starts: dict[str, int]
    """How the workers of the cold calls were made."""
    failed: int
    confinement: str
