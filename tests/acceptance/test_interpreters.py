"""Runtime python3.N runs on an interpreter of that version, found on the machine."""

import json
import os

import pytest
from conftest import Server, create, until
from test_kill import zygotes

from runtime import config

SHOW = "import sys\ndef handler(event, context):\n    return [sys.version_info[:2], sys.path[-1], __import__('boto3').__name__]"


@pytest.mark.parametrize("runtime", sorted(config.find_interpreters({}, os.environ)))
def test_a_function_runs_on_the_interpreter_of_its_runtime(client, runtime):
    name = runtime.replace(".", "-")
    create(client, name, SHOW, Runtime=runtime, MemorySize=256, Timeout=30)
    version, last, sdk = json.load(client.invoke(FunctionName=name)["Payload"])
    assert f"python{version[0]}.{version[1]}" == runtime
    assert (last, sdk) == ("/var/runtime", "boto3")


def test_a_first_call_finds_its_interpreter_ready(tmp_path):
    server = Server(tmp_path / "state").start()
    try:
        assert server.values("hotfork_zygotes") == []
        create(server.client(), "f", "def handler(event, context):\n    return 1")
        until(lambda: ready(server))
    finally:
        server.stop()
    server.start()  # and after a restart
    try:
        until(lambda: ready(server))
        assert json.load(server.client().invoke(FunctionName="f")["Payload"]) == 1
        assert [line for line in server.metrics() if line.startswith("hotfork_worker_starts_total{")] == [
            'hotfork_worker_starts_total{kind="blank"} 1'
        ]
    finally:
        server.stop()


def test_a_server_may_be_stopped_while_an_interpreter_is_being_started(tmp_path):
    server = Server(tmp_path / "state").start()
    create(server.client(), "f", "def handler(event, context):\n    return 1")
    assert server.stop() == 0
    for _ in range(10):
        server.start()
        until(lambda: zygotes(server.process.pid))
        assert server.stop() == 0


def ready(server):
    """Return whether a zygote serves and a blank lies there: nothing was called."""
    return server.values("hotfork_zygotes") == [1] and sum(server.values("hotfork_blanks")) > 0
