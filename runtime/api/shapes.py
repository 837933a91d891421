"""Requests and responses between HTTP and plain values, as botocore's service model describes them.

The protocol is rest-json (smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html): members travel in the path, the
query, headers and a JSON body. The model is the one that every AWS SDK is generated from; it is loaded once and its
shapes are built when an operation is first used.
"""

import base64
import binascii
import datetime as dt
import functools
import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import botocore.loaders
from botocore import model as shapes

from runtime import errors
from runtime.api import http, uploads, validation

Headers = list[tuple[str, str]]

_STATUS: Mapping[str, int] = {"DeleteFunction": 204}
"""Where the wire differs from the model."""


@functools.cache
def service() -> shapes.ServiceModel:
    """Return the service model of Lambda."""
    loader = botocore.loaders.Loader(include_default_search_paths=True)
    return shapes.ServiceModel(loader.load_service_model("lambda", "service-2", "2015-03-31"), "lambda")


def parse(
    operation: str,
    labels: Mapping[str, str],
    query: str,
    headers: Mapping[str, str],
    body: http.Body,
    lifted: bytes | None = None,
) -> Any:
    """Return a request's members by name: validated, absent ones absent.

    ``labels`` are the decoded parts of the path, ``headers`` have lower-case names, ``lifted`` is what was taken out
    of the body (see ``uploads``). Raises Serialization where a
    value has the wrong type and Validation where it breaks a constraint.
    """
    shape = service().operation_model(operation).input_shape
    if shape is None:
        return {}
    asked = urllib.parse.parse_qs(query, keep_blank_values=True)
    payload = shape.serialization.get("payload")
    in_body = payload is None and any("location" not in each.serialization for each in shape.members.values())
    document = _document(body) if in_body else {}
    if lifted is not None:
        document = _put_back(document, lifted)
    request: dict[str, Any] = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        key = member.serialization.get("name", name)
        value: Any
        if name == payload:
            value = _whole_body(member, body)
        elif location == "uri":
            value = _read_text(member, labels.get(key))
        elif location == "querystring":
            value = _read_text(member, asked.get(key) if member.type_name == "list" else asked.get(key, [None])[0])
        elif location == "header":
            value = _read_text(member, headers.get(key.lower()))
        else:
            value = _read(member, document.get(key))
        if value is not None:
            request[name] = value
    validation.validate(shape, request)
    return request


def serialise(operation: str, result: Mapping[str, Any]) -> tuple[int, Headers, bytes]:
    """Return (status, headers, body) of a result: members by name, None as good as absent."""
    model = service().operation_model(operation)
    status = _STATUS.get(operation, int(model.http.get("responseCode", 200)))
    headers: Headers = []
    document: dict[str, Any] = {}
    shape = model.output_shape
    for name, member in shape.members.items() if shape is not None else ():
        value = result.get(name)
        if value is None:
            continue
        location = member.serialization.get("location")
        key = member.serialization.get("name", name)
        if location == "header":
            headers.append((key, str(value)))
        elif location is None:
            document[key] = _write(member, value)
    if status == 204:  # noqa: PLR2004 - No Content
        return status, headers, b""
    headers.append(("Content-Type", "application/json"))
    return status, headers, json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _whole_body(shape: shapes.Shape, body: http.Body) -> Any:
    """Return a body that is one member: raw bytes, or a document."""
    if not body:
        return None
    return bytes(body) if shape.type_name == "blob" else _read(shape, _document(body))


def _put_back(document: Mapping[str, Any], lifted: bytes) -> dict[str, Any]:
    """Return a document, or one in it, with its blob again."""

    def put(value: Any) -> Any:
        return lifted if value == uploads.PLACEHOLDER else value

    return {
        key: {name: put(inner) for name, inner in value.items()} if isinstance(value, dict) else put(value)
        for key, value in document.items()
    }


def _document(body: http.Body) -> Mapping[str, Any]:
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


def _read(shape: shapes.Shape, value: Any) -> Any:
    """Return a value of the JSON body as its shape has it."""
    if value is None:
        return None
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return _read_structure(shape, value)
    if kind == "map" and isinstance(value, dict):
        return {key: _read(shape.value, element) for key, element in value.items() if element is not None}
    if kind == "list" and isinstance(value, list):
        return [_read(shape.member, element) for element in value if element is not None]
    reader = _READERS.get((kind, type(value)))
    if reader is None:
        raise _unfit(value, shape)
    return reader(value)


def _read_structure(shape: shapes.StructureShape, value: Mapping[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, member in shape.members.items():
        element = value.get(member.serialization.get("name", name))
        if element is not None:
            read[name] = _read(member, element)
    return read


def _read_text(shape: shapes.Shape, value: Any) -> Any:
    """Return a value of the path, the query or a header as its shape has it."""
    kind = shape.type_name
    if value is None:
        return None
    if kind == "list":
        return [_read_text(shape.member, element) for element in value]
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


def _write(shape: shapes.Shape, value: Any) -> Any:
    """Return a value as JSON has it."""
    kind = shape.type_name
    if kind == "structure":
        written: dict[str, Any] = {}
        for name, member in shape.members.items():
            element = value.get(name)
            if element is not None:
                written[member.serialization.get("name", name)] = _write(member, element)
        return written
    if kind == "map":
        return {key: _write(shape.value, element) for key, element in value.items()}
    if kind == "list":
        sequence: Sequence[Any] = value
        return [_write(shape.member, element) for element in sequence]
    if kind == "timestamp" and isinstance(value, dt.datetime):
        return round(value.timestamp(), 3)
    if kind == "blob":
        return base64.b64encode(value).decode()
    return value
