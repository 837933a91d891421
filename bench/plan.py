"""What the load generator is told, and what it answers: JSON documents, both of them.

Times are in seconds, recorded durations in whole nanoseconds.
"""

from typing import Literal

import msgspec

from bench.histogram import Histogram


class Call(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One kind of request."""

    path: str
    method: str = "POST"
    headers: dict[str, str] = {}
    """Beside Host, Content-Length and User-Agent."""
    body: str = ""
    equals: str | None = None
    """What a response's body must be. A 200 with another body counts as "wrong"."""
    contains: str | None = None
    """What a response's body must hold."""
    weight: float = 1.0
    """How often it is drawn, with ``order`` "weighted"."""
    leave_s: float | None = None
    """The caller does not wait for the answer: so long after it sent the request, or up to 50 ms later, it closes the
    connection. What was answered before counts as that, all else as "left"."""


class Open(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests are sent when they are due, whether or not earlier ones were answered."""

    rate: float
    """Requests a second."""
    arrival: Literal["constant", "poisson"] = "constant"


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A load: to whom, what, how fast, for how long."""

    host: str
    port: int
    calls: list[Call]
    connections: int = 1
    """Closed loop: how many requests are in flight. Open loop: how many there may be at most."""
    open: Open | None = None
    """None: a closed loop, each connection sends its next request when it has its answer."""
    duration_s: float = 1.0
    count: int | None = None
    """End after so many requests, if that comes first."""
    order: Literal["cycle", "weighted", "once"] = "cycle"
    """once: each call one time, then end."""
    timeout_s: float = 60.0
    """A request without an answer for so long is given up, and its connection with it."""
    drain_s: float = 10.0
    """After the end, how long to wait for answers, and in an open loop for requests that are late to go out."""
    error_header: str = "X-Amz-Function-Error"
    """A response with this header counts as "function-error"; "" looks for none."""
    reconnect: bool = False
    """A new connection for every request."""
    seed: int = 1
    list_good: bool = False
    """Tell which calls had the answer that was wanted (``Result.good_calls``)."""
    list_times: bool = False
    """Tell of each request when it was due and when it ended (``Result.times``)."""


class Timeline(msgspec.Struct, frozen=True):
    """How the load went, step by step, by the time of the answer."""

    step_s: float
    answered: list[int]
    slowest_ns: list[int]
    """The longest latency among the answers of a step."""


class Result(msgspec.Struct, frozen=True):
    """What came of a plan.

    Outcomes are named by HTTP status ("200", "429") or: "wrong" (another body than expected), "function-error",
    "timeout", "left" (the caller closed the connection, as ``Call.leave_s`` has it), "broken" (the connection ended, or
    the answer was no HTTP), "unfinished" (no answer by the end of ``drain_s``: its recorded time is a lower bound).
    """

    outcomes: dict[str, Histogram]
    """Latencies by outcome; in an open loop from the moment the request was due, not when it could be sent."""
    service: Histogram
    """Open loop, all outcomes: from the moment the request was sent."""
    late: Histogram
    """Open loop: how late the generator itself was, for requests that found a free connection when due."""
    waited: int
    """Open loop: requests that found no free connection when due."""
    unsent: int
    """Open loop: requests that were due and never could be sent."""
    refused: int
    """Failed attempts to connect."""
    elapsed_s: float
    """From the first request to the last answer, or the end."""
    started_at: float
    """Unix time."""
    rate: float
    """Answers of any status a second."""
    good_rate: float
    """Answers with 2xx and the expected body a second."""
    cpu_s: float
    """CPU time that the generator itself took while it ran."""
    timeline: Timeline
    good_calls: list[int] | None = None
    """With ``list_good``: indices in ``Plan.calls``, in the order of their answers."""
    times: list[tuple[int, int]] | None = None
    """With ``list_times``: when each request was due and when it ended, in the order of the ends; nanoseconds of
    time.monotonic_ns, which all processes share."""


def is_good(outcome: str) -> bool:
    """Return whether an outcome is what the caller wanted."""
    return len(outcome) == len("200") and outcome.startswith("2")
