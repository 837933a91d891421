"""Samples how late the event loop is: one timer."""

import asyncio

from runtime.telemetry import series

INTERVAL_S = 0.25


class LoopLag:
    """Observes, four times a second, how much later than due a timer ran.

    uvloop's timers count whole milliseconds, so a lag of less than one says nothing.
    """

    def __init__(self, histogram: series.Histogram) -> None:
        self._histogram = histogram
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin."""
        self._timer = loop.call_later(INTERVAL_S, self._ring, loop, loop.time() + INTERVAL_S)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._histogram.observe(max(0.0, loop.time() - due))
        self.start(loop)
