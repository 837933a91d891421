"""Where on a plot a value lies, and which values are marked. Pure."""

import dataclasses
import math
from collections.abc import Sequence

_STEPS = (1, 2, 2.5, 5, 10)


@dataclasses.dataclass(frozen=True, slots=True)
class Axis:
    """Maps low .. high to start .. end, in pixels; linearly, or by the logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value, at the edge where it lies beyond."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(value) - low) / (high - low) if high > low else 0.0
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self, about: int = 5) -> list[float]:
        """Return values to mark."""
        return _decades(self.low, self.high) if self.log else _even(self.low, self.high, about)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value


def spanning(values: Sequence[float], start: float, end: float, *, log: bool = False) -> Axis:
    """Return an axis that holds all values and ends on marks; a linear one begins at 0."""
    known = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    if log:
        low = 10.0 ** math.floor(math.log10(min(known, default=1.0)))
        high = 10.0 ** math.ceil(math.log10(max(known, default=10.0)))
        return Axis(low, high if high > low else low * 10, start, end, log=True)
    high = max(known, default=1.0) or 1.0
    step = _step(high, 5)
    return Axis(0.0, math.ceil(high / step - 1e-9) * step, start, end)


def _step(span: float, about: int) -> float:
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in _STEPS if step * power >= raw * (1 - 1e-9))


def _even(low: float, high: float, about: int) -> list[float]:
    step = _step(high - low, about)
    return [low + n * step for n in range(int((high - low) / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = round(math.log10(low)), round(math.log10(high))
    return [10.0**power for power in range(first, last + 1)]
