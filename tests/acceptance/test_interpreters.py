"""Runtime python3.N runs on an interpreter of that version, found on the machine."""

import json
import os

import pytest
from conftest import create

from runtime import config

SHOW = "import sys\ndef handler(event, context):\n    return [sys.version_info[:2], sys.path[-1], __import__('boto3').__name__]"


@pytest.mark.parametrize("runtime", sorted(config.find_interpreters({}, os.environ)))
def test_a_function_runs_on_the_interpreter_of_its_runtime(client, runtime):
    name = runtime.replace(".", "-")
    create(client, name, SHOW, Runtime=runtime, MemorySize=256, Timeout=30)
    version, last, sdk = json.load(client.invoke(FunctionName=name)["Payload"])
    assert f"python{version[0]}.{version[1]}" == runtime
    assert (last, sdk) == ("/var/runtime", "boto3")
