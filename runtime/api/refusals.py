"""How the HTTP server's own refusals look to a client of the Lambda API, and how long a body may be.

To be given to the server: ``http.Limits(body_limit=refusals.body_limit)`` and ``refusal=refusals.of``.
"""

import json
from http import HTTPStatus

from runtime import errors
from runtime.api import control, http, invocations, replies, request_ids, routes

_UPLOADS = frozenset({"CreateFunction", "PublishLayerVersion", "UpdateFunctionCode"})
_NAMES = {"Invoke": "InvokeFunction"}
"""Operations that AWS calls otherwise in this message."""


def body_limit(method: str, path: str) -> int:
    """Return the greatest body of a request, in bytes."""
    match = routes.find(method, path, "")
    if match is not None and match.operation in _UPLOADS:
        return control.BODY_LIMIT
    return invocations.SYNCHRONOUS_LIMIT


def of(status: int, message: str, method: str, path: str) -> tuple[http.Headers, bytes]:
    """Return headers and body of an answer that the server gives by itself."""
    match = routes.find(method, path, "") if method else None
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and match is not None:
        operation = _NAMES.get(match.operation, match.operation)
        limit = body_limit(method, path)
        error = errors.RequestEntityTooLarge(
            f"Request must be smaller than {limit} bytes for the {operation} operation"
        )
        _, headers, body = replies.of_error(error, request_ids.new())
        return headers, body
    phrase = HTTPStatus(status).phrase.title().replace(" ", "")
    document = json.dumps({"message": message}).encode()
    return [
        ("Content-Type", "application/json"),
        ("x-amzn-ErrorType", f"{phrase}Exception"),
        ("x-amzn-RequestId", request_ids.new()),
    ], document
