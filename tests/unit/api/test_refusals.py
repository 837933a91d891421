"""The server's own refusals, as a client of the Lambda API sees them."""

import json

import pytest

from runtime.api import refusals

FUNCTIONS = "/2015-03-31/functions"


@pytest.mark.parametrize(
    ("method", "path", "limit", "operation"),
    [
        ("POST", FUNCTIONS, 70167211, "CreateFunction"),
        ("PUT", FUNCTIONS + "/f/code", 70167211, "UpdateFunctionCode"),
        ("POST", FUNCTIONS + "/f/invocations", 6291456, "InvokeFunction"),
        ("POST", FUNCTIONS + "/f/aliases", 6291456, "CreateAlias"),
    ],
)
def test_a_body_that_is_too_long(method, path, limit, operation):
    assert refusals.body_limit(method, path) == limit
    headers, body = refusals.of(413, "too long", method, path)
    assert dict(headers)["x-amzn-ErrorType"] == "RequestEntityTooLargeException"
    message = f"Request must be smaller than {limit} bytes for the {operation} operation"
    assert message in json.loads(body).values()


def test_others():
    headers, body = refusals.of(431, "headers too long", "", "")
    assert dict(headers)["x-amzn-ErrorType"] == "RequestHeaderFieldsTooLargeException"
    assert json.loads(body) == {"message": "headers too long"}
    assert refusals.body_limit("GET", "/nothing") == 6291456
