"""Taking the zip out of a large request."""

import base64
import json
import os

import pytest

from runtime import errors
from runtime.api import shapes, uploads

ZIP = os.urandom(uploads.LARGE * 3 + 1)
TEXT = base64.b64encode(ZIP).decode()
CREATE = {"FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/r", "Code": {"ZipFile": TEXT}, "Timeout": 7}


async def parse(operation, body, labels=()):
    rest, lifted = await uploads.lift(body)
    return shapes.parse(operation, dict(labels), "", {}, rest, lifted), lifted


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", "\t: ")])
async def test_a_zip_is_lifted(kind, separators):
    request, lifted = await parse("CreateFunction", kind(json.dumps(CREATE, separators=separators).encode()))
    assert lifted == ZIP
    assert request == {**CREATE, "Code": {"ZipFile": ZIP}}


async def test_at_the_top_and_in_a_layer():
    request, _ = await parse("UpdateFunctionCode", json.dumps({"ZipFile": TEXT}).encode(), {"FunctionName": "f"})
    assert request["ZipFile"] == ZIP
    layer = {"Content": {"ZipFile": TEXT}, "Description": '"ZipFile":"x"'}
    request, lifted = await parse("PublishLayerVersion", json.dumps(layer).encode(), {"LayerName": "l"})
    assert request["Content"]["ZipFile"] == lifted == ZIP
    assert request["Description"] == '"ZipFile":"x"'


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(CREATE).replace("/", "\\/").encode(),
        json.dumps({**CREATE, "Description": TEXT[: uploads.LARGE]}).replace('"ZipFile"', '"zipFile"').encode(),
        json.dumps({"ZipFile": "emlw", **CREATE}).encode(),
        json.dumps({**CREATE, "Layers": [{"ZipFile": "emlw"}]}).encode(),
        json.dumps(CREATE).encode()[: uploads.LARGE + 1000],
        json.dumps({"FunctionName": "f", "Code": {"ZipFile": "emlw"}}).encode(),
    ],
    ids=["escaped", "another key", "twice, first small", "twice, second small", "cut off", "small"],
)
async def test_what_is_unusual_is_left_to_the_parser(body):
    rest, lifted = await uploads.lift(body)
    assert lifted is None
    assert rest is body


async def test_no_base64():
    with pytest.raises(errors.Serialization):
        await uploads.lift(json.dumps({"ZipFile": TEXT[:-8] + "????" + TEXT[-4:]}).encode())
    with pytest.raises(errors.Serialization):
        await uploads.lift(json.dumps({"ZipFile": TEXT[:400] + "====" + TEXT[404:]}).encode())


async def test_the_placeholder_is_no_way_in():
    plain = {**CREATE, "Code": {"ZipFile": uploads.PLACEHOLDER}}
    with pytest.raises(errors.Serialization):
        await parse("CreateFunction", json.dumps(plain).encode())
    with pytest.raises(errors.Serialization):
        await parse("CreateFunction", json.dumps({**CREATE, "Description": uploads.PLACEHOLDER}).encode())
