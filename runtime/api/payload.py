"""Whether a request body is JSON, found out without building anything from it. Pure.

AWS's front end parses an Invoke body with Jackson and puts Jackson's words into the error; the texts below are the
ones that recorded answers show, for the faults that can be told apart.
"""

import json
from typing import Any

import msgspec

from runtime import errors

_PIECE = 256 * 1024
_VALIDATOR = msgspec.json.Decoder(msgspec.Raw)
_PREFIX = "Could not parse request body into json: Could not parse payload into json: "
_SOURCE = "\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {}, column: {}]"
_VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


def demand_json(body: bytes | bytearray | memoryview) -> None:
    """Raise InvalidRequestContent unless ``body`` is one JSON value in UTF-8 (RFC 8259; so no NaN)."""
    try:
        _VALIDATOR.decode(body)
    except (msgspec.DecodeError, RecursionError):
        _complain(bytes(body))
        return
    # The validator skips over strings without looking at their encoding.
    if not _is_ascii(body):
        octets = bytes(body)
        try:
            octets.decode()
        except UnicodeDecodeError as error:
            raise _bad_utf8(octets, error) from None


def _is_ascii(body: bytes | bytearray | memoryview) -> bool:
    if not isinstance(body, memoryview):
        return body.isascii()
    # In pieces that stay in the processor's cache, and in memory that need not be faulted in.
    return all(bytes(body[start : start + _PIECE]).isascii() for start in range(0, len(body), _PIECE))


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _complain(body: bytes) -> None:
    """Raise the error of a body that the validator refused, unless it is JSON after all.

    It refuses what JSON allows and Jackson takes: an escaped half of a surrogate pair.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _bad_utf8(body, error) from None
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise errors.InvalidRequestContent(_PREFIX + _jackson(text, error)) from None
    except (ValueError, RecursionError):
        raise errors.InvalidRequestContent(_PREFIX + "Document is not JSON" + _SOURCE.format(1, 1)) from None


def _bad_utf8(body: bytes, error: UnicodeDecodeError) -> errors.InvalidRequestContent:
    byte = body[error.start]
    column = error.start - body.rfind(b"\n", 0, error.start) + 1
    line = body.count(b"\n", 0, error.start) + 1
    if not body[: error.start].strip():
        # Outside of a string Jackson sees a character where a value should begin.
        text = f"Unexpected character ((CTRL-CHAR, code {byte})): expected a valid value {_VALUES}"
        return errors.InvalidRequestContent(_PREFIX + text + _SOURCE.format(line, column - 1))
    return errors.InvalidRequestContent(_PREFIX + f"Invalid UTF-8 start byte 0x{byte:x}" + _SOURCE.format(line, column))


def _jackson(text: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(text):
        detail = "No content to map due to end-of-input" if not text.strip() else "Unexpected end-of-input"
        return detail + _SOURCE.format(error.lineno, error.colno)
    found = text[error.pos]
    if found.isalpha():
        end = error.pos
        while end < len(text) and (text[end].isalnum() or text[end] in "_$"):
            end += 1
        detail = f"Unrecognized token '{text[error.pos : end][:256]}': was expecting {_VALUES}"
        return detail + _SOURCE.format(error.lineno, error.colno + end - error.pos)
    shown = f"'{found}' (code {ord(found)})" if ord(found) >= ord(" ") else f"(CTRL-CHAR, code {ord(found)})"
    detail = f"Unexpected character ({shown}): expected a valid value {_VALUES}"
    return detail + _SOURCE.format(error.lineno, error.colno)
