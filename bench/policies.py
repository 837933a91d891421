"""Keep-alive policies that ``keepalive`` plays: each decides for one function, from its idle gaps in minutes. Pure."""

import math

RANGE = 24 * 60
"""Minutes: the longest gap that is looked at."""


class Fixed:
    """Keeps every worker for the same time."""

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes

    def gap(self, length: int) -> None:
        """Learn nothing."""

    def windows(self) -> tuple[float, float]:
        """Return the same windows each time."""
        return 0.0, self._minutes


class HybridHistogram:
    """The policy of "Serverless in the Wild", without its ARIMA part.

    A histogram of idle gaps up to four hours, in minutes. Its 5th percentile, less 10 %, is the pre-warm window; its
    99th, plus 10 %, ends the keep-alive window. While it says little (fewer than ``few`` gaps, or a coefficient of
    variation of its bars below 2), or half of the gaps lie beyond it, everything is kept for ``otherwise`` minutes.
    """

    RANGE = 240

    def __init__(self, *, few: int = 5, otherwise: float = 240.0) -> None:
        self._few = few
        self._otherwise = otherwise
        self._bars = [0] * (self.RANGE + 1)
        self._within = self._beyond = 0
        self._squares = 0

    def gap(self, length: int) -> None:
        """Count a gap."""
        if length > self.RANGE:
            self._beyond += 1
            return
        self._within += 1
        self._squares += 2 * self._bars[length] + 1
        self._bars[length] += 1

    def windows(self) -> tuple[float, float]:
        """Return the windows that the histogram suggests."""
        if self._within < self._few or self._beyond > self._within or self._variation() < 2:  # noqa: PLR2004
            return 0.0, self._otherwise
        head, tail = self._percentile(0.05), self._percentile(0.99)
        prewarm = int(head * 0.9)
        return float(prewarm), tail * 1.1 - prewarm

    def _variation(self) -> float:
        mean = self._within / len(self._bars)
        return math.sqrt(self._squares / len(self._bars) - mean**2) / mean

    def _percentile(self, share: float) -> int:
        wanted = share * self._within
        seen = 0
        for length, count in enumerate(self._bars):
            seen += count
            if count and seen >= wanted:
                return length
        return self.RANGE


class Expectation:
    """Keeps a worker in those minutes in which the expected gain exceeds the expected waste.

    The length of the next gap is taken to be distributed as the gaps so far, each smeared by a tenth of its length, and
    as one more gap of the kind that functions have in general: P(t) ~ (t + 1)^-1.5. A minute of waiting costs 1 if it
    comes to be waited in; a cold start that is avoided gains ``worth`` minutes. Of all windows the one with the largest
    sum is chosen: it begins where waiting starts to pay and ends where it ceases to.

    Worth and exponent were chosen on the day of 2019 that ``keepalive`` plays, which is to be kept in mind.
    """

    def __init__(self, *, worth: float = 58.0) -> None:
        self._cost = 1.0 / worth
        self._gaps: dict[int, int] = {}
        self._count = 0
        self._renew_at = 0
        self._windows = 0.0, 0.0

    def gap(self, length: int) -> None:
        """Count a gap."""
        self._count += 1
        self._gaps[length] = self._gaps.get(length, 0) + 1

    def windows(self) -> tuple[float, float]:
        """Return the windows for what is known; thought over again whenever 15 % more is known."""
        if self._count >= self._renew_at:
            self._renew_at = max(self._count + 1, int(self._count * 1.15))
            self._windows = self._best()
        return self._windows

    def _best(self) -> tuple[float, float]:
        chances = self._chances()
        left = 1.0  # the chance that the gap is at least so long
        total = largest = 0.0
        start, best = 1, (0.0, 0.0)
        for minute in range(1, RANGE + 1):
            if total <= 0:
                total, start = 0.0, minute
            total += chances[minute] - self._cost * left
            left -= chances[minute]
            if total > largest:
                largest, best = total, (float(start - 1), float(minute - start + 1))
        return best

    def _chances(self) -> list[float]:
        """Return the probability of each length of the next gap."""
        weight = 1.0 / (self._count + 1)
        chances = [weight * chance for chance in _IN_GENERAL]
        for length, count in self._gaps.items():
            spread = length // 10
            low, high = max(length - spread, 1), min(length + spread, RANGE)
            each = count * weight / (high - low + 1)
            for minute in range(low, high + 1):
                chances[minute] += each
        return chances


def _in_general() -> list[float]:
    shape = [0.0, *((minute + 1) ** -1.5 for minute in range(1, RANGE + 1))]
    whole = sum(shape)
    return [each / whole for each in shape]


_IN_GENERAL = _in_general()
