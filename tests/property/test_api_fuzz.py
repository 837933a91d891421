"""Whatever a client sends, the control plane answers: never a 500, never a hang, always JSON with AWS's headers."""

import asyncio
import json
import tempfile
import urllib.parse
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from runtime import model
from runtime.api import context, control, shapes
from runtime.registry import code, names, registry, store

OPERATIONS = sorted(control.HANDLERS)
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
ROLE = "arn:aws:iam::000000000000:role/r"
# Values that get past the first checks, beside any that do not.
USEFUL = [
    "f",
    "f:1",
    ARN,
    ARN + ":live",
    "1",
    "2",
    "$LATEST",
    "live",
    "python3.11",
    ROLE,
    "app.handler",
    "UEsFBg==",
    "*",
    "ALL",
]
USEFUL += [
    "x86_64",
    "s3.amazonaws.com",
    "lambda:InvokeFunction",
    "000000000000",
    "tools",
    "Zip",
    "JSON",
    "Auto",
    "Allow",
]
USEFUL += [
    "arn:aws:lambda:us-east-1:000000000000:layer:tools:1",
    "arn:aws:sqs:us-east-1:000000000000:q",
    "",
    "\x00",
    "ü",
]
TEXTS = st.sampled_from(USEFUL) | st.text(max_size=20)
NUMBERS = st.sampled_from([0, 1, 2, 3, 128, 900, -1, 2**31, 10**30]) | st.integers() | st.floats()


LIKELY = {
    "FunctionName": ["f", "f", "f:live", "f:1", ARN, "g"],
    "Qualifier": ["1", "live", "$LATEST"],
    "FunctionVersion": ["1", "2", "$LATEST"],
    "Name": ["live", "next"],
    "LayerName": ["tools"],
    "VersionNumber": ["1", "2"],
    "Resource": [ARN],
    "Role": [ROLE],
    "Runtime": ["python3.11"],
    "StatementId": ["s1", "s2"],
    "Principal": ["*", "s3.amazonaws.com"],
    "Action": ["lambda:InvokeFunction", "lambda:GetLayerVersion"],
    "ZipFile": ["UEsFBg==", "UEsFBh=="],
    "Timeout": [3, 4],
    "Layers": [["arn:aws:lambda:us-east-1:000000000000:layer:tools:1"], []],
    "Code": [{"ZipFile": "UEsFBg=="}],
    "Content": [{"ZipFile": "UEsFBg=="}],
    "MaximumRetryAttempts": [0, 2],
    "ReservedConcurrentExecutions": [0, 5],
    "ProvisionedConcurrentExecutions": [1, 3],
    "tagKeys": ["a"],
    "Tags": [{"a": "b"}],
    "RoutingConfig": [{"AdditionalVersionWeights": {"2": 0.5}}, {}],
}
"""Values with which requests come far, by member."""


def member_values(name, other):
    """Return a strategy of a member's values: mostly likely ones."""
    likely = LIKELY.get(name)
    return other if likely is None else st.integers(0, 9).flatmap(lambda n: st.sampled_from(likely) if n else other)


def values(shape, depth=0):
    """Return a strategy of JSON values, mostly of a shape."""
    kind = shape.type_name
    if kind == "structure" and depth < 4:
        members = {name: member_values(name, values(member, depth + 1)) for name, member in shape.members.items()}
        right = st.fixed_dictionaries({}, optional=members)
    elif kind == "list" and depth < 4:
        right = st.lists(values(shape.member, depth + 1), max_size=3)
    elif kind == "map":
        right = st.dictionaries(TEXTS, values(shape.value, depth + 1), max_size=3)
    elif kind == "boolean":
        right = st.booleans()
    elif kind in {"integer", "long", "float", "double", "timestamp"}:
        right = NUMBERS
    else:
        right = st.sampled_from(shape.metadata["enum"]) if shape.metadata.get("enum") else TEXTS
    wrong = st.none() | st.booleans() | NUMBERS | TEXTS | st.just([]) | st.just({}) | st.just([None])
    return right if depth else st.one_of(right, right, right, wrong)


@st.composite
def requests(draw):
    operation = draw(st.sampled_from(OPERATIONS))
    model = shapes.service().operation_model(operation)
    path, _, query = model.http["requestUri"].partition("?")
    members = model.input_shape.members if model.input_shape else {}
    parts, body = ([query] if query else []), {}
    for name, member in members.items():
        location = member.serialization.get("location")
        key = member.serialization.get("name", name)
        if location == "uri":
            path = path.replace("{" + key + "}", urllib.parse.quote(str(draw(member_values(key, TEXTS))), safe=":$"))
        elif name in model.input_shape.metadata.get("required", ()) or draw(st.integers(0, 3)) == 0:
            if location == "querystring":
                parts.append(f"{key}={urllib.parse.quote(str(draw(member_values(key, TEXTS | NUMBERS))))}")
            elif location is None:
                body[key] = draw(member_values(name, values(member)))
    return model.http["method"], path, "&".join(parts), json.dumps(body).encode()


async def no_unpacking(zip_path, destination, limit):
    return 1


async def prepare(api):
    create = {
        "FunctionName": "f",
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "a.b",
        "Code": {"ZipFile": "UEsFBg=="},
        "Publish": True,
    }
    alias = {"Name": "live", "FunctionVersion": "1"}
    functions = "/2015-03-31/functions"
    for path, body in [
        (functions, create),
        (f"{functions}/f/aliases", alias),
        ("/2018-10-31/layers/tools/versions", {"Content": {"ZipFile": "UEsFBg=="}}),
    ]:
        status, _, answer = await api.handle("POST", path, "", {}, json.dumps(body).encode())
        assert status == 201, answer


@hypothesis.settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
@hypothesis.given(st.lists(requests(), min_size=1, max_size=12))
def test_every_request_is_answered(sequence):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(answer(Path(folder), sequence))


async def answer(folder, sequence):
    book = registry.Registry(store.MemoryStore(), code.CodeStore(folder, no_unpacking), names.Site())
    api = control.Api(
        book, context.Options(interpreters=["python3.11"], provisioned=lambda *_: model.Allocation(ready=1))
    )
    await prepare(api)
    for request in sequence:
        async with asyncio.timeout(20):
            status, headers, body = await api.handle(*request[:3], {"host": "h"}, request[3])
        hypothesis.event(f"status {status // 100}xx")
        assert status != 500, request
        given = dict(headers)
        assert "x-amzn-RequestId" in given
        if status >= 400:
            assert given["x-amzn-ErrorType"]
            document = json.loads(body)
            assert "message" in document or "Message" in document
        elif status != 204:
            assert isinstance(json.loads(body), dict)


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "", "get"]),
    st.text(max_size=60).map(lambda text: "/" + text) | st.just("/2015-03-31/functions"),
    st.text(max_size=40),
    st.binary(max_size=60),
)
def test_noise_is_answered(method, path, query, body):
    async def send():
        with tempfile.TemporaryDirectory() as folder:
            book = registry.Registry(store.MemoryStore(), code.CodeStore(Path(folder), no_unpacking), names.Site())
            return await control.Api(book, context.Options()).handle(method, path, query, {}, body)

    status, _, _ = asyncio.run(send())
    assert status in {200, 400, 404}
