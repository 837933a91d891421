"""Invoke as its users know it."""

import base64
import concurrent.futures
import json
import threading
import time

import botocore.exceptions
import psutil
import pytest
from conftest import ROLE, RUNTIME, create, until, zipped

SHOW = """
import os, sys
def handler(event, context):
    print("to stdout"); print("to stderr", file=sys.stderr)
    return {
        "event": event, "cwd": os.getcwd(), "env": dict(os.environ), "path": sys.path, "argv": sys.argv,
        "uid": os.getuid(), "pid": os.getpid(), "tmp": os.listdir("/tmp"),
        "context": {name: getattr(context, name) for name in (
            "aws_request_id", "function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb",
            "log_group_name", "log_stream_name", "tenant_id")},
        "remaining": context.get_remaining_time_in_millis(),
        "client": [context.client_context.custom, context.client_context.env] if context.client_context else None,
        "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
    }
"""


def test_the_environment_of_a_function(client):
    create(
        client,
        "show",
        SHOW,
        MemorySize=256,
        Timeout=10,
        Environment={"Variables": {"STAGE": "test", "ÜMLAUT".encode("ascii", "ignore").decode(): "ä"}},
    )
    context = base64.b64encode(json.dumps({"custom": {"a": "b"}, "env": {"c": "d"}, "client": {}}).encode()).decode()
    answer = client.invoke(FunctionName="show", Payload=b'{"k": [1, 2.5, null]}', ClientContext=context, LogType="Tail")
    result = json.load(answer["Payload"])
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    assert result["event"] == {"k": [1, 2.5, None]}
    assert result["cwd"] == "/var/task"
    assert result["env"]["STAGE"] == "test"
    assert result["env"]["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert result["env"]["_HANDLER"] == "handler.handler"
    assert result["env"]["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{RUNTIME}"
    assert result["path"][0] == "/var/task"
    assert result["path"][-1] == "/var/runtime"
    assert not [entry for entry in result["path"] if "site-packages" in entry and not entry.startswith("/opt")]
    assert result["context"]["aws_request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert result["context"]["memory_limit_in_mb"] == "256"
    assert result["context"]["function_name"] == "show"
    assert result["context"]["invoked_function_arn"] == "arn:aws:lambda:us-east-1:000000000000:function:show"
    assert result["context"]["log_group_name"] == "/aws/lambda/show"
    assert 0 < result["remaining"] <= 10_000
    assert result["client"] == [{"a": "b"}, {"c": "d"}]
    assert result["identity"] == [None, None]
    assert result["tmp"] == []
    log = base64.b64decode(answer["LogResult"]).decode()
    assert log.startswith(f"START RequestId: {answer['ResponseMetadata']['RequestId']} Version: $LATEST\n")
    assert log.index("to stdout") < log.index("to stderr") < log.index("END RequestId") < log.index("REPORT RequestId")


def test_names_in_all_their_forms(client):
    create(client, "forms", "def handler(event, context):\n    return context.invoked_function_arn")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:forms"
    for name, shown in {
        "forms": arn,
        "forms:$LATEST": f"{arn}:$LATEST",
        "000000000000:function:forms": arn,
        arn: arn,
        f"{arn}:$LATEST": f"{arn}:$LATEST",
    }.items():
        assert json.load(client.invoke(FunctionName=name, Payload=b"{}")["Payload"]) == shown
    answer = client.invoke(FunctionName="forms", Qualifier="$LATEST", Payload=b"{}")
    assert json.load(answer["Payload"]) == f"{arn}:$LATEST"


def test_no_payload_is_an_empty_event(client):
    create(client, "empty", "def handler(event, context):\n    return event")
    assert json.load(client.invoke(FunctionName="empty")["Payload"]) == {}


def test_calls_at_once_run_at_once_in_workers_of_their_own(server, client):
    create(
        client,
        "parallel",
        "import os, time, uuid\nME = str(uuid.uuid4())\n"
        "def handler(event, context):\n    time.sleep(0.3)\n    return [ME, event]",
        Timeout=20,
    )
    barrier = threading.Barrier(20)

    def one(number):
        barrier.wait()
        return json.load(client.invoke(FunctionName="parallel", Payload=json.dumps(number))["Payload"])

    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        results = list(threads.map(one, range(20)))
    assert [event for _, event in results] == list(range(20))
    assert len({me for me, _ in results}) > 1


def test_redeploying_under_load_loses_nothing_and_serves_nothing_old(server, client):
    create(client, "redeployed", "def handler(event, context):\n    return 0", Timeout=20)
    deployed = [0]
    stop = threading.Event()
    problems = []

    def call():
        mine = server.client()
        while not stop.is_set():
            at_least = deployed[0]
            try:
                answer = mine.invoke(FunctionName="redeployed", Payload=b"{}")
                number = json.load(answer["Payload"])
            except botocore.exceptions.ClientError as error:
                problems.append(repr(error))
                return
            if "FunctionError" in answer or number < at_least:
                problems.append((number, at_least, answer.get("FunctionError")))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 16):
        source = f"def handler(event, context):\n    return {number}"
        client.update_function_code(FunctionName="redeployed", ZipFile=zipped({"handler.py": source}))
        deployed[0] = number
        client.invoke(FunctionName="redeployed", Payload=b"{}")
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []


def test_configuration_changes_reach_the_next_call(client):
    create(client, "configured", "import os\ndef handler(event, context):\n    return os.environ.get('COLOUR')")
    assert json.load(client.invoke(FunctionName="configured")["Payload"]) is None
    for colour in ("red", "green"):
        client.update_function_configuration(FunctionName="configured", Environment={"Variables": {"COLOUR": colour}})
        client.get_waiter("function_updated_v2").wait(FunctionName="configured", WaiterConfig={"Delay": 0.05})
        assert json.load(client.invoke(FunctionName="configured")["Payload"]) == colour


def test_a_deleted_function_is_gone_and_its_name_is_free(client):
    create(client, "phoenix", "def handler(event, context):\n    return 1")
    client.invoke(FunctionName="phoenix")
    client.delete_function(FunctionName="phoenix")
    try:
        client.invoke(FunctionName="phoenix")
        raise AssertionError("a deleted function answered")
    except client.exceptions.ResourceNotFoundException:
        pass
    create(client, "phoenix", "def handler(event, context):\n    return 2")
    assert json.load(client.invoke(FunctionName="phoenix")["Payload"]) == 2


def test_memory_used_is_measured(client):
    # Kept beyond the call: where there are no cgroups, memory is looked at when a call ends.
    source = "def handler(event, context):\n    global block\n    block = bytearray(event['mb'] << 20)"
    create(client, "measured", source, MemorySize=512)
    used = []
    for mb in (1, 200):
        answer = client.invoke(FunctionName="measured", Payload=json.dumps({"mb": mb}), LogType="Tail")
        log = base64.b64decode(answer["LogResult"]).decode()
        used.append(int(log.split("Max Memory Used: ")[1].split()[0]))
    assert used[0] < 60
    assert 200 <= used[1] < 260


def test_a_runtime_without_an_interpreter_says_how_to_add_one(client):
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="interpreter"):
        client.create_function(
            FunctionName="future",
            Role=ROLE,
            Runtime="python3.10",
            Handler="h.h",
            Code={"ZipFile": zipped({"h.py": ""})},
        )


def test_nothing_of_a_function_runs_between_its_invocations(server, client):
    source = (
        "import threading, time\nseen = [0.0, 0.0]\n"
        "def watch():\n    last = time.monotonic()\n    while True:\n        time.sleep(0.005)\n"
        "        now = time.monotonic()\n        seen[0] = max(seen[0], now - last)\n        last = now\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
        "def handler(event, context):\n    time.sleep(0.05)\n    return seen[0]"
    )
    create(client, "frozen", source)
    client.invoke(FunctionName="frozen")
    stopped = until(
        lambda: [
            one
            for one in psutil.Process(server.process.pid).children(recursive=True)
            if one.status() == psutil.STATUS_STOPPED
        ]
    )
    assert stopped
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 0.5)
    longest_gap = json.load(client.invoke(FunctionName="frozen")["Payload"])
    assert longest_gap >= 0.4  # its thread was not there to see this half second
