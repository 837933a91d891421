"""Values of requests: from JSON, paths, queries and headers to what their shapes say. Pure.

Raises Serialization, with AWS's words, where a value has the wrong type.
"""

import binascii
import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore import model as shapes

from runtime import errors
from runtime.api import http, uploads


def whole_body(shape: shapes.Shape, body: http.Body) -> Any:
    """Return a body that is one member: raw bytes, or a document."""
    if not body:
        return None
    return bytes(body) if shape.type_name == "blob" else member(shape, document_of(body))


def put_back(document: Mapping[str, Any], lifted: bytes) -> dict[str, Any]:
    """Return a document, or one in it, with its blob again."""

    def put(value: Any) -> Any:
        return lifted if value == uploads.PLACEHOLDER else value

    return {
        key: {name: put(inner) for name, inner in value.items()} if isinstance(value, dict) else put(value)
        for key, value in document.items()
    }


def document_of(body: http.Body) -> Mapping[str, Any]:
    """Return the object in a body; an empty body is an empty object."""
    if not body:
        return {}
    try:
        # json takes no memoryview.
        document = json.loads(bytes(body) if isinstance(body, memoryview) else body, parse_constant=_no_constant)
        # Half a surrogate pair is JSON, but no text: it could be neither kept nor answered.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise errors.Serialization("Could not parse request body into json") from None
    if not isinstance(document, dict):
        raise errors.Serialization("Start of structure or map expected at the top of the request body")
    return document


def _no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's parser takes for JSON."""
    raise ValueError(name)


_KINDS = {"string": "String", "integer": "Integer", "long": "Long", "float": "Float", "double": "Double"}
_KINDS |= {"boolean": "Boolean", "blob": "Blob", "timestamp": "Date"}


def _unfit(value: object, shape: shapes.Shape) -> errors.Serialization:
    """Return AWS's error for a value of the wrong type."""
    if isinstance(value, dict):
        return errors.Serialization("Start of structure or map found where not expected.")
    if isinstance(value, list):
        return errors.Serialization("Start of list found where not expected")
    if shape.type_name in {"structure", "map", "list"}:
        return errors.Serialization("Unexpected field type")
    if isinstance(value, bool):
        given = "TRUE_VALUE" if value else "FALSE_VALUE"
    elif isinstance(value, int):
        given = "NUMBER_VALUE"
    else:
        given = "DECIMAL_VALUE" if isinstance(value, float) else "STRING_VALUE"
    kind = _KINDS[shape.type_name]
    article = "an" if kind[0] in "AEIOU" else "a"
    return errors.Serialization(f"{given} can not be converted to {article} {kind}")


def member(shape: shapes.Shape, value: Any) -> Any:
    """Return a value of the JSON body as its shape has it."""
    if value is None:
        return None
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return _structure(shape, value)
    if kind == "map" and isinstance(value, dict):
        return {key: member(shape.value, element) for key, element in value.items() if element is not None}
    if kind == "list" and isinstance(value, list):
        return [member(shape.member, element) for element in value if element is not None]
    reader = _READERS.get((kind, type(value)))
    if reader is None:
        raise _unfit(value, shape)
    return reader(value)


def _structure(shape: shapes.StructureShape, value: Mapping[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, inner in shape.members.items():
        element = value.get(inner.serialization.get("name", name))
        if element is not None:
            read[name] = member(inner, element)
    return read


def text(shape: shapes.Shape, value: Any) -> Any:
    """Return a value of the path, the query or a header as its shape has it."""
    kind = shape.type_name
    if value is None:
        return None
    if kind == "list":
        return [text(shape.member, element) for element in value]
    if kind in {"integer", "long"}:
        digits = value.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or len(digits) > _DIGITS:
            raise _unfit(value, shape)
        return int(value)
    if kind == "boolean":
        return value.lower() == "true"
    if kind == "timestamp":
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            raise _unfit(value, shape) from None
    return value


_DIGITS = 18
"""Of a number in a query: what fits a long."""


def _whole(value: float) -> int:
    if not value.is_integer():
        raise errors.Serialization("DECIMAL_VALUE can not be converted to an Integer")
    return int(value)


def _blob(value: str) -> bytes:
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        raise errors.Serialization("Invalid base64 data") from None


def _moment(value: float) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(value, dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise errors.Serialization("Invalid timestamp") from None


_READERS: Mapping[tuple[str, type], Callable[[Any], Any]] = {
    ("boolean", bool): bool,
    ("integer", int): int,
    ("integer", float): _whole,
    ("long", int): int,
    ("long", float): _whole,
    ("float", int): float,
    ("float", float): float,
    ("double", int): float,
    ("double", float): float,
    ("string", str): str,
    ("blob", str): _blob,
    ("blob", bytes): bytes,
    ("timestamp", int): _moment,
    ("timestamp", float): _moment,
}
"""By the shape's type and the type of the JSON value."""
