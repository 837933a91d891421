"""When requests are due, and which one comes next. Pure: randomness is passed in.

In an open loop, requests come at moments of their own, as users do, and not when the server has time for them. A
latency counted from such a moment holds the time that a request had to wait behind a stall, which a closed loop, and
one that counts from the actual sending, leaves out ("coordinated omission", Tene).
"""

import itertools
import random
from collections.abc import Iterator

from bench import plan

_NS = 1_000_000_000


def due_times(load: plan.Open, duration_s: float, count: int | None, chance: random.Random) -> Iterator[int]:
    """Yield the moments at which requests are due, in nanoseconds from the start, before ``duration_s``."""
    end = int(duration_s * _NS)
    for number, due in enumerate(_moments(load, chance)):
        if due >= end or number == count:
            return
        yield due


def _moments(load: plan.Open, chance: random.Random) -> Iterator[int]:
    if load.arrival == "constant":
        # By multiplication: a sum would drift.
        yield from (int(number * _NS / load.rate) for number in itertools.count())
    else:
        now = 0.0
        while True:
            now += chance.expovariate(load.rate)
            yield int(now * _NS)


def choices(load: plan.Plan, chance: random.Random) -> Iterator[int]:
    """Yield the index of the next call in ``load.calls``, for ever, or with order "once" each index one time."""
    indices = range(len(load.calls))
    if load.order == "once":
        return iter(indices)
    if load.order == "cycle" or len(indices) == 1:
        return itertools.cycle(indices)
    return _weighted(load, chance)


def _weighted(load: plan.Plan, chance: random.Random) -> Iterator[int]:
    cumulated = list(itertools.accumulate(call.weight for call in load.calls))
    while True:
        yield from chance.choices(range(len(load.calls)), cum_weights=cumulated, k=1024)
