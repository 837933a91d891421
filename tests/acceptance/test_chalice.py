"""Chalice deploys, calls, deploys again and deletes: Lambda is hotfork, all other services are moto.

There are no routes in the application: moto cannot import their description as Chalice writes it.

Chalice is not among the development dependencies, because it wants an older pip: make a virtual environment for it, and
name its program in CHALICE or have it on PATH.
"""

import json
import os
import re
import shutil
import subprocess

import moto_server
import pytest
from conftest import Server

CHALICE = os.environ.get("CHALICE") or shutil.which("chalice")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHALICE is None, reason="chalice is not installed: see the top of this file"),
]

MOTO_ACCOUNT = "123456789012"

APP = """
import importlib.util, os
from chalice import Chalice, Rate

app = Chalice(app_name="demo")

@app.lambda_function(name="hello")
def hello(event, context):
    shared = importlib.import_module("shared").WHERE if importlib.util.find_spec("shared") else None
    return {"hello": event["name"], "text": TEXT, "stage": os.environ["STAGE"], "shared": shared}

@app.schedule(Rate(1, unit=Rate.HOURS))
def hourly(event):
    return None

@app.on_s3_event(bucket="uploads", events=["s3:ObjectCreated:*"])
def uploaded(event):
    return None

@app.on_sns_message(topic="news")
def told(event):
    return None
"""


@pytest.fixture
def world(tmp_path):
    """A project, and a function that runs chalice on it; yields it with the client of the Lambda it deploys to."""
    server = Server(tmp_path / "state", env={"HOTFORK_ACCOUNT_ID": MOTO_ACCOUNT}).start()
    try:
        with moto_server.running() as moto:
            environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HOTFORK_"))}
            environ |= {
                "AWS_ENDPOINT_URL": moto,
                "AWS_ENDPOINT_URL_LAMBDA": server.url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
                "HOME": str(tmp_path),
            }
            moto_server.client(moto, "s3").create_bucket(Bucket="uploads")
            moto_server.client(moto, "sns").create_topic(Name="news")
            project = tmp_path / "demo"
            (project / ".chalice").mkdir(parents=True)
            (project / "requirements.txt").write_text("")

            def chalice(*arguments, stdin=None):
                done = subprocess.run(
                    [CHALICE, *arguments],
                    cwd=project,
                    env=environ,
                    input=stdin,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=100,
                )
                assert done.returncode == 0, done.stdout + done.stderr
                return done.stdout

            yield project, chalice, server.client()
    finally:
        assert server.stop() == 0


def write(project, text, stage, **more):
    (project / "app.py").write_text(f"TEXT = {text!r}\n{APP}")
    settings = {"api_gateway_stage": "api", "environment_variables": {"STAGE": stage}, **more}
    config = {"version": "2.0", "app_name": "demo", "stages": {"dev": settings}}
    (project / ".chalice/config.json").write_text(json.dumps(config))


def names(client):
    return sorted(function["FunctionName"] for function in client.list_functions()["Functions"])


def test_deploy_and_delete(world):
    project, chalice, client = world
    write(project, "first", "one", tags={"team": "a"})
    said = chalice("deploy")
    assert re.search(r"Lambda ARN: arn:aws:lambda:us-east-1:\d+:function:demo-dev-hello\b", said)
    assert names(client) == ["demo-dev-hello", "demo-dev-hourly", "demo-dev-told", "demo-dev-uploaded"]
    answer = json.loads(chalice("invoke", "-n", "hello", stdin='{"name": "x"}'))
    assert answer == {"hello": "x", "text": "first", "stage": "one", "shared": None}
    for name, service in (("hourly", "events"), ("uploaded", "s3"), ("told", "sns")):
        statements = json.loads(client.get_policy(FunctionName=f"demo-dev-{name}")["Policy"])["Statement"]
        assert [statement["Principal"] for statement in statements] == [{"Service": f"{service}.amazonaws.com"}]

    write(project, "second", "two", tags={"owner": "b"}, reserved_concurrency=3, lambda_memory_size=256)
    chalice("deploy")
    answer = json.loads(chalice("invoke", "-n", "hello", stdin='{"name": "y"}'))
    assert answer == {"hello": "y", "text": "second", "stage": "two", "shared": None}
    function = client.get_function(FunctionName="demo-dev-hello")
    assert function["Configuration"]["MemorySize"] == 256
    assert function["Concurrency"] == {"ReservedConcurrentExecutions": 3}
    assert function["Tags"]["owner"] == "b"
    assert "team" not in function["Tags"]

    (project / "vendor").mkdir()
    (project / "vendor/shared.py").write_text("WHERE = __file__\n")
    write(project, "third", "three", automatic_layer=True)
    chalice("deploy")
    answer = json.loads(chalice("invoke", "-n", "hello", stdin='{"name": "z"}'))
    assert answer["text"] == "third"
    assert answer["shared"].startswith("/opt/python/")
    assert "Concurrency" not in client.get_function(FunctionName="demo-dev-hello")
    assert client.list_layers()["Layers"]

    chalice("delete")
    assert names(client) == []
    assert client.list_layers()["Layers"] == []
