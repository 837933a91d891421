"""An invocation on its way through the pool, and the one place its outcome goes."""

from collections.abc import Callable

from runtime import errors, model


class Call:
    """One admitted invocation.

    Exactly one of ``on_outcome(outcome)`` and ``on_refused(error)`` is called, once, from the event loop: the first
    when the function answered or broke, the second when no worker could be had for it, or nobody waits for one.
    """

    __slots__ = ("arrived", "invocation", "on_answer", "on_chunk", "on_outcome", "on_refused", "resume", "waits_for")

    def __init__(
        self,
        invocation: model.Invocation,
        arrived: float,
        on_outcome: Callable[[model.Outcome], None],
        on_refused: Callable[[errors.HotforkError], None],
    ) -> None:
        self.invocation = invocation
        self.arrived = arrived
        """On the pool's clock, in seconds."""
        self.on_outcome = on_outcome
        self.on_refused = on_refused
        self.waits_for: model.WorkerKey | None = None
        """Which workers it waits for one of; None where it does not wait."""
        self.on_answer: Callable[[bytes | memoryview, str, str | None], None] | None = None
        """Called with payload, content type and error type as soon as the function answered, before its outcome: by no
        means always. It must not submit a call, for the worker is not free yet."""
        self.on_chunk: Callable[[bytes], bool] | None = None
        """Called with each part of a streamed response, before its outcome; False asks to wait for ``resume``."""
        self.resume: Callable[[], None] = _nothing
        """Lets a streamed response go on; set when the call has its worker."""


def _nothing() -> None:
    """Resume what was never paused."""
