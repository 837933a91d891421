"""What AWS sends about an event that ended, to the byte. Pure.

Invocation records: docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html; which keys are there when
is as recorded from AWS. Payloads are put in as they are, without being parsed.
"""

import datetime as dt
import json
import uuid
from typing import Any

import msgspec

from runtime.invoke import endings, retry

_JSON = msgspec.json.Decoder(msgspec.Raw)


def invocation_record(ending: endings.Ending, payload: bytes) -> bytes:
    """Return the record that destinations get; ``payload`` is the event's."""
    head = {
        "version": "1.0",
        "timestamp": timestamp(ending.ended),
        "requestContext": {
            "requestId": ending.about.request_id,
            "functionArn": ending.function_arn,
            "condition": ending.condition.value,
            "approximateInvokeCount": ending.invoke_count,
        },
    }
    parts = [_dumps(head)[:-1], b',"requestPayload":', _embedded(payload)]
    if ending.executed_version is not None:
        context: dict[str, Any] = {"statusCode": ending.status, "executedVersion": ending.executed_version}
        if ending.failed:
            context["functionError"] = "Unhandled"
        parts += [b',"responseContext":', _dumps(context)]
        if ending.response is not None:
            parts += [b',"responsePayload":', _embedded(ending.response)]
    return b"".join((*parts, b"}"))


def queue_attributes(ending: endings.Ending) -> dict[str, dict[str, str]]:
    """Return the message attributes that a dead-letter queue gets beside the event itself."""
    return {
        "RequestID": {"DataType": "String", "StringValue": ending.about.request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": str(ending.status)},
        # An attribute must not be empty.
        "ErrorMessage": {"DataType": "String", "StringValue": ending.error_message or ending.condition.value},
    }


def bus_entry(ending: endings.Ending, payload: bytes, bus: str) -> dict[str, Any]:
    """Return the entry for EventBridge's PutEvents."""
    result = "Success" if ending.condition is retry.Condition.SUCCESS else "Failure"
    return {
        "EventBusName": bus,
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {result}",
        "Resources": [bus, ending.function_arn],
        "Detail": invocation_record(ending, payload).decode(),
        "Time": dt.datetime.fromtimestamp(ending.ended, dt.UTC),
    }


def object_key(ending: endings.Ending, unique: uuid.UUID) -> str:
    """Return the key under which S3 gets a record."""
    moment = dt.datetime.fromtimestamp(ending.ended, dt.UTC)
    return f"aws/lambda/async/{ending.function}/{moment:%Y/%m/%d}/{moment:%Y-%m-%dT%H.%M.%S}-{unique}"


def timestamp(seconds: float) -> str:
    """Return a time as records show it."""
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _embedded(payload: bytes) -> bytes:
    """Return a payload as a JSON value: itself, or, of a function that returned something else, a string."""
    try:
        _JSON.decode(payload)
        payload.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            json.loads(payload, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return json.dumps(payload.decode(errors="replace")).encode()
    return payload


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _dumps(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
