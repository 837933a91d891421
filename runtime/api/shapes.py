"""Requests and responses between HTTP and plain values, as botocore's service model describes them.

The protocol is rest-json (smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html): members travel in the path, the
query, headers and a JSON body. The model is the one that every AWS SDK is generated from; it is loaded once and its
shapes are built when an operation is first used.
"""

import base64
import datetime as dt
import functools
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import botocore.loaders
from botocore import model as shapes

from runtime.api import http, validation, values

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
    document = values.document_of(body) if in_body else {}
    if lifted is not None:
        document = values.put_back(document, lifted)
    request: dict[str, Any] = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        key = member.serialization.get("name", name)
        value: Any
        if name == payload:
            value = values.whole_body(member, body)
        elif location == "uri":
            value = values.text(member, labels.get(key))
        elif location == "querystring":
            value = values.text(member, asked.get(key) if member.type_name == "list" else asked.get(key, [None])[0])
        elif location == "header":
            value = values.text(member, headers.get(key.lower()))
        else:
            value = values.member(member, document.get(key))
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
