"""Every metric that hotfork exposes: its name, kind, labels and meaning. Pure.

Names and units follow prometheus.io/docs/practices/naming: base units (seconds, bytes), ``_total`` for counters.

Label values are bounded. ``function`` takes as many as ``metrics.Metrics`` is given room for, then ``OTHER``; every
other label has a closed set of values. In particular ``error_type`` holds AWS's own types; whatever else a function
raises is "Unhandled", because the names of its exceptions are the function's choice, one for each call if it likes.
"""

import dataclasses
from typing import Literal

OTHER = "(other)"
"""Stands for all functions beyond the limit; no function can have this name."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its label values."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, without infinity."""


INVOCATIONS = Family(
    "hotfork_invocations_total", "counter", "Invocations that ended: success, error or timeout.", ("function", "status")
)
ERRORS = Family(
    "hotfork_errors_total",
    "counter",
    "Invocations that failed, by AWS's error type; a function's own exceptions are Unhandled.",
    ("function", "error_type"),
)
THROTTLES = Family(
    "hotfork_throttles_total", "counter", "Calls refused with status 429, by AWS's reason.", ("function", "reason")
)
DURATION = Family(
    "hotfork_invocation_duration_seconds",
    "histogram",
    "Run time of invocations, without init.",
    ("function",),
    (*_SECONDS, 30.0, 60.0, 300.0, 900.0),
)
BILLED = Family(
    "hotfork_billed_duration_seconds_total",
    "counter",
    "Run time and init as AWS would bill them, each invocation rounded up to a millisecond.",
    ("function",),
)
INIT = Family(
    "hotfork_init_duration_seconds",
    "histogram",
    "Time to import the handler, of invocations that had to wait for it.",
    ("function",),
    _SECONDS,
)
COLD_STARTS = Family(
    "hotfork_cold_starts_total",
    "counter",
    "Invocations that were the first of their worker, by how the worker was made.",
    ("function", "kind"),
)
MEMORY_USED = Family(
    "hotfork_function_memory_used_max_bytes",
    "gauge",
    "Most memory that an invocation of the function used since the server started.",
    ("function",),
)
MEMORY_LIMIT = Family(
    "hotfork_function_memory_limit_bytes", "gauge", "MemorySize of the version that ran last.", ("function",)
)
CONCURRENT = Family(
    "hotfork_concurrent_executions", "gauge", "Invocations that are running, by function.", ("function",)
)
FAILURES = Family(
    "hotfork_worker_failures_total",
    "counter",
    "Workers that ended by their own fault: exit, signal, oom, timeout, protocol, start or init.",
    ("function", "cause"),
)

EVENTS_RECEIVED = Family(
    "hotfork_async_events_received_total",
    "counter",
    "Asynchronous events that were accepted: they are on disk.",
    ("function",),
)
EVENTS_DROPPED = Family(
    "hotfork_async_events_dropped_total",
    "counter",
    "Asynchronous events that ended without success, by AWS's condition.",
    ("function", "condition"),
)
EVENT_AGE = Family(
    "hotfork_async_event_age_seconds",
    "histogram",
    "Time from the acceptance of an asynchronous event to the beginning of each of its runs.",
    ("function",),
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0),
)
EVENT_RETRIES = Family(
    "hotfork_async_event_retries_total",
    "counter",
    "Asynchronous events that were put off: after an error of the function, a throttle, or a fault of the service.",
    ("function", "cause"),
)
DESTINATION_FAILURES = Family(
    "hotfork_destination_delivery_failures_total",
    "counter",
    "Tries to deliver the result of an event to its destination that failed.",
    ("function",),
)
DEAD_LETTER_ERRORS = Family(
    "hotfork_dead_letter_errors_total",
    "counter",
    "Tries to deliver an event to its function's dead-letter queue that failed.",
    ("function",),
)
DEAD_LETTERS_KEPT = Family(
    "hotfork_dead_letters_kept_total",
    "counter",
    "Events that went to the local store of dead letters; see hotfork events.",
    ("function",),
)

EVENTS_QUEUED = Family("hotfork_async_events_queued", "gauge", "Asynchronous events that wait or run.", ("function",))
DELIVERIES_QUEUED = Family(
    "hotfork_async_deliveries_queued", "gauge", "Results of events that are still to be delivered."
)
DEAD_LETTERS = Family("hotfork_dead_letters", "gauge", "Events in the local store of dead letters.")
DEAD_LETTERS_EVICTED = Family(
    "hotfork_dead_letters_evicted_total", "counter", "Dead letters that were removed because newer ones needed room."
)
ACCOUNT_CONCURRENT = Family("hotfork_account_concurrent_executions", "gauge", "Invocations that are running.")
ACCOUNT_LIMIT = Family(
    "hotfork_account_concurrency_limit", "gauge", "Invocations that may run at once, over all functions."
)
WORKERS = Family("hotfork_workers", "gauge", "Worker processes, by state.", ("state",))
WORKER_STARTS = Family(
    "hotfork_worker_starts_total", "counter", "Workers that became ready, by how they were made.", ("kind",)
)
PHASES = Family(
    "hotfork_cold_start_phase_seconds",
    "histogram",
    "Where the time of cold starts went: queue (until a worker was asked for), fork (until its process existed), "
    "sandbox (until that stood), assign (until it had become the function), init (until the handler was imported).",
    ("phase",),
    (0.0001, 0.00025, *_SECONDS),
)
QUEUE_WAIT = Family(
    "hotfork_queue_wait_seconds",
    "histogram",
    "Time from an invocation's arrival until a worker was asked for or freed.",
    (),
    (0.0001, 0.00025, *_SECONDS),
)
WORKER_MEMORY = Family(
    "hotfork_worker_memory_used_max_bytes",
    "histogram",
    "Most memory that a worker had used when an invocation ended, by the function's MemorySize in MB, rounded up.",
    ("memory_class",),
    tuple(float(mb * 1024 * 1024) for mb in (8, 16, 32, 64, 96, 128, 256, 512, 1024, 1769, 3008, 5120, 10240)),
)
LOOP_LAG = Family(
    "hotfork_event_loop_lag_seconds",
    "histogram",
    "How much later than due a timer of the event loop ran, sampled four times a second.",
    (),
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0),
)
BLANKS = Family(
    "hotfork_blanks",
    "gauge",
    "Workers that wait for a function, by the MemorySize in MB that they are for.",
    ("memory_class",),
)
TEMPLATES = Family(
    "hotfork_snapshots", "gauge", "Versions with a snapshot that is making or ready, or with none, refused.", ("state",)
)
COPIES_AHEAD = Family(
    "hotfork_snapshot_copies_ahead", "gauge", "Copies of snapshots that were made ahead and wait to be workers.", ()
)
PROVISIONED_INVOCATIONS = Family(
    "hotfork_provisioned_concurrency_invocations_total",
    "counter",
    "Invocations that ran on provisioned concurrency, since it was asked for.",
    ("function",),
)
PROVISIONED_SPILLOVER = Family(
    "hotfork_provisioned_concurrency_spillover_invocations_total",
    "counter",
    "Invocations of versions with provisioned concurrency that ran without, because all of it was in use.",
    ("function",),
)
PROVISIONED_BUSY = Family(
    "hotfork_provisioned_concurrent_executions",
    "gauge",
    "Invocations that are running on provisioned concurrency.",
    ("function",),
)
PROVISIONED_READY = Family(
    "hotfork_provisioned_concurrency_ready",
    "gauge",
    "Workers of provisioned concurrency that are initialised, busy or not.",
    ("function",),
)
PROVISIONED_UTILIZATION = Family(
    "hotfork_provisioned_concurrency_utilization_ratio",
    "gauge",
    "Share of the provisioned concurrency that is in use, 0 to 1.",
    ("function",),
)
ZYGOTES = Family("hotfork_zygotes", "gauge", "Zygotes that are running, by runtime.", ("runtime",))
LOG_DROPPED = Family(
    "hotfork_log_dropped_bytes_total",
    "counter",
    "Output of functions that was lost: over the rate limit, over the buffer, or refused by the disk.",
    ("reason",),
)
ISOLATION_LEVEL = Family(
    "hotfork_isolation_level", "gauge", "3 strong, 2 namespaced, 1 confined, 0 none; see hotfork doctor."
)
ISOLATION_CONTROL = Family(
    "hotfork_isolation_control", "gauge", "Whether a control of the sandbox is engaged (1) or not (0).", ("control",)
)
HTTP_CONNECTIONS = Family("hotfork_http_connections", "gauge", "HTTP connections that are open.")
HTTP_REQUESTS = Family("hotfork_http_requests_total", "counter", "HTTP requests received.")
BUILD = Family("hotfork_build_info", "gauge", "Constantly 1; labels tell what is running.", ("version",))

_AWS_ERRORS = frozenset(
    {
        "Runtime.BuiltInModuleConflict",
        "Runtime.ExitError",
        "Runtime.HandlerNotFound",
        "Runtime.ImportModuleError",
        "Runtime.InvalidEntrypoint",
        "Runtime.LambdaContextUnmarshalError",
        "Runtime.MalformedHandlerName",
        "Runtime.MarshalError",
        "Runtime.OutOfMemory",
        "Runtime.Unknown",
        "Runtime.UnmarshalError",
        "Runtime.UserCodeSyntaxError",
        "Function.ResponseSizeTooLarge",
        "Function.Unknown",
        "Sandbox.Failure",
        "Sandbox.Timedout",
    }
)


def error_type(name: str) -> str:
    """Return the label value for an error type, which may be any text of a worker's choice."""
    if name in _AWS_ERRORS:
        return name
    if name.startswith("Runtime."):
        return "Runtime.Unknown"
    if name.startswith("Function."):
        return "Function.Unknown"
    return "Unhandled"
