"""When an asynchronous event is tried again, and how it ends when it is not. Pure; times are Unix seconds.

The rules are those of docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html. A function that fails
is tried again after one minute and after two more, or less often where its configuration says so. What is not its
fault (no free concurrency, a worker that could not be had) is tried again after 1 s, 2 s, 4 s ... up to 5 minutes, as
often as the event's age allows. An event whose next try would come after its greatest age ends at once.
"""

import enum
from collections.abc import Mapping
from typing import Any

from runtime import model

MAX_AGE_S = 21_600.0
MAX_RETRIES = 2

_REFUSAL_SHARE = 1 / 60
"""Of the base delay, the first wait after a refusal: one second of the minute."""
_REFUSAL_LIMIT = 5
"""Base delays that a wait after a refusal takes at most: five minutes."""
_LEAST_PAUSE_S = 0.01
"""However small the base delay: a function that cannot run must not keep the processor busy."""
_DOUBLINGS = 30


class Condition(enum.Enum):
    """How an event ended, as invocation records name it."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"


@model.frozen
class Rules:
    """What one event is held to."""

    max_retries: int = MAX_RETRIES
    """After the first try."""
    max_age_s: float = MAX_AGE_S
    base_delay_s: float = 60.0
    """Before the first retry; everything else is in proportion."""


def rules(configured: Mapping[str, Any] | None, *, base_delay_s: float) -> Rules:
    """Return the rules of a function's FunctionEventInvokeConfig, None where it has none."""
    configured = configured or {}
    return Rules(
        max_retries=configured.get("MaximumRetryAttempts", MAX_RETRIES),
        max_age_s=configured.get("MaximumEventAgeInSeconds", MAX_AGE_S),
        base_delay_s=base_delay_s,
    )


def after_error(tries: int, accepted: float, now: float, held_to: Rules) -> float | Condition:
    """Decide after the function failed for the ``tries``-th time: when it is tried again, or how the event ends."""
    if tries > held_to.max_retries:
        return Condition.RETRIES_EXHAUSTED
    return _unless_too_old(now + held_to.base_delay_s * 2 ** (tries - 1), accepted, held_to)


def after_refusal(refusals: int, accepted: float, now: float, held_to: Rules) -> float | Condition:
    """Decide after the ``refusals``-th time in a row that the event could not even be run."""
    return _unless_too_old(now + pause(refusals, held_to.base_delay_s), accepted, held_to)


def pause(refusals: int, base_delay_s: float) -> float:
    """Return the seconds to wait after so many refusals in a row."""
    doubled: float = base_delay_s * _REFUSAL_SHARE * 2 ** min(refusals - 1, _DOUBLINGS)
    return max(_LEAST_PAUSE_S, min(doubled, base_delay_s * _REFUSAL_LIMIT))


def too_old(accepted: float, now: float, held_to: Rules) -> bool:
    """Return whether an event may not be run any more."""
    return now > accepted + held_to.max_age_s


def _unless_too_old(due: float, accepted: float, held_to: Rules) -> float | Condition:
    return Condition.EVENT_AGE_EXCEEDED if too_old(accepted, due, held_to) else due
