"""Provisioned concurrency, as a caller sees it: boto3, the metrics, and the processes."""

import base64
import concurrent.futures
import contextlib
import json
import re

import botocore.exceptions
import psutil
import pytest
from conftest import Server, create, until, zipped

SOURCE = """
import ctypes, os, time
ctypes.CDLL(None).prctl(15, b"{name}")  # PR_SET_NAME: to be found among the processes
made = time.time_ns()
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    if event.get("die"):
        os._exit(1)
    return {{"made": made, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "version": context.function_version}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("provisioned") / "state").start()
    yield one
    assert one.stop() == 0


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def publish(client, name, **options):
    """Create a function whose workers bear its name; return its first version."""
    create(client, name, SOURCE.format(name=name), Publish=True, Timeout=20, **options)
    return "1"


def publish_next(client, name, source=None):
    client.update_function_code(
        FunctionName=name, ZipFile=zipped({"handler.py": source or SOURCE.format(name=name) + "# next"})
    )
    return client.publish_version(FunctionName=name)["Version"]


def provision(client, name, qualifier, count):
    answer = client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (answer["Status"], answer["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", count)


def state(client, name, qualifier):
    found = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    assert found["AllocatedProvisionedConcurrentExecutions"] == found["AvailableProvisionedConcurrentExecutions"]
    return found["Status"], found["AvailableProvisionedConcurrentExecutions"]


def settled(client, name, qualifier, count):
    until(lambda: state(client, name, qualifier) == ("READY", count))


def named(server, name):
    """Return the processes of a server that have given themselves a name."""
    found = []
    for one in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.name() == name and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def call(client, name, qualifier, **event):
    answer = client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event), LogType="Tail")
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.load(answer["Payload"]), base64.b64decode(answer["LogResult"]).decode()


def together(client, name, qualifier, count, **event):
    """Make calls at once; return what they returned, and their log tails."""
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        pairs = list(threads.map(lambda _: call(client, name, qualifier, **event), range(count)))
    return [body for body, _ in pairs], [tail for _, tail in pairs]


def metric(server, name, **labels):
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^hotfork_{name}\{{{wanted}\}} (\S+)$", server.get("/metrics")[1].decode(), re.MULTILINE)
    return float(found[1]) if found else None


def log(server, name):
    events = json.loads(server.get(f"/_hotfork/logs/{name}")[1])["events"]
    return "\n".join(event["message"] for event in events)


def test_workers_are_initialised_before_the_first_call_and_none_is_cold(server, client):
    version = publish(client, "first")
    provision(client, "first", version, 3)
    settled(client, "first", version, 3)
    assert len(named(server, "first")) == 3
    assert metric(server, "provisioned_concurrency_ready", function="first") == 3
    text = until(lambda: log(server, "first") if log(server, "first").count("INIT_REPORT") == 3 else None)
    assert re.search(r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init", text)
    bodies, tails = together(client, "first", version, 3, sleep=0.5)
    assert [body["kind"] for body in bodies] == ["provisioned-concurrency"] * 3
    assert len({body["made"] for body in bodies}) == 3
    assert not [tail for tail in tails if "Init Duration" in tail]
    assert metric(server, "provisioned_concurrency_invocations_total", function="first") == 3
    assert metric(server, "provisioned_concurrency_spillover_invocations_total", function="first") == 0
    assert metric(server, "cold_starts_total", function="first", kind="provisioned") is None


def test_calls_that_exceed_them_spill_over(server, client):
    version = publish(client, "spill")
    provision(client, "spill", version, 2)
    settled(client, "spill", version, 2)
    bodies, tails = together(client, "spill", version, 4, sleep=1)
    assert sorted(body["kind"] for body in bodies) == [*["on-demand"] * 2, *["provisioned-concurrency"] * 2]
    assert len([tail for tail in tails if "Init Duration" in tail]) == 2
    assert metric(server, "provisioned_concurrency_invocations_total", function="spill") == 2
    assert metric(server, "provisioned_concurrency_spillover_invocations_total", function="spill") == 2
    assert state(client, "spill", version) == ("READY", 2)
    assert call(client, "spill", version)[0]["kind"] == "provisioned-concurrency"


def test_how_much_is_in_use_is_measured(server, client):
    version = publish(client, "inuse")
    provision(client, "inuse", version, 2)
    settled(client, "inuse", version, 2)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        running = threads.submit(call, client, "inuse", version, sleep=1)
        until(lambda: metric(server, "provisioned_concurrent_executions", function="inuse") == 1)
        assert metric(server, "provisioned_concurrency_utilization_ratio", function="inuse") == 0.5
        running.result()
    assert metric(server, "provisioned_concurrency_utilization_ratio", function="inuse") == 0


@pytest.mark.parametrize("busy", [False, True])
def test_one_that_is_killed_is_replaced(server, client, busy):
    name = "killed-busy" if busy else "killed"
    version = publish(client, name)
    provision(client, name, version, 2)
    settled(client, name, version, 2)
    before = {one.pid for one in named(server, name)}
    if busy:
        answer = client.invoke(FunctionName=name, Qualifier=version, Payload=json.dumps({"die": True}))
        assert answer["FunctionError"] == "Unhandled"
    else:
        psutil.Process(min(before)).kill()
    until(lambda: len({one.pid for one in named(server, name)} - before) == 1)
    settled(client, name, version, 2)
    assert call(client, name, version)[0]["kind"] == "provisioned-concurrency"


def test_fewer_and_none_let_workers_go(server, client):
    version = publish(client, "fewer")
    provision(client, "fewer", version, 3)
    settled(client, "fewer", version, 3)
    provision(client, "fewer", version, 1)
    settled(client, "fewer", version, 1)
    until(lambda: len(named(server, "fewer")) == 1)
    client.delete_provisioned_concurrency_config(FunctionName="fewer", Qualifier=version)
    until(lambda: not named(server, "fewer"))
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        state(client, "fewer", version)
    assert metric(server, "provisioned_concurrency_ready", function="fewer") is None
    assert call(client, "fewer", version)[0]["kind"] == "on-demand"


def test_a_deleted_function_lets_its_workers_go(server, client):
    version = publish(client, "gone")
    provision(client, "gone", version, 2)
    settled(client, "gone", version, 2)
    client.delete_function(FunctionName="gone")
    until(lambda: not named(server, "gone"))


def test_they_move_with_their_alias(server, client):
    first = publish(client, "moving")
    client.create_alias(FunctionName="moving", Name="live", FunctionVersion=first)
    provision(client, "moving", "live", 2)
    settled(client, "moving", "live", 2)
    assert call(client, "moving", "live")[0] | {"made": 0} == {
        "made": 0, "kind": "provisioned-concurrency", "version": "1",
    }  # fmt: skip
    second = publish_next(client, "moving")
    client.update_alias(FunctionName="moving", Name="live", FunctionVersion=second)
    settled(client, "moving", "live", 2)
    body, _ = call(client, "moving", "live")
    assert (body["version"], body["kind"]) == (second, "provisioned-concurrency")
    until(lambda: len(named(server, "moving")) == 2)
    assert call(client, "moving", first)[0]["kind"] == "on-demand"


def test_a_weighted_alias_shares_them_among_its_versions(server, client):
    first = publish(client, "weighted")
    second = publish_next(client, "weighted")
    client.create_alias(FunctionName="weighted", Name="live", FunctionVersion=first)
    provision(client, "weighted", "live", 4)
    settled(client, "weighted", "live", 4)
    client.update_alias(
        FunctionName="weighted", Name="live", RoutingConfig={"AdditionalVersionWeights": {second: 0.25}}
    )
    settled(client, "weighted", "live", 4)
    assert call(client, "weighted", second)[0]["kind"] == "provisioned-concurrency"
    with pytest.raises(
        client.exceptions.InvalidParameterValueException, match="Invalid alias configuration for Provisioned"
    ):
        provision(client, "weighted", "live", 2)


def test_init_that_fails_is_a_status_and_calls_are_served_all_the_same(server, client):
    source = """
import os
if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency":
    raise ValueError("no")
def handler(event, context):
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
    create(client, "failing", source, Publish=True)
    provision(client, "failing", "1", 2)
    until(lambda: state(client, "failing", "1") == ("FAILED", 0))
    found = client.get_provisioned_concurrency_config(FunctionName="failing", Qualifier="1")
    assert found["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    assert call(client, "failing", "1")[0] == "on-demand"
    assert "INIT_REPORT Init Duration" in log(server, "failing")


def test_what_is_reserved_and_provisioned_throttles_the_other_versions(server, client):
    version = publish(client, "limited")
    client.put_function_concurrency(FunctionName="limited", ReservedConcurrentExecutions=1)
    provision(client, "limited", version, 1)
    settled(client, "limited", version, 1)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke(FunctionName="limited")
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert call(client, "limited", version)[0]["kind"] == "provisioned-concurrency"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "SnapStart"),
        ({"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}, "tenant isolation"),
    ],
)
def test_what_cannot_be_combined_is_refused(client, options, message):
    name = "with-" + message.split()[0].lower()
    publish(client, name, **options)
    with pytest.raises(client.exceptions.InvalidParameterValueException, match=message):
        provision(client, name, "1", 1)


def test_an_alias_cannot_be_led_to_what_cannot_be_provisioned(client):
    first = publish(client, "astray")
    second = publish_next(client, "astray")
    client.create_alias(FunctionName="astray", Name="live", FunctionVersion=first)
    provision(client, "astray", "live", 1)
    provision(client, "astray", second, 1)
    with pytest.raises(client.exceptions.ResourceConflictException, match="Alias can't be used for Provisioned"):
        client.update_alias(FunctionName="astray", Name="live", FunctionVersion=second)
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="unpublished function versions"):
        client.update_alias(FunctionName="astray", Name="live", FunctionVersion="$LATEST")
    assert client.get_alias(FunctionName="astray", Name="live")["FunctionVersion"] == first


def test_calls_that_are_isolated_each_get_one_that_served_none(server, client):
    source = SOURCE.format(name="alone") + "calls = []\n"
    source = source.replace("    return {", "    calls.append(1)\n    return {'calls': len(calls), ")
    create(client, "alone", source, Publish=True, Tags={"hotfork:isolation": "invocation"})
    provision(client, "alone", "1", 2)
    settled(client, "alone", "1", 2)
    for _ in range(4):
        body, _ = call(client, "alone", "1")
        assert body["calls"] == 1
    settled(client, "alone", "1", 2)


def test_where_all_are_copied_those_that_are_held_are_not(tmp_path):
    server = Server(tmp_path / "state", env={"HOTFORK_SNAPSHOTS_MODE": "when-safe"}).start()
    try:
        client = server.client()
        create(client, "slow", "import time; time.sleep(0.1)\n" + SOURCE.format(name="slow"), Publish=True)
        provision(client, "slow", "1", 1)
        settled(client, "slow", "1", 1)
        until(lambda: metric(server, "snapshots", state="ready") == 1)
        bodies, _ = together(client, "slow", "1", 2, sleep=1)
        assert sorted(body["kind"] for body in bodies) == ["provisioned-concurrency", "snap-start"]
        assert server.stop() == 0
    finally:
        server.end()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_brings_them_back(tmp_path, end):
    server = Server(tmp_path / "state").start()
    try:
        client = server.client()
        first = publish(client, "again")
        client.create_alias(FunctionName="again", Name="live", FunctionVersion=first)
        provision(client, "again", "live", 2)
        settled(client, "again", "live", 2)
        getattr(server, end)()
        client = server.start().client()
        settled(client, "again", "live", 2)
        assert len(named(server, "again")) == 2
        assert metric(server, "invocations_total", function="again", status="success") is None
        body, tail = call(client, "again", "live")
        assert body["kind"] == "provisioned-concurrency"
        assert "Init Duration" not in tail
        with pytest.raises(botocore.exceptions.ClientError):
            state(client, "again", first)
        assert server.stop() == 0
    finally:
        server.end()
