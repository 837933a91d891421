"""Errors as AWS puts them on the wire: status, headers and body. Pure."""

import json

from runtime import errors


def of_error(error: errors.HotforkError, request_id: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return (status, headers, body) of an error; one that is not the caller's becomes a ServiceException."""
    fault = error if isinstance(error, errors.ApiError) else errors.ServiceFault(error.message)
    headers = [
        ("Content-Type", "application/json"),
        ("x-amzn-ErrorType", fault.code),
        ("x-amzn-RequestId", request_id),
        *fault.headers.items(),
    ]
    return fault.status, headers, json.dumps(fault.body(), separators=(",", ":"), ensure_ascii=False).encode()
