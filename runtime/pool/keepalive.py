"""How long to keep a worker that nobody calls, and which one to give up first. Pure.

A function is idle from the end of its last call to the next one; that is its *gap*. A policy hears each gap when it has
ended and answers, for the one that begins, for how long to do without a worker (the pre-warm window) and for how long
after that to keep one (the keep-alive window): Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020), section 4.
Gaps and windows are in minutes: a shorter gap is never worth a start.

``Learned`` is the default. On the day of Azure's functions that ``python -m bench keepalive`` plays, 0.027 % of the
calls are cold with it, at 0.98 of the idle time (and memory) that keeping everything for ten minutes takes, where
0.073 % are.
"""

import functools
from collections.abc import Mapping
from typing import Protocol

RANGE = 24 * 60
"""Minutes: the longest gap that is looked at."""

WORTH = 58.0
"""Minutes of waiting that a cold start is worth avoiding. Chosen on the day that the benchmark plays."""

_SMEAR = 10
"""A gap is remembered as a tenth of its length wide, either way."""
_MORE = 1.15
"""Windows are thought over when so much more is known."""


class Policy(Protocol):
    """Decides for one function. Times are in minutes."""

    def gap(self, length: int) -> None:
        """Hear of an idle gap that has ended."""

    def windows(self) -> tuple[float, float]:
        """Return pre-warm and keep-alive window for the gap that begins."""


class Fixed:
    """Keeps a worker always for the same time."""

    __slots__ = ("_windows",)

    def __init__(self, minutes: float) -> None:
        self._windows = 0.0, minutes

    def gap(self, length: int) -> None:
        """Learn nothing."""

    def windows(self) -> tuple[float, float]:
        """Return the same windows each time."""
        return self._windows


class Learned:
    """Keeps a worker in those minutes in which the expected gain exceeds the expected waste.

    The length of the next gap is taken to be distributed as the gaps so far, each smeared by a tenth of its length, and
    as one more gap of the kind that functions have in general: P(t) ~ (t + 1)^-1.5. A minute of waiting costs 1 if it
    comes to be waited in; a cold start that is avoided gains ``worth`` minutes. Of all windows the one with the largest
    sum is chosen: it begins where waiting starts to pay and ends where it ceases to.
    """

    __slots__ = ("_cost", "_count", "_gaps", "_renew_at", "_windows")

    def __init__(self, worth: float = WORTH) -> None:
        self._cost = 1.0 / worth
        self._gaps: dict[int, int] = {}
        self._count = 0
        self._renew_at = 0
        self._windows = 0.0, 0.0

    def gap(self, length: int) -> None:
        """Count a gap."""
        self._count += 1
        length = min(length, RANGE)
        self._gaps[length] = self._gaps.get(length, 0) + 1

    def windows(self) -> tuple[float, float]:
        """Return the windows for what is known; costs half a millisecond when it is thought over, else nothing."""
        if self._count >= self._renew_at:
            self._renew_at = max(self._count + 1, int(self._count * _MORE))
            self._windows = _best(self._gaps, self._count, self._cost) if self._count else _of_the_unknown(self._cost)
        return self._windows


def _best(gaps: Mapping[int, int], count: int, cost: float) -> tuple[float, float]:
    weight = 1.0 / (count + 1)
    steps = _steps(gaps, weight)
    seen = 0.0
    left = 1.0  # the chance that the gap is at least so long
    total = largest = 0.0
    start, best = 1, (0.0, 0.0)
    for minute in range(1, RANGE + 1):
        if total <= 0:
            total, start = 0.0, minute
        seen += steps[minute]
        chance = weight * _IN_GENERAL[minute] + seen
        total += chance - cost * left
        left -= chance
        if total > largest:
            largest, best = total, (float(start - 1), float(minute - start + 1))
    return best


@functools.cache
def _of_the_unknown(cost: float) -> tuple[float, float]:
    """Return the windows of a function without gaps so far: the same for the thousand that are called first at once."""
    return _best({}, 0, cost)


def _steps(gaps: Mapping[int, int], weight: float) -> list[float]:
    """Return by how much the chance of a gap's length changes from each minute to the next."""
    steps = [0.0] * (RANGE + 2)
    for length, count in gaps.items():
        spread = length // _SMEAR
        low, high = max(length - spread, 1), min(length + spread, RANGE)
        each = count * weight / (high - low + 1)
        steps[low] += each
        steps[high + 1] -= each
    return steps


def _in_general() -> list[float]:
    shape = [0.0, *((minute + 1) ** -1.5 for minute in range(1, RANGE + 1))]
    whole = sum(shape)
    return [each / whole for each in shape]


_IN_GENERAL = _in_general()


def worth_keeping(clock: float, calls: int, start_s: float, size_bytes: int) -> float:
    """Return how much an idle worker is worth: where memory is short, the one that is worth least goes first.

    Greedy-dual: what it would cost to start again, times how often it is called, by its size; plus the worth of the
    last that went when this one was called last (``clock``), so that those who are called no more go at last.
    Fuerst and Sharma, "FaasCache" (ASPLOS 2021), section 4.1.
    """
    return clock + calls * start_s / max(size_bytes, 1)
