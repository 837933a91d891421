"""What is counted: plain slots, cheap to change on the hot path. Pure."""

import bisect

from runtime.telemetry import families


class Histogram:
    """Counts of one histogram, per bucket (not cumulative), the last for what is over every bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one that equals a bound is within it."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """Return how many values were counted."""
        return sum(self.counts)


class Events:
    """What is counted for the asynchronous events of one function."""

    __slots__ = ("age", "buried", "dropped", "queue_errors", "received", "retries", "undelivered")

    def __init__(self) -> None:
        self.received = 0
        self.dropped: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.age = Histogram(families.EVENT_AGE.bounds)
        self.undelivered = 0
        self.queue_errors = 0
        self.buried = 0


class Function:
    """What is counted for one function."""

    __slots__ = (
        "billed_ms",
        "cold_starts",
        "duration_counts",
        "duration_sum",
        "errors",
        "events",
        "failures",
        "init",
        "memory",
        "memory_mb",
        "memory_peak_mb",
        "name",
        "running",
        "statuses",
        "succeeded",
        "throttles",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.running = 0
        self.succeeded = 0
        self.statuses: dict[str, int] = {}
        """But for successes."""
        self.errors: dict[str, int] = {}
        self.events: Events | None = None
        """None as long as there were none."""
        self.throttles: dict[str, int] = {}
        self.cold_starts: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.duration_counts = [0] * (len(families.DURATION.bounds) + 1)
        self.duration_sum = 0.0
        self.billed_ms = 0
        self.init = Histogram(families.INIT.bounds)
        self.memory = Histogram(())
        """Of its memory class, shared; replaced when the first invocation tells the class."""
        self.memory_mb = 0
        self.memory_peak_mb = 0


def add(counts: dict[str, int], key: str) -> None:
    """Count one more of a key."""
    counts[key] = counts.get(key, 0) + 1
