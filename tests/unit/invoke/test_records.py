"""What is sent about events that ended, beside what AWS was recorded to send."""

import dataclasses
import datetime as dt
import json
import uuid

import pytest

from runtime.invoke import endings, retry
from runtime.invoke.destinations import record

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST"
ENDED = dt.datetime(2024, 3, 21, 12, 26, 48, 123_456, dt.UTC).timestamp()
FAILED = endings.Ending(
    function="f",
    function_arn=ARN,
    about=endings.About(request_id="the-id", trace_id="Root=1"),
    condition=retry.Condition.RETRIES_EXHAUSTED,
    accepted=ENDED - 200,
    ended=ENDED,
    invoke_count=3,
    executed_version="$LATEST",
    response=b'{"errorMessage":"intentional failure","errorType":"Exception"}',
    failed=True,
    error_type="Exception",
    error_message="intentional failure",
)


def test_the_record_of_a_failure():
    text = record.invocation_record(FAILED, b'{"message": "1"}').decode()
    assert text == (
        '{"version":"1.0","timestamp":"2024-03-21T12:26:48.123Z","requestContext":{"requestId":"the-id",'
        f'"functionArn":"{ARN}","condition":"RetriesExhausted","approximateInvokeCount":3}},'
        '"requestPayload":{"message": "1"},"responseContext":{"statusCode":200,"executedVersion":"$LATEST",'
        '"functionError":"Unhandled"},"responsePayload":{"errorMessage":"intentional failure","errorType":"Exception"}}'
    )


def test_the_record_of_a_success_names_no_error():
    done = dataclasses.replace(
        FAILED, condition=retry.Condition.SUCCESS, failed=False, response=b"null", invoke_count=1
    )
    document = json.loads(record.invocation_record(done, b"{}"))
    assert document["requestContext"]["condition"] == "Success"
    assert document["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert document["responsePayload"] is None


def test_a_function_that_was_not_run_gave_no_response():
    never = dataclasses.replace(
        FAILED,
        condition=retry.Condition.ZERO_RESERVED_CONCURRENCY,
        executed_version=None,
        response=None,
        failed=False,
        invoke_count=0,
    )
    document = json.loads(record.invocation_record(never, b"{}"))
    assert list(document) == ["version", "timestamp", "requestContext", "requestPayload"]
    assert document["requestContext"]["approximateInvokeCount"] == 0


@pytest.mark.parametrize(
    ("response", "shown"),
    [
        (b'"\\ud800"', "\ud800"),
        (b"not json", "not json"),
        (b"NaN", "NaN"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'"\xff"', '"\ufffd"'),
        (b"[" * 100_000, "[" * 100_000),
        (b"", ""),
    ],
)
def test_whatever_a_function_returns_the_record_is_json(response, shown):
    ending = dataclasses.replace(FAILED, response=response)
    assert json.loads(record.invocation_record(ending, b"{}"))["responsePayload"] == shown


def test_the_attributes_of_a_dead_letter_message():
    assert record.queue_attributes(FAILED) == {
        "RequestID": {"DataType": "String", "StringValue": "the-id"},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "intentional failure"},
    }
    silent = record.queue_attributes(dataclasses.replace(FAILED, error_message="", status=429))
    assert silent["ErrorMessage"]["StringValue"] == "RetriesExhausted"
    assert silent["ErrorCode"]["StringValue"] == "429"


@pytest.mark.parametrize(("condition", "result"), [("Success", "Success"), ("EventAgeExceeded", "Failure")])
def test_the_entry_for_a_bus(condition, result):
    bus = "arn:aws:events:us-east-1:000000000000:event-bus/b"
    ending = dataclasses.replace(FAILED, condition=retry.Condition(condition))
    entry = record.bus_entry(ending, b"{}", bus)
    assert entry["Source"] == "lambda"
    assert entry["DetailType"] == f"Lambda Function Invocation Result - {result}"
    assert entry["Resources"] == [bus, ARN]
    assert entry["EventBusName"] == bus
    assert json.loads(entry["Detail"])["requestContext"]["condition"] == condition


def test_the_key_of_an_object():
    unique = uuid.UUID("12345678-1234-5678-1234-567812345678")
    key = record.object_key(FAILED, unique)
    assert key == f"aws/lambda/async/f/2024/03/21/2024-03-21T12.26.48-{unique}"


def test_endings_and_what_is_known_of_events_survive_being_kept():
    about = endings.About(
        request_id="r",
        qualifier="live",
        trace_id=None,
        client_context=b"{}",
        tenant_id="t",
        tries=(endings.Try(at=1.5, duration_s=0.25, error_type="E", message="m"),),
        log_tail=b"\xff\x00log",
    )
    assert endings.About.decode(about.encode()) == about
    ending = dataclasses.replace(FAILED, about=about).to("arn:aws:sqs:us-east-1:0:q", queue=True).left("no such queue")
    assert endings.Ending.decode(ending.encode()) == ending


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"errorMessage": "m", "other": [1, {}]}', "m"),
        (b'{"errorMessage": 5}', "5"),
        (b'{"errorMessage": null}', "null"),
        (b"{}", ""),
        (b"[]", ""),
        (b"no json", ""),
        (b'{"errorMessage": "' + b"x" * 5000 + b'"}', "x" * 1024),
        (b'{"errorMessage": "' + b"x" * 500_000 + b'"}', ""),
    ],
)
def test_the_message_of_an_error_document_that_may_hold_anything(document, message):
    assert endings.message_of(document) == message
