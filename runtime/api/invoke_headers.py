"""What callers of Invoke say in headers: parsed, bounded, checked. Pure but for fresh trace ids.

docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, "URI Request Parameters".
"""

import base64
import binascii
import json
import random
import time
from collections.abc import Mapping

from runtime import errors

CLIENT_CONTEXT_LIMIT = 3583

_LOG_TYPES = ("None", "Tail")


def choice(value: str, member: str, allowed: tuple[str, ...]) -> str:
    """Return a value of a closed set; raise AWS's Validation error for any other."""
    if value not in allowed:
        raise errors.Validation(
            f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(allowed)}]"
        )
    return value


def wants_log_tail(headers: Mapping[str, str]) -> bool:
    """Return whether the caller wants the end of the log."""
    return choice(headers.get("x-amz-log-type", "None"), "logType", _LOG_TYPES) == "Tail"


def trace_id(headers: Mapping[str, str]) -> str:
    """Return the caller's trace header, or a fresh one."""
    return headers.get("x-amzn-trace-id") or fresh_trace_id()


def fresh_trace_id() -> str:
    """Return a fresh trace header, of what is not sampled."""
    # docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-traceids
    return f"Root=1-{int(time.time()):08x}-{random.getrandbits(96):024x};Parent={random.getrandbits(64):016x};Sampled=0"


def client_context(headers: Mapping[str, str]) -> bytes | None:
    """Return the client context, a JSON object; raise InvalidRequestContent where it is none."""
    header = headers.get("x-amz-client-context")
    if header is None:
        return None
    if len(header) > CLIENT_CONTEXT_LIMIT:
        raise errors.InvalidRequestContent("Client context must be smaller than 3583 bytes")
    try:
        decoded = base64.b64decode(header, validate=True)
        document = json.loads(decoded)
    except (binascii.Error, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise errors.InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.")
    return decoded
