"""Between HTTP and plain values."""

import datetime as dt
import json

import pytest

from runtime import errors
from runtime.api import shapes


def parse(operation, labels=(), query="", headers=(), body=b""):
    return shapes.parse(operation, dict(labels), query, dict(headers), body)


CREATE = {"FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/r", "Code": {"ZipFile": "emlw"}}


def create(**members):
    return parse("CreateFunction", body=json.dumps({**CREATE, **members}).encode())


def test_a_body():
    request = create(
        Timeout=3, Publish=True, Layers=[], Tags={"a": "b", "gone": None}, Description=None, Unknown=1, MemorySize=128.0
    )
    assert request == {
        **CREATE,
        "Code": {"ZipFile": b"zip"},
        "Timeout": 3,
        "Publish": True,
        "Layers": [],
        "Tags": {"a": "b"},
        "MemorySize": 128,
    }


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bodies_of_every_kind(kind):
    assert parse("CreateFunction", body=kind(json.dumps(CREATE).encode()))["FunctionName"] == "f"


def test_labels_query_and_lists():
    assert parse("ListVersionsByFunction", {"FunctionName": "f"}, "MaxItems=7&Marker=a%2Bb+c") == {
        "FunctionName": "f",
        "MaxItems": 7,
        "Marker": "a+b c",
    }
    assert parse(
        "UntagResource",
        {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f"},
        "tagKeys=a&tagKeys=b",
    )["TagKeys"] == ["a", "b"]


def test_headers():
    assert parse(
        "Invoke", {"FunctionName": "f"}, "Qualifier=%24LATEST", {"x-amz-log-type": "Tail", "host": "h"}, b"not json"
    ) == {"FunctionName": "f", "Qualifier": "$LATEST", "LogType": "Tail", "Payload": b"not json"}


@pytest.mark.parametrize("items", ["x", "1.5", "", "--1", "9" * 30, "\u0661"])
def test_numbers_in_queries(items):
    with pytest.raises(errors.Serialization):
        parse("ListFunctions", query=f"MaxItems={items}")


@pytest.mark.parametrize(
    "members",
    [
        {"Timeout": 1e400},
        {"Timeout": 1.5},
        {"Timeout": True},
        {"Publish": 1},
        {"Tags": []},
        {"Tags": {"a": 1}},
        {"Layers": {}},
        {"Layers": [1]},
        {"Environment": "x"},
        {"Code": {"ZipFile": "no base64!"}},
        {"Code": {"ZipFile": 1}},
    ],
)
def test_values_of_the_wrong_type(members):
    with pytest.raises(errors.Serialization):
        create(**members)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b'{"a": Infinity}', b'{"a": "\\ud800"}'],
)
def test_bodies_that_are_no_object(body):
    with pytest.raises(errors.Serialization):
        parse("CreateFunction", body=body)


def test_missing_members_are_all_named():
    with pytest.raises(errors.Validation) as caught:
        parse("CreateFunction", body=b"{}")
    assert caught.value.message == (
        "3 validation errors detected: Value null at 'functionName' failed to satisfy constraint: Member must not be "
        "null; Value null at 'role' failed to satisfy constraint: Member must not be null; Value null at 'code' failed "
        "to satisfy constraint: Member must not be null"
    )


def test_secrets_are_not_repeated():
    with pytest.raises(errors.Validation) as caught:
        create(Environment={"Variables": {"1": "hunter2"}})
    assert "hunter2" not in caught.value.message
    assert "Value at 'environment.variables' failed to satisfy constraint: Map keys" in caught.value.message


def test_a_very_long_value_is_refused_by_its_length_alone():
    with pytest.raises(errors.Validation) as caught:
        create(Handler=" " * 1_000_000)
    assert caught.value.message.endswith("Member must have length less than or equal to 128")


def test_a_response():
    moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    status, headers, body = shapes.serialise(
        "PutFunctionEventInvokeConfig",
        {"LastModified": moment, "MaximumRetryAttempts": 0, "FunctionArn": None, "Unknown": 1, "DestinationConfig": {}},
    )
    assert status == 200
    assert headers == [("Content-Type", "application/json")]
    assert json.loads(body) == {"LastModified": 1704067200.0, "MaximumRetryAttempts": 0, "DestinationConfig": {}}


def test_responses_without_a_body():
    assert shapes.serialise("DeleteFunction", {}) == (204, [], b"")
    assert shapes.serialise("DeleteAlias", {}) == (204, [], b"")
    assert shapes.serialise("CreateAlias", {})[0] == 201


def test_headers_of_a_response():
    _, headers, _ = shapes.serialise("Invoke", {"ExecutedVersion": "1", "StatusCode": 200})
    assert ("X-Amz-Executed-Version", "1") in headers
