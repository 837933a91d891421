"""Asynchronous events through AWS's own client: what is answered, what runs, and what is left."""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request

import botocore.exceptions
import pytest
from conftest import HOTFORK, Server, create, until, zipped

COUNT = """
import os, time
def handler(event, context):
    with open(f"/tmp/{context.aws_request_id}", "a") as file:
        file.write("x")
    print(f"RAN {context.aws_request_id} {context.invoked_function_arn} {event}")
    time.sleep(event.get("sleep", 0))
    if event.get("fail"):
        raise ValueError(event["fail"])
    return {"ok": True}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    one = Server(
        tmp_path_factory.mktemp("async") / "state", env={"HOTFORK_ASYNC_INVOKE_RETRY_BASE_DELAY_S": "0.1"}
    ).start()
    yield one
    assert one.stop() == 0


@pytest.fixture
def client(own):
    return own.client()


def send(client, name, payload=None, **options):
    answer = client.invoke(
        FunctionName=name, InvocationType="Event", Payload=json.dumps(payload or {}).encode(), **options
    )
    assert answer["StatusCode"] == 202
    return answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]


def runs(server, name):
    """Return what the function says it ran: (request id, ARN, event) of each."""
    events = json.loads(server.get(f"/_hotfork/logs/{name}?limit=10000")[1])["events"]
    return [event["message"].split(" ", 3)[1:] for event in events if event["message"].startswith("RAN ")]


def letters(server, name):
    return json.loads(server.get(f"/_hotfork/events/letters?function={name}")[1])["letters"]


def test_the_answer_is_empty_and_names_no_version(client):
    create(client, "answer", COUNT)
    answer = client.invoke(FunctionName="answer", InvocationType="Event", Payload=b"{}")
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    assert "ExecutedVersion" not in answer
    assert headers["content-length"] == "0"
    assert "FunctionError" not in answer
    assert len(headers["x-amzn-requestid"]) == 36


def test_an_event_without_a_body_is_an_empty_object(own, client):
    create(client, "empty", COUNT)
    client.invoke(FunctionName="empty", InvocationType="Event")
    until(lambda: [event for _, _, event in runs(own, "empty")] == ["{}"])


def test_the_deprecated_operation_still_works(own, client):
    create(client, "old", COUNT)
    assert client.invoke_async(FunctionName="old", InvokeArgs=b'{"a": 1}')["Status"] == 202
    until(lambda: [event for _, _, event in runs(own, "old")] == ["{'a': 1}"])
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke_async(FunctionName="none", InvokeArgs=b"{}")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke_async(FunctionName="old", InvokeArgs=b"{")


def test_what_is_wrong_is_said_at_once(own, client):
    create(client, "wrong", COUNT)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        send(client, "nobody")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        send(client, "wrong", Qualifier="none")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName="wrong", InvocationType="Event", Payload=b"{")
    largest = b'"' + b"x" * (1024 * 1024 - 2) + b'"'
    assert client.invoke(FunctionName="wrong", InvocationType="Event", Payload=largest)["StatusCode"] == 202
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.invoke(FunctionName="wrong", InvocationType="Event", Payload=largest + b" ")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    error = caught.value.response["Error"]
    assert error["Message"] == "Request must be smaller than 1048576 bytes for the InvokeFunction operation"
    until(lambda: len(letters(own, "wrong")) == 1)  # a text has no "get"


def test_an_event_that_fails_is_tried_three_times_and_kept(own, client):
    create(client, "fails", COUNT)
    request_id = send(client, "fails", {"fail": "always"})
    until(lambda: letters(own, "fails"))
    assert [ran for ran, _, _ in runs(own, "fails")] == [request_id] * 3
    (kept,) = letters(own, "fails")
    shown = json.loads(own.get(f"/_hotfork/events/letters/{kept['id']}")[1])
    assert shown["requestId"] == request_id
    assert shown["approximateInvokeCount"] == len(shown["tries"]) == 3
    assert shown["errorType"] == "ValueError"
    assert shown["payload"] == '{"fail": "always"}'
    assert f"RAN {request_id}" in shown["log"]


def test_an_alias_is_resolved_for_each_try(own, client):
    create(client, "aliased", COUNT)
    first = client.publish_version(FunctionName="aliased")["Version"]
    client.update_function_configuration(FunctionName="aliased", Description="other")
    second = client.publish_version(FunctionName="aliased")["Version"]
    client.create_alias(
        FunctionName="aliased",
        Name="live",
        FunctionVersion=first,
        RoutingConfig={"AdditionalVersionWeights": {second: 0.5}},
    )
    for _ in range(30):
        send(client, "aliased", Qualifier="live")
    until(lambda: len(runs(own, "aliased")) == 30)
    events = json.loads(own.get("/_hotfork/logs/aliased?limit=10000")[1])["events"]
    started = {event["message"].split()[-1] for event in events if event["message"].startswith("START ")}
    assert started == {first, second}
    assert {arn.rsplit(":", 1)[1] for _, arn, _ in runs(own, "aliased")} == {"live"}


def test_the_configuration_of_a_qualifier_counts_for_its_events_alone(own, client):
    create(client, "configured", COUNT)
    client.publish_version(FunctionName="configured")
    client.put_function_event_invoke_config(FunctionName="configured", Qualifier="1", MaximumRetryAttempts=0)
    once = send(client, "configured", {"fail": "x"}, Qualifier="1")
    thrice = send(client, "configured", {"fail": "x"})
    until(lambda: len(letters(own, "configured")) == 2)
    ran = [request_id for request_id, _, _ in runs(own, "configured")]
    assert (ran.count(once), ran.count(thrice)) == (1, 3)


def test_another_function_takes_what_came_of_an_event(own, client):
    create(client, "first", COUNT)
    create(client, "second", COUNT)
    arn = client.get_function(FunctionName="second")["Configuration"]["FunctionArn"]
    client.put_function_event_invoke_config(
        FunctionName="first",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}},
    )
    send(client, "first", {"n": 1})
    (ran,) = until(lambda: runs(own, "second"))
    assert "'requestPayload': {'n': 1}" in ran[2]
    assert "'responsePayload': {'ok': True}" in ran[2]


FAN = """
import json, os, boto3
def handler(event, context):
    client = boto3.client("lambda")
    print("TRACE " + os.environ["_X_AMZN_TRACE_ID"])
    for number in range(event["count"]):
        client.invoke(FunctionName="leaf", InvocationType="Event", Payload=json.dumps({"n": number}))
"""
LEAF = """
import os
def handler(event, context):
    print("TRACE " + os.environ["_X_AMZN_TRACE_ID"])
    print(f"RAN {context.aws_request_id} {context.invoked_function_arn} {event}")
"""


def test_a_function_may_make_many_events_of_one_and_the_trace_goes_along(own, client):
    create(client, "fan", FAN, Timeout=30, MemorySize=512)
    create(client, "leaf", LEAF)
    send(client, "fan", {"count": 20})
    until(lambda: len(runs(own, "leaf")) == 20)
    assert sorted(event for _, _, event in runs(own, "leaf")) == sorted(str({"n": number}) for number in range(20))
    roots = {
        event["message"].partition("Root=")[2].partition(";")[0]
        for name in ("fan", "leaf")
        for event in json.loads(own.get(f"/_hotfork/logs/{name}?limit=10000")[1])["events"]
        if event["message"].startswith("TRACE ")
    }
    assert len(roots) == 1
    assert "" not in roots


def test_reserved_concurrency_holds_for_events_and_nothing_is_lost_by_it(own, client):
    create(client, "narrow", COUNT)
    client.put_function_concurrency(FunctionName="narrow", ReservedConcurrentExecutions=2)
    ids = {send(client, "narrow", {"sleep": 0.05}) for _ in range(40)}
    until(lambda: len(runs(own, "narrow")) == 40)
    assert {request_id for request_id, _, _ in runs(own, "narrow")} == ids
    events = json.loads(own.get("/_hotfork/logs/narrow?limit=10000")[1])["events"]
    running = most = 0
    for event in events:
        running += event["message"].startswith("START ")
        running -= event["message"].startswith("END ")
        most = max(most, running)
    assert most <= 2


def test_a_single_event_does_not_wait_for_the_backlog_of_another_function(own, client):
    create(client, "backlog", COUNT, Timeout=30)
    create(client, "single", COUNT)
    client.put_function_concurrency(FunctionName="backlog", ReservedConcurrentExecutions=1)
    for _ in range(300):
        send(client, "backlog", {"sleep": 0.01})
    waiting = {queue["name"]: queue["events"] for queue in queues(own)}
    request_id = send(client, "single")
    until(lambda: [ran for ran, _, _ in runs(own, "single")] == [request_id])
    assert waiting["backlog"] > 100
    until(lambda: {queue["name"] for queue in queues(own)} == {"backlog"})
    until(lambda: not queues(own))


def queues(server):
    return json.loads(server.get("/_hotfork/events/queue")[1])["queues"]


def test_metrics_tell_what_happens_to_events(own, client):
    create(client, "measured", COUNT)
    for payload in ({}, {}, {"fail": "x"}):
        send(client, "measured", payload)
    until(lambda: letters(own, "measured"))
    text = own.get("/metrics")[1].decode()
    for line in (
        'hotfork_async_events_received_total{function="measured"} 3',
        'hotfork_async_events_dropped_total{function="measured",condition="RetriesExhausted"} 1',
        'hotfork_async_event_retries_total{function="measured",cause="error"} 2',
        'hotfork_async_event_age_seconds_count{function="measured"} 5',
        'hotfork_dead_letters_kept_total{function="measured"} 1',
    ):
        assert line in text


# Stops and starts


def test_events_in_flight_are_handed_back_at_a_stop_and_all_run_in_the_end(tmp_path):
    one = Server(tmp_path / "state", env={"HOTFORK_POOL_DRAIN_TIMEOUT_S": "0.5"}).start()
    client = one.client()
    create(client, "f", COUNT, Timeout=60)
    slow = send(client, "f", {"sleep": 30})
    ids = {send(client, "f") for _ in range(20)}
    until(lambda: len(runs(one, "f")) == 21)
    later = {send(client, "f", {"sleep": 30}) for _ in range(3)}

    def times(request_id):
        return [ran for ran, _, _ in runs(one, "f")].count(request_id)

    until(lambda: all(times(request_id) for request_id in later))
    started = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - started < 20
    client.close()
    one.start()
    assert [queue["name"] for queue in queues(one)] == ["f"]
    # What was cut short runs again, and that was no try: all of them are left.
    until(lambda: all(times(request_id) == 2 for request_id in {slow, *later}))
    assert all(times(request_id) == 1 for request_id in ids)
    assert not letters(one, "f")
    one.kill()


def test_what_was_accepted_is_on_disk(tmp_path):
    one = Server(tmp_path / "state").start()
    client = one.client()
    create(client, "f", COUNT, Timeout=60)
    client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=1)
    ids = {send(client, "f", {"sleep": 0.2})}
    ids |= {send(client, "f") for _ in range(50)}
    one.kill()
    one.start()
    until(lambda: {ran for ran, _, _ in runs(one, "f")} >= ids)
    until(lambda: not queues(one))
    assert one.stop() == 0


# The command line


def hotfork(server, *arguments, check=0):
    done = subprocess.run(
        [str(HOTFORK), "events", *arguments, "--url", server.url], capture_output=True, text=True, check=False
    )
    assert done.returncode == check, done.stderr
    return done.stdout


def test_the_command_line_shows_redrives_and_purges(tmp_path):
    one = Server(tmp_path / "state", env={"HOTFORK_ASYNC_INVOKE_RETRY_BASE_DELAY_S": "0.02"}).start()
    client = one.client()
    create(client, "f", COUNT)
    create(client, "g", "def handler(event, context): raise KeyError('k')")
    ids = [send(client, "f", {"fail": f"no {number}"}) for number in range(150)]
    send(client, "g")
    until(lambda: len(letters(one, "g")) == 1)
    until(lambda: json.loads(hotfork(one, "queue"))["letters"] == 151)
    assert "Dead letters: 151" in hotfork(one, "queue", "--output", "table")

    listed = json.loads(hotfork(one, "list", "--limit", "1000"))
    assert len(listed) == 151
    assert [entry["id"] for entry in listed] == sorted((entry["id"] for entry in listed), reverse=True)
    assert len(json.loads(hotfork(one, "list", "--error", "KeyError"))) == 1
    assert json.loads(hotfork(one, "list", "--condition", "EventAgeExceeded")) == []
    assert len(json.loads(hotfork(one, "list", "--since", "1h", "--function", "f", "--limit", "7"))) == 7
    table = hotfork(one, "list", "--function", "g", "--output", "table")
    assert "RetriesExhausted" in table
    assert "KeyError" in table

    first = min(entry["id"] for entry in listed if entry["function"] == "f")
    text = hotfork(one, "show", str(first), "--output", "table")
    for expected in ("ValueError: no ", "--- payload", "--- log", "--- response", "RAN "):
        assert expected in text
    shown = json.loads(hotfork(one, "show", str(first)))
    assert shown["requestId"] in ids
    hotfork(one, "show", "999999", check=2)
    hotfork(one, "show", str(1 << 64), check=2)
    hotfork(one, "purge", "999999", check=2)

    # What runs well now is gone; what fails again comes back, and is not redriven for ever.
    client.update_function_code(
        FunctionName="f", ZipFile=zipped({"handler.py": "def handler(event, context): return 1"})
    )
    client.get_waiter("function_updated_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.05})
    assert json.loads(hotfork(one, "redrive", str(first)))["redriven"] == 1
    hotfork(one, "redrive", str(first), check=2)
    assert json.loads(hotfork(one, "redrive", "--function", "f", "--rate", "500"))["redriven"] == 149
    assert json.loads(hotfork(one, "redrive", "--all"))["redriven"] == 1
    until(lambda: not queues(one))
    assert [entry["function"] for entry in json.loads(hotfork(one, "list"))] == ["g"]
    hotfork(one, "redrive", check=2)
    hotfork(one, "purge", "--all", "--function", "g", check=2)
    assert "Purged 1 in" in hotfork(one, "purge", "--all", "--output", "table")
    assert json.loads(hotfork(one, "list")) == []
    assert one.stop() == 0


def test_a_web_page_cannot_purge(own):
    request = urllib.request.Request(
        f"{own.url}/_hotfork/events/purge", b"{}", {"Content-Type": "text/plain"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 415
    caught.value.close()


def test_many_clients_at_once(own, client):
    create(client, "many", COUNT)
    ids, lock = set(), threading.Lock()

    def run():
        mine = own.client()
        for _ in range(50):
            request_id = send(mine, "many")
            with lock:
                ids.add(request_id)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(runs(own, "many")) >= 400)
    until(lambda: not queues(own))
    ran = [request_id for request_id, _, _ in runs(own, "many")]
    assert len(ids) == 400
    assert sorted(ran) == sorted(ids)
