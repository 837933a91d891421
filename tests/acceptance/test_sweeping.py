"""Code that nobody needs goes away while the server runs; code that a worker runs from stays until it is done."""

import hashlib
import json
import threading

import pytest
from conftest import ROLE, RUNTIME, Server, create, until, zipped

SLOW = """
import os, time
def handler(event, context):
    end = time.monotonic() + event["seconds"]
    while time.monotonic() < end:
        time.sleep(0.05)
    return open(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "data.txt")).read()
"""


FIRST, SECOND = (zipped({"handler.py": SLOW, "data.txt": text}) for text in ("first", "second"))


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path / "state").start()
    yield one
    assert one.stop() == 0


@pytest.mark.slow
def test_old_code_goes_when_its_last_worker_is_gone(server):
    packages = server.state_dir / "code/packages"
    first, second = (packages / hashlib.sha256(package).hexdigest() for package in (FIRST, SECOND))
    client = server.client()
    client.create_function(
        FunctionName="swept", Runtime=RUNTIME, Handler="handler.handler", Role=ROLE, Code={"ZipFile": FIRST}, Timeout=60
    )
    answers = []

    def call():
        answers.append(json.load(client.invoke(FunctionName="swept", Payload=b'{"seconds": 14}')["Payload"]))

    caller = threading.Thread(target=call)
    caller.start()
    until(lambda: json.loads(server.get("/readyz")[1])["workers"].get("busy"))
    client.update_function_code(FunctionName="swept", ZipFile=SECOND)
    create(client, "other", "def handler(event, context): pass\n")
    client.delete_function(FunctionName="other")
    until(lambda: len(list(packages.iterdir())) == 2, timeout_s=60)
    assert first.exists(), "a worker still runs from it"
    caller.join()
    assert answers == ["first"]
    until(lambda: not first.exists(), timeout_s=120)
    assert second.exists()
    assert json.load(client.invoke(FunctionName="swept", Payload=b'{"seconds": 0}')["Payload"]) == "second"
