"""The zygote that has imported the SDK, as a user meets it."""

import json
import subprocess

from conftest import HOTFORK, create, until
from vendored import distribution

USES = """
import boto3, sys
def handler(event, context):
    return [type(one).__name__ for one in sys.meta_path], boto3.__file__
"""


def described(server, name, *options):
    command = [str(HOTFORK), "describe", name, "--url", server.url, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def starts(server, name):
    return json.loads(described(server, name, "--output", "json"))["Starts"]


def invoked(client, name):
    return json.load(client.invoke(FunctionName=name)["Payload"])


def test_a_function_that_uses_boto3_gets_it_imported(server, client):
    create(client, "uses-boto3", USES, MemorySize=256, Timeout=10)
    until(lambda: starts(server, "uses-boto3")["Reason"] == "handler.py names boto3")
    assert starts(server, "uses-boto3")["Zygote"].endswith("+sdk")
    finders, file = invoked(client, "uses-boto3")
    assert "Preloaded" in finders
    assert file == "/var/runtime/boto3/__init__.py"
    shown = {
        line.split()[1]: line.split()[2:]
        for line in described(server, "uses-boto3", "--output", "table").splitlines()
        if line.startswith("Starts")
    }
    assert shown["Zygote"][0].endswith("+sdk")


def test_others_do_not(server, client):
    create(client, "uses-nothing", "import sys\ndef handler(event, context):\n    return len(sys.modules)")
    create(client, "brings-jmespath", {"handler.py": USES, **distribution("jmespath")}, MemorySize=256, Timeout=10)
    until(lambda: "do not name" in starts(server, "uses-nothing")["Reason"])
    until(lambda: starts(server, "brings-jmespath")["Reason"] == "it brings jmespath")
    assert not starts(server, "uses-nothing")["Zygote"].endswith("+sdk")
    finders, _ = invoked(client, "brings-jmespath")
    assert "Preloaded" not in finders
