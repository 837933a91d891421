"""Keep-alive policies that ``keepalive`` plays against those of the server (``runtime.pool.keepalive``). Pure."""

import math


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
