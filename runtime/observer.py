"""What the core tells those who listen: transitions as they happen, never a question.

The pool and the invoker call an Observer synchronously from the event loop, on the hot path: an implementation
does constant, small work (plain counters, an append to a buffer) and must not raise. ``telemetry`` turns the
calls into metrics and log files; ``Silent`` is for tests and embedders that listen to nothing.
"""

from typing import Protocol

from runtime import model


class Observer(Protocol):
    """Listens to the core."""

    def invocation_started(self, invocation: model.Invocation) -> None:
        """Hear that an invocation was admitted: it counts as a concurrent execution from now on."""

    def invocation_finished(self, invocation: model.Invocation, outcome: model.Outcome) -> None:
        """Hear that an admitted invocation has its outcome; called exactly once for each that started."""

    def invocation_throttled(self, function_name: str, reason: str) -> None:
        """Hear that a call was refused with 429; ``reason`` is AWS's, a closed set."""

    def worker_moved(self, version: model.Version | None, old: str, new: str) -> None:
        """Hear that a worker changed its state (names of pool.slot.State in lower case).

        ``old`` is "" for a worker just made; ``new`` is "dead" at its end. ``version`` is None for a blank.
        """

    def worker_started(self, version: model.Version, kind: model.StartKind, phases: model.Phases) -> None:
        """Hear that a worker became ready to serve its version for the first time."""

    def worker_failed(self, version: model.Version, cause: str) -> None:
        """Hear that a worker ended on its own.

        ``cause`` is of a closed set: exit, signal, oom, timeout, protocol, start, init.
        """

    def log_written(
        self, version: model.Version, stream: str, data: bytes, *, platform: bool = False, whole: bool = False
    ) -> None:
        """Take bytes for a log stream: the function's output as it came, or lines of the ``platform``'s (START ...).

        Chunks of the function's output may end anywhere, even inside a character. Each of the platform's lines is an
        event, unless they are said to be one as a ``whole``. ``platform`` is what tells our lines from a function's
        that look like them: it is never set for bytes that a worker wrote.
        """

    def log_closed(self, version: model.Version, stream: str) -> None:
        """Hear that no more bytes will come for a stream: its worker is dead."""

    def event_received(self, function_name: str) -> None:
        """Hear that an asynchronous event was accepted: it is on disk."""

    def event_tried(self, function_name: str, age_s: float) -> None:
        """Hear that an asynchronous event begins to run, ``age_s`` seconds after it was accepted."""

    def event_retried(self, function_name: str, cause: str) -> None:
        """Hear that an asynchronous event is to be tried again; ``cause`` is a closed set: error, throttle, fault."""

    def event_ended(self, function_name: str, condition: str) -> None:
        """Hear that an asynchronous event is done; ``condition`` is AWS's, a closed set: see invoke.retry."""

    def event_undelivered(self, function_name: str, *, queue: bool) -> None:
        """Hear that what came of an event could not be delivered, to its destination or to its dead-letter queue."""

    def event_buried(self, function_name: str) -> None:
        """Hear that an event is kept in the local store of dead letters."""


class Silent:
    """An Observer that does nothing."""

    def invocation_started(self, invocation: model.Invocation) -> None:
        """Do nothing."""

    def invocation_finished(self, invocation: model.Invocation, outcome: model.Outcome) -> None:
        """Do nothing."""

    def invocation_throttled(self, function_name: str, reason: str) -> None:
        """Do nothing."""

    def worker_moved(self, version: model.Version | None, old: str, new: str) -> None:
        """Do nothing."""

    def worker_started(self, version: model.Version, kind: model.StartKind, phases: model.Phases) -> None:
        """Do nothing."""

    def worker_failed(self, version: model.Version, cause: str) -> None:
        """Do nothing."""

    def log_written(
        self, version: model.Version, stream: str, data: bytes, *, platform: bool = False, whole: bool = False
    ) -> None:
        """Do nothing."""

    def log_closed(self, version: model.Version, stream: str) -> None:
        """Do nothing."""

    def event_received(self, function_name: str) -> None:
        """Do nothing."""

    def event_tried(self, function_name: str, age_s: float) -> None:
        """Do nothing."""

    def event_retried(self, function_name: str, cause: str) -> None:
        """Do nothing."""

    def event_ended(self, function_name: str, condition: str) -> None:
        """Do nothing."""

    def event_undelivered(self, function_name: str, *, queue: bool) -> None:
        """Do nothing."""

    def event_buried(self, function_name: str) -> None:
        """Do nothing."""
