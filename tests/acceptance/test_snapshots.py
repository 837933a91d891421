"""Snapshots, as a caller sees them: SnapStart, and what cannot be copied."""

import concurrent.futures
import contextlib
import json
import mmap
import os
import re
import time
from pathlib import Path

import botocore.exceptions
import psutil
import pytest
from conftest import Server, create, until, zipped
from test_kill import zygotes
from vendored import distribution

COUNTING = """
import os, random, secrets, ssl, time, uuid
import snapshot_restore_py
inits = [time.time_ns()]
calls = []
restored = []
snapshot_restore_py.register_after_restore(lambda: inits.append(os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]))
snapshot_restore_py.register_after_restore(lambda: restored.append(time.time()))
def handler(event, context):
    calls.append(event)
    if event.get("sleep"):
        time.sleep(event["sleep"])
    return {
        "init": inits[0], "stream": inits[1:], "calls": len(calls), "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
        "log": context.log_stream_name, "drawn": [random.random(), uuid.uuid4().hex, ssl.RAND_bytes(4).hex(), secrets.token_hex(4)],
        "tmp": os.listdir("/tmp"), "pid": os.getpid(), "restored": restored,
    }
"""


@pytest.fixture
def own(tmp_path):
    """Start a server of the test's own, by its settings; at its end it stops by itself."""
    started = []

    def start(**settings):
        env = {f"HOTFORK_{name.upper()}": str(value) for name, value in settings.items()}
        started.append(Server(tmp_path / "state", env=env).start())
        return started[0]

    yield start
    if started[0].process.poll() is None:
        assert started[0].stop() == 0


def call(client, name, qualifier=None, **event):
    answer = client.invoke(
        FunctionName=name, Payload=json.dumps(event), **({"Qualifier": qualifier} if qualifier else {})
    )
    body = json.load(answer["Payload"])
    assert "FunctionError" not in answer, body
    return body


def metric(server, name, **labels):
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^{name}\{{{wanted}\}} (\S+)$", server.get("/metrics")[1].decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def running(pid):
    """Return whether a process lives, as more than the memory of one."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def log(server, name):
    events = json.loads(server.get(f"/_hotfork/logs/{name}")[1])["events"]
    return "\n".join(event["message"] for event in events)


def snapshots(server, state="ready"):
    return metric(server, "hotfork_snapshots", state=state)


def ahead(server):
    """Return how many copies were made ahead and belong to nobody yet."""
    return float(
        re.search(r"^hotfork_snapshot_copies_ahead (\S+)$", server.get("/metrics")[1].decode(), re.MULTILINE)[1]
    )


def workers(server):
    return sum(json.loads(server.get("/readyz")[1])["workers"].values())


def publish(client, name, source, **options):
    """Create a function with SnapStart and publish it; return the version, its snapshot being there."""
    create(client, name, source, SnapStart={"ApplyOn": "PublishedVersions"}, **options)
    return publish_next(client, name)


def publish_next(client, name):
    """Publish the next version; return its number, its snapshot being there."""
    version = client.publish_version(FunctionName=name)
    assert version["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert (version["State"], version["StateReasonCode"]) == ("Pending", "Creating")
    found = settled(client, name, version["Version"])
    assert (found["State"], found["SnapStart"]) == ("Active", version["SnapStart"])
    assert "StateReason" not in found
    return version["Version"]


def settled(client, name, version):
    """Wait until it is settled whether a version has a snapshot; return its configuration."""

    def state():
        found = client.get_function_configuration(FunctionName=name, Qualifier=version)
        return None if found["State"] == "Pending" else found

    return until(state)


def unoptimized(client, name, state):
    """Publish a version that gets no snapshot; return its number."""
    version = client.publish_version(FunctionName=name)["Version"]
    found = settled(client, name, version)
    assert found["State"] == state
    assert found["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    return version


def named(server, name):
    """Return how many of a server's processes have given themselves a name."""
    count = 0
    for one in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            count += one.name() == name
    return count


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("snapshots") / "state").start()
    yield one
    assert one.stop() == 0


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def test_init_runs_once_and_every_worker_starts_from_there(server, client):
    version = publish(client, "counting", COUNTING)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: call(client, "counting", version, sleep=0.3), range(8)))
    assert len({answer["init"] for answer in answers}) == 1
    assert len({answer["log"] for answer in answers}) == len(answers)
    for answer in answers:
        assert (answer["kind"], answer["calls"], answer["pid"], answer["tmp"]) == ("snap-start", 1, 1, [])
        assert answer["stream"] == [answer["log"]]
    for values in zip(*(answer["drawn"] for answer in answers), strict=True):
        assert len(set(values)) == len(answers)
    assert metric(server, "hotfork_cold_starts_total", function="counting", kind="snapshot") == 8
    assert call(client, "counting", version)["calls"] == 2


MANY = 60


def test_a_small_function_may_have_many_copies(server, client):
    """What a copy takes before it is in its own cgroup is charged to the template, which must not die of it."""
    source = "import time\nheld = [[number] for number in range(300_000)]\n" + COUNTING
    version = publish(client, "many", source, MemorySize=128, Timeout=60)
    with concurrent.futures.ThreadPoolExecutor(MANY) as threads:
        answers = list(threads.map(lambda _: call(client, "many", version, sleep=6), range(MANY)))
    assert len({answer["init"] for answer in answers}) == 1
    assert len({answer["log"] for answer in answers}) > MANY / 2
    assert client.get_function_configuration(FunctionName="many", Qualifier=version)["State"] == "Active"


def test_a_copy_is_in_no_cgroup_of_its_template(own):
    """It is born in them; what it takes while it is there is laid to the template, which is let go for too much."""
    server = own(pool_blanks=0)
    version = publish(server.client(), "apart", COUNTING)
    assert call(server.client(), "apart", version)["kind"] == "snap-start"
    # In the deepest of all pid namespaces: the zygote's, its template's, its own.
    copy = max(psutil.Process(server.process.pid).children(recursive=True), key=lambda one: len(names(one.pid)))
    ours, its, the_servers = (cgroups(pid) for pid in (copy.pid, copy.ppid(), server.process.pid))
    own_ones = [each for each in its if its[each] != the_servers[each]]
    assert [each for each in own_ones if ours[each] == its[each]] == []
    if json.loads(server.get("/readyz")[1])["isolation"]["cgroups"] in {"v1", "v2"}:
        assert own_ones


def names(pid):
    """Return the pids of a process, in each pid namespace that sees it."""
    [line] = re.findall(r"^NSpid:(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return line.split()


def cgroups(pid):
    """Return the cgroup of a process in each hierarchy."""
    return dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())


def test_latest_has_no_snapshot(server, client):
    create(client, "latest", COUNTING, SnapStart={"ApplyOn": "PublishedVersions"})
    state = client.get_function_configuration(FunctionName="latest")["SnapStart"]
    assert state == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    assert call(client, "latest")["kind"] == "on-demand"


def test_the_log_says_what_was_restored(server, client):
    version = publish(client, "logged", "print('in init')\ndef handler(event, context):\n    print('called')")
    call(client, "logged", version)

    def written():
        text = log(server, "logged")
        return text if "REPORT RequestId" in text else None

    lines = until(written)
    assert lines.index("INIT_START") < lines.index("in init") < lines.index("INIT_REPORT Init Duration")
    assert (
        lines.index("RESTORE_START Runtime Version")
        < lines.index("RESTORE_REPORT Restore Duration")
        < lines.index("called")
    )
    assert re.search(r"Restore Duration: [\d.]+ ms\tBilled Restore Duration: \d+ ms", lines)


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(999,), daemon=True).start()",
            "other threads",
        ),
        ("import socket; s = socket.socketpair()", "a socket"),
        ("open('/tmp/cache', 'w').write('x')", "files in /tmp"),
    ],
)
def test_what_cannot_be_copied_runs_all_the_same_and_says_why(server, client, init, reason):
    name = "unsafe-" + reason.split()[-1].strip("/")
    source = f"{init}\n{COUNTING}"
    create(client, name, source, SnapStart={"ApplyOn": "PublishedVersions"})
    version = unoptimized(client, name, "Active")
    assert call(client, name, version)["calls"] == 1
    assert metric(server, "hotfork_cold_starts_total", function=name, kind="snapshot") == 0
    assert re.search(f"SNAPSHOT_REFUSED .*{reason}", log(server, name))


def test_init_that_fails_fails_as_it_would_without_a_snapshot(server, client):
    create(client, "broken", "raise ValueError('no')", SnapStart={"ApplyOn": "PublishedVersions"})
    version = unoptimized(client, "broken", "Failed")
    found = client.get_function(FunctionName="broken", Qualifier=version)["Configuration"]
    assert (found["StateReasonCode"], found["LastUpdateStatus"]) == ("FunctionError", "Failed")
    assert found["StateReason"] == "An error occurred during function initialization."
    answer = client.invoke(FunctionName="broken", Qualifier=version)
    assert json.load(answer["Payload"])["errorType"] == "ValueError"


def test_a_hook_that_fails_after_the_restore_fails_the_call(server, client):
    source = (
        "import snapshot_restore_py as s\ns.register_after_restore(lambda: 1 / 0)\ndef handler(event, context): pass"
    )
    version = publish(client, "hook", source)
    answer = client.invoke(FunctionName="hook", Qualifier=version)
    assert json.load(answer["Payload"])["errorType"] == "Runtime.AfterRestoreError"


def test_moving_an_alias_back_has_no_cold_start(server, client):
    first = publish(client, "switch", COUNTING)
    client.create_alias(FunctionName="switch", Name="live", FunctionVersion=first)
    before = call(client, "switch", "live")
    client.update_function_code(FunctionName="switch", ZipFile=zipped({"handler.py": COUNTING + "# second"}))
    second = publish_next(client, "switch")
    client.update_alias(FunctionName="switch", Name="live", FunctionVersion=second)
    assert call(client, "switch", "live")["init"] != before["init"]
    client.update_alias(FunctionName="switch", Name="live", FunctionVersion=first)
    assert call(client, "switch", "live", sleep=0)["init"] == before["init"]


def test_an_alias_that_moves_back_finds_the_snapshot_parked_though_no_worker_is_left(own):
    server = own(pool_keep_alive="fixed", pool_idle_ttl_s=0.2)
    client = server.client()
    first = publish(client, "parked", COUNTING)
    client.create_alias(FunctionName="parked", Name="live", FunctionVersion=first)
    before = call(client, "parked", "live")
    client.update_function_code(FunctionName="parked", ZipFile=zipped({"handler.py": COUNTING + "# second"}))
    second = client.publish_version(FunctionName="parked")["Version"]
    until(lambda: snapshots(server) == 2)
    client.update_alias(FunctionName="parked", Name="live", FunctionVersion=second)
    assert call(client, "parked", "live")["init"] != before["init"]
    until(lambda: not any(json.loads(server.get("/readyz")[1])["workers"].values()))
    starts = metric(server, "hotfork_cold_starts_total", function="parked", kind="snapshot")
    client.update_alias(FunctionName="parked", Name="live", FunctionVersion=first)
    after = call(client, "parked", "live")
    assert (after["init"], after["calls"]) == (before["init"], 1)
    assert metric(server, "hotfork_cold_starts_total", function="parked", kind="snapshot") == starts + 1


def test_only_so_many_snapshots_are_parked_as_there_is_memory_for(own):
    server = own(snapshots_memory_mb=1)
    client = server.client()
    first, second = publish(client, "first", COUNTING), publish(client, "second", COUNTING)
    states = {name: json.loads(server.get(f"/_hotfork/starts/{name}:1")[1])["Snapshot"] for name in ("first", "second")}
    assert states == {"first": "none", "second": "ready"}
    assert [call(client, "first", first)["calls"], call(client, "second", second)["calls"]] == [1, 1]


def test_a_snapshot_goes_with_its_version(server, client):
    source = "import ctypes\nctypes.CDLL(None).prctl(15, b'going')  # PR_SET_NAME\n" + COUNTING
    version = publish(client, "going", source)
    assert named(server, "going") == 1
    call(client, "going", version)
    until(lambda: named(server, "going") == 3)  # its worker, and a copy made ahead
    client.delete_function(FunctionName="going", Qualifier=version)
    until(lambda: named(server, "going") == 0)


@pytest.mark.parametrize("waiter", ["published_version_active", "function_active_v2"])
def test_waiters_wait_for_the_snapshot(client, waiter):
    name = waiter.replace("_", "-")
    create(client, name, "import time; time.sleep(0.3)\n" + COUNTING, SnapStart={"ApplyOn": "PublishedVersions"})
    version = client.publish_version(FunctionName=name)
    assert version["State"] == "Pending"
    options = {"FunctionName": name, "Qualifier": version["Version"], "WaiterConfig": {"Delay": 0.05}}
    client.get_waiter(waiter).wait(**options)
    assert call(client, name, version["Version"])["kind"] == "snap-start"
    client.update_function_code(FunctionName=name, ZipFile=zipped({"handler.py": "1 / 0"}))
    options["Qualifier"] = client.publish_version(FunctionName=name)["Version"]
    with pytest.raises(botocore.exceptions.WaiterError, match="Failed"):
        client.get_waiter(waiter).wait(**options)


def test_after_a_restart_a_version_is_inactive_until_it_is_called(own):
    server = own()
    client = server.client()
    version = publish(client, "again", COUNTING)
    assert server.stop() == 0
    client = server.start().client()
    found = settled(client, "again", version)
    assert (found["State"], found["StateReasonCode"]) == ("Inactive", "Idle")
    assert found["StateReason"] == "The function is currently idle."
    assert call(client, "again", version)["kind"] == "on-demand"
    until(lambda: settled(client, "again", version)["State"] == "Active")


def test_a_killed_template_takes_its_workers_and_the_function_goes_on(own):
    server = own(pool_blanks=0)
    client = server.client()
    version = publish(client, "killed", COUNTING)
    call(client, "killed", version)
    for zygote in zygotes(server.process.pid):
        for first in zygote.children():  # none yet, where it is just being started
            for process in first.children():
                process.kill()
    until(lambda: snapshots(server) == 0)
    assert call(client, "killed", version)["calls"] == 1


def test_numpy_can_be_copied_and_draws_its_own_numbers(server, client):
    source = """
import numpy
numpy.zeros((300, 300)) @ numpy.zeros((300, 300))
def handler(event, context):
    import time; time.sleep(0.3)
    product = numpy.ones((200, 200)) @ numpy.ones((200, 200))
    return {"drawn": numpy.random.random(), "product": product[0, 0]}
"""
    version = publish(client, "numpy", {"handler.py": source, **distribution("numpy")}, MemorySize=512, Timeout=30)
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda _: call(client, "numpy", version), range(3)))
    assert {answer["product"] for answer in answers} == {200.0}
    assert len({answer["drawn"] for answer in answers}) == 3
    assert metric(server, "hotfork_cold_starts_total", function="numpy", kind="snapshot") == 3


def test_when_safe_all_functions_have_snapshots_whose_init_takes_a_while(own):
    server = own(snapshots_mode="when-safe")
    client = server.client()
    create(client, "slow", "import time; time.sleep(0.1)\n" + COUNTING)
    create(client, "quick", "def handler(event, context): pass")
    assert call(client, "slow")["kind"] == "on-demand"
    call(client, "quick")
    until(lambda: snapshots(server) == 1)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        kinds = list(threads.map(lambda _: call(client, "slow", sleep=0.3)["kind"], range(4)))
    assert sorted(kinds) == ["on-demand", "snap-start", "snap-start", "snap-start"]
    client.update_function_configuration(FunctionName="slow", Description="other")
    until(lambda: snapshots(server) == 0)


def test_off_means_off(own):
    server = own(snapshots_mode="off")
    client = server.client()
    create(client, "off", COUNTING, SnapStart={"ApplyOn": "PublishedVersions"})
    version = client.publish_version(FunctionName="off")["Version"]
    assert call(client, "off", version)["kind"] == "on-demand"
    assert call(client, "off", version)["calls"] == 2
    assert snapshots(server) == snapshots(server, "making") == 0


def test_nothing_of_templates_is_left_when_the_server_ends(own):
    server = own()
    client = server.client()
    version = publish(client, "left", COUNTING)
    call(client, "left", version)
    until(lambda: ahead(server) == 1)
    family = [server.process.pid, *(one.pid for one in psutil.Process(server.process.pid).children(recursive=True))]
    server.kill()
    until(lambda: not [pid for pid in family if running(pid)])


def test_a_copy_that_was_made_ahead_begins_when_it_is_taken(own):
    """It is nobody's before, and then what any is: a /tmp, a clock, numbers and hooks of its own."""
    server = own(pool_max_invocations=1)
    client = server.client()
    version = publish(client, "early", COUNTING)
    assert ahead(server) == 0, "none before there was a start"
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: call(client, "early", version, sleep=0.3), range(4)))
    until(lambda: ahead(server) >= 3 and workers(server) == 0)
    called = time.time()
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        later = list(threads.map(lambda _: call(client, "early", version, sleep=0.3), range(3)))
    for answer in later:
        assert (answer["kind"], answer["calls"], answer["pid"], answer["tmp"]) == ("snap-start", 1, 1, [])
        assert answer["stream"] == [answer["log"]]
        assert len(answer["restored"]) == 1
        assert called <= answer["restored"][0] <= time.time()
    answers += later
    assert len({answer["init"] for answer in answers}) == 1
    for values in zip(*(answer["drawn"] for answer in answers), strict=True):
        assert len(set(values)) == len(answers)
    assert metric(server, "hotfork_cold_starts_total", function="early", kind="snapshot") == 7


def test_copies_made_ahead_serve_no_other_version_and_die_with_their_snapshot(own):
    server = own(pool_max_invocations=1)
    client = server.client()
    first = publish(client, "redeployed", "import ctypes\nctypes.CDLL(None).prctl(15, b'first')\n" + COUNTING)
    before = call(client, "redeployed", first)
    until(lambda: ahead(server) == 1)
    client.update_function_code(FunctionName="redeployed", ZipFile=zipped({"handler.py": COUNTING + "# second"}))
    second = publish_next(client, "redeployed")
    assert call(client, "redeployed", second)["init"] != before["init"]
    assert call(client, "redeployed", first)["init"] == before["init"]
    until(lambda: ahead(server) == 2)
    client.delete_function(FunctionName="redeployed", Qualifier=first)
    until(lambda: named(server, "first") == 0)
    assert ahead(server) == 1
    for process in templates(server):
        process.kill()
    until(lambda: ahead(server) == 0)
    assert call(client, "redeployed", second)["calls"] == 1


def templates(server):
    """Return the second processes of templates, which copies are forked by."""
    found = [one for zygote in zygotes(server.process.pid) for one in zygote.children(recursive=True)]
    return [one for one in found if names(one.pid)[-1] == "2"]


def test_copies_made_ahead_delay_no_end_of_the_server(own):
    server = own(pool_max_invocations=1)
    client = server.client()
    version = publish(client, "ending", COUNTING)
    call(client, "ending", version)
    until(lambda: ahead(server) == 1)
    family = [server.process.pid, *(one.pid for one in psutil.Process(server.process.pid).children(recursive=True))]
    assert server.stop() == 0
    until(lambda: not [pid for pid in family if running(pid)])  # killed, and on their way out
    assert "Traceback" not in Path(server.log.name).read_text()


def test_without_blanks_no_copy_is_made_ahead(own):
    server = own(pool_blanks=0, pool_max_invocations=1)
    version = publish(server.client(), "none-ahead", COUNTING)
    for _ in range(3):
        assert call(server.client(), "none-ahead", version)["kind"] == "snap-start"
        assert ahead(server) == 0


WRITING = """
import mmap, resource
large = bytearray(1000 * mmap.PAGESIZE)
large[:] = b"x" * len(large)
def handler(event, context):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for place in range(0, len(large), mmap.PAGESIZE):
        large[place] = 1
    return {"faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before}
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="which pages a copy wrote to is for root to see")
def test_a_copy_made_ahead_has_what_others_wrote_to(own):
    server = own(pool_max_invocations=1)
    client = server.client()
    version = publish(client, "writing", WRITING)
    assert call(client, "writing", version)["faults"] > 900, "each page is shared until it is written to"

    def one_has_them():
        (template,) = templates(server)
        try:
            return any(copy.memory_full_info().uss > 900 * mmap.PAGESIZE for copy in template.children())
        except psutil.NoSuchProcess:
            return False

    for _ in range(3):  # those that were made before the first call ended, and were not told
        until(lambda: ahead(server) > 0)
        call(client, "writing", version)
    until(one_has_them)
    until(lambda: call(client, "writing", version)["faults"] < 100)
