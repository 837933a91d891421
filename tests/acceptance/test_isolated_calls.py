"""Isolation per invocation: no call sees what another one left, at the speed of a copy."""

import concurrent.futures
import json

import pytest
from conftest import create, until

MARKING = """
import os, sys, time
inits = time.time_ns()
calls = []
open_files = []
def handler(event, context):
    calls.append(event)
    before = [len(calls), sorted(os.listdir("/tmp")), os.environ.get("LEFT"), len(open_files), "left" in sys.modules]
    open("/tmp/left", "w").write("x")
    os.environ["LEFT"] = "x"
    sys.modules["left"] = sys
    open_files.append(open("/tmp/left"))
    if os.fork() == 0:
        time.sleep(600)
    time.sleep(event.get("sleep", 0))
    return [before, inits]
"""
FRESH = [1, [], None, 0, False]


def call(client, name, **event):
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
    body = json.load(answer["Payload"])
    assert "FunctionError" not in answer, body
    return body


def snapshot_of(server, name):
    return json.loads(server.get(f"/_hotfork/starts/{name}")[1])["Snapshot"]


def test_no_call_sees_what_another_left_and_init_ran_once(server, client):
    create(client, "isolated", MARKING, Tags={"hotfork:isolation": "invocation"})
    until(lambda: snapshot_of(server, "isolated") == "ready")
    inits = set()
    for _ in range(5):
        state, init = call(client, "isolated")
        assert state == FRESH
        inits.add(init)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for state, init in threads.map(lambda _: call(client, "isolated", sleep=0.05), range(24)):
            assert state == FRESH
            inits.add(init)
    assert len(inits) == 1


def test_without_the_tag_a_worker_is_used_again(client):
    create(client, "shared", MARKING)
    assert call(client, "shared")[0] == FRESH
    assert call(client, "shared")[0] == [2, ["left"], "x", 1, True]


@pytest.mark.parametrize(
    "init", ["import threading, time; threading.Thread(target=time.sleep, args=(999,), daemon=True).start()"]
)
def test_what_cannot_be_copied_is_isolated_all_the_same(server, client, init):
    create(client, "uncopied", f"{init}\n{MARKING}", Tags={"hotfork:isolation": "invocation"})
    until(lambda: snapshot_of(server, "uncopied").startswith("refused"))
    inits = set()
    for _ in range(4):
        state, one = call(client, "uncopied")
        assert state == FRESH
        inits.add(one)
    assert len(inits) == 4


def test_a_tag_that_comes_later_counts_at_once(client):
    create(client, "tagged", MARKING)
    arn = client.get_function(FunctionName="tagged")["Configuration"]["FunctionArn"]
    assert call(client, "tagged")[0] == FRESH
    client.tag_resource(Resource=arn, Tags={"hotfork:isolation": "invocation"})
    for _ in range(3):
        assert call(client, "tagged")[0] == FRESH
    client.untag_resource(Resource=arn, TagKeys=["hotfork:isolation"])
    assert call(client, "tagged")[0] == FRESH
    assert call(client, "tagged")[0] != FRESH
