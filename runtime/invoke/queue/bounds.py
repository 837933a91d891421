"""How much may wait: over a bound, callers are refused before the disk is full. Pure."""

from runtime import errors, model
from runtime.invoke.queue import lanes

_FUNCTION = "FunctionInvocationRateLimitExceeded"
_ALL = "CallerRateLimitExceeded"
"""AWS's reasons that come nearest: docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, "Errors"."""
_MB = 1024 * 1024


@model.frozen
class Bounds:
    """The most that may wait."""

    events: int = 2_000_000
    function_events: int = 500_000
    bytes: int = 10_240 * _MB
    """Of payloads, with what is kept beside them."""
    lag_s: float = 21_600.0
    """How long ago a function's next event may have been due."""

    def check(self, lane: lanes.Lane | None, now: float, *, depth: int, size: int) -> None:
        """Raise TooManyRequests where an event more would be too many; ``depth`` and ``size`` are of all lanes."""
        if depth >= self.events:
            raise errors.TooManyRequests(
                _ALL, f"{depth} asynchronous events are waiting, and no more may (async_invoke.queue_events)."
            )
        if size >= self.bytes:
            raise errors.TooManyRequests(
                _ALL,
                f"Asynchronous events of {size // _MB} MB are waiting, and no more may (async_invoke.queue_mb).",
            )
        if lane is None:
            return
        if lane.depth >= self.function_events:
            raise errors.TooManyRequests(
                _FUNCTION,
                f"{lane.depth} asynchronous events of {lane.name} are waiting, and no more may "
                "(async_invoke.queue_events_per_function).",
            )
        lag = lane.lag(now)
        if lag > self.lag_s:
            raise errors.TooManyRequests(
                _FUNCTION,
                f"Asynchronous events of {lane.name} are {lag:.0f} s behind, which is too much for more "
                "(async_invoke.queue_lag_s).",
            )
