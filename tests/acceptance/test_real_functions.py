"""Functions as people write them, run through AWS's own client."""

import base64
import importlib.util
import io
import json
from pathlib import Path

import PIL.Image
import pytest
import vendored
from conftest import create

BENCH = Path(__file__).parents[2] / "bench" / "functions"


def call(client, name, event=None):
    """Return the decoded result of a call that must succeed."""
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event if event is not None else {}))
    payload = answer["Payload"].read()
    assert "FunctionError" not in answer, payload
    return json.loads(payload)


HTTP_EVENT = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/users/7",
    "rawQueryString": "verbose=1",
    "headers": {"accept": "application/json", "host": "abc.lambda-url.us-east-1.on.aws"},
    "queryStringParameters": {"verbose": "1"},
    "requestContext": {
        "accountId": "anonymous",
        "apiId": "abc",
        "domainName": "abc.lambda-url.us-east-1.on.aws",
        "domainPrefix": "abc",
        "http": {
            "method": "GET",
            "path": "/users/7",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "test",
        },
        "requestId": "id",
        "routeKey": "$default",
        "stage": "$default",
        "time": "12/Mar/2020:19:03:58 +0000",
        "timeEpoch": 1583348638390,
    },
    "isBase64Encoded": False,
}

POWERTOOLS = """
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger(service="users")
metrics = Metrics(namespace="Test", service="users")
app = APIGatewayHttpResolver()


@app.get("/users/<number>")
def user(number: str):
    metrics.add_metric(name="Seen", unit=MetricUnit.Count, value=1)
    logger.info("looked up", number=number)
    return {"number": number, "verbose": app.current_event.query_string_parameters.get("verbose")}


@logger.inject_lambda_context
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event, context):
    return app.resolve(event, context)
"""


def test_powertools_routes_logs_and_measures(client):
    files = vendored.distribution("aws-lambda-powertools", "jmespath", "typing_extensions")
    create(
        client,
        "powertools",
        {**files, "handler.py": POWERTOOLS},
        MemorySize=256,
        Timeout=20,
        Environment={"Variables": {"POWERTOOLS_LOG_LEVEL": "INFO"}},
    )
    answer = client.invoke(FunctionName="powertools", Payload=json.dumps(HTTP_EVENT), LogType="Tail")
    result = json.load(answer["Payload"])
    assert result["statusCode"] == 200
    assert json.loads(result["body"]) == {"number": "7", "verbose": "1"}
    log = base64.b64decode(answer["LogResult"]).decode()
    records = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    looked_up = next(record for record in records if record.get("message") == "looked up")
    assert (looked_up["number"], looked_up["function_name"], looked_up["function_memory_size"]) == (
        "7",
        "powertools",
        "256",
    )
    assert looked_up["function_request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert any("Seen" in record for record in records)
    assert any("ColdStart" in record for record in records)


THUMBNAIL = """
import base64, io
from PIL import Image

def handler(event, context):
    image = Image.open(io.BytesIO(base64.b64decode(event["image"])))
    image.thumbnail((event["size"], event["size"]))
    path = "/tmp/thumbnail.png"
    image.save(path)
    with open(path, "rb") as file:
        return {"image": base64.b64encode(file.read()).decode(), "size": image.size}
"""


def test_a_thumbnail_with_vendored_pillow(client):
    picture = PIL.Image.radial_gradient("L").resize((800, 400)).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    create(
        client,
        "thumbnail",
        {**vendored.distribution("pillow"), "handler.py": THUMBNAIL},
        MemorySize=512,
        Timeout=20,
    )
    result = call(client, "thumbnail", {"image": base64.b64encode(buffer.getvalue()).decode(), "size": 64})
    assert result["size"] == [64, 32]
    thumbnail = PIL.Image.open(io.BytesIO(base64.b64decode(result["image"])))
    assert thumbnail.size == (64, 32)
    expected = picture.resize((64, 32))
    difference = sum(abs(a - b) for a, b in zip(thumbnail.tobytes(), expected.tobytes(), strict=True)) / (64 * 32 * 3)
    assert difference < 8


NUMPY = """
import numpy as np

def handler(event, context):
    matrix = np.array(event["matrix"], dtype=float)
    return {"inverse": np.linalg.inv(matrix).tolist(), "version": np.__version__}
"""


def test_numpy(client):
    create(
        client,
        "numpy",
        {**vendored.distribution("numpy"), "handler.py": NUMPY},
        MemorySize=512,
        Timeout=30,
    )
    result = call(client, "numpy", {"matrix": [[2, 0], [0, 4]]})
    assert result["inverse"] == [[0.5, 0.0], [0.0, 0.25]]


def test_boto3_is_there_without_being_vendored(client):
    create(
        client,
        "sdk",
        "import boto3, simplejson, six, dateutil, urllib3, jmespath, s3transfer\n"
        "def handler(event, context):\n"
        "    return [boto3.__file__, boto3.client('s3', region_name='us-east-1').meta.service_model.service_name]\n",
        MemorySize=256,
        Timeout=30,
    )
    assert call(client, "sdk") == ["/var/runtime/boto3/__init__.py", "s3"]


def _here(name, event):
    """Return what a benchmark function gives when it is called without any server."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / name / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return json.loads(json.dumps(module.handler(event, None)))


@pytest.mark.parametrize("name", sorted(path.parent.name for path in BENCH.glob("*/handler.py")))
def test_the_benchmark_functions_give_what_they_give_without_a_server(client, name):
    folder = BENCH / name
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    create(client, f"bench-{name}", files, MemorySize=512, Timeout=60)
    event = {"seconds": 0.01}
    result, expected = call(client, f"bench-{name}", event), _here(name, event)
    if name == "sleep":
        assert result["slept_s"] >= 0.01
    else:
        assert result == expected
