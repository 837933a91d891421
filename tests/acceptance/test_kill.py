"""Any process may be killed at any moment: callers hear of it, the server goes on, and nothing is left behind."""

import contextlib
import http.client
import json
import os
import signal
import threading
from pathlib import Path

import botocore.exceptions
import psutil
import pytest
from conftest import Server, create, until

SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return 1"


@pytest.fixture
def own(tmp_path):
    """A server of the test's own, to be treated badly."""
    one = Server(tmp_path / "state").start()
    yield one
    if one.process.poll() is None:
        one.stop()
    else:
        one.kill()


def below(pid):
    """Return the living descendants of a process."""
    return [one for one in psutil.Process(pid).children(recursive=True) if is_alive(one)]


def is_alive(process):
    """Return whether a process is there and no zombie."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def zygotes(pid):
    """Return the processes that a supervisor started as zygotes."""
    return [one for one in psutil.Process(pid).children() if "zygote" in " ".join(one.cmdline())]


def workers(pid):
    """Return the workers of a supervisor."""
    leaves = [one for zygote in zygotes(pid) for one in zygote.children(recursive=True) if not one.children()]
    return [one for one in leaves if not is_mounter(one)]


def is_mounter(process):
    """Return whether a process is what places the folders of functions; not, where it is gone."""
    try:
        return process.name() == "mounter"
    except psutil.NoSuchProcess:
        return False


def groups(pid):
    """Return the cgroups of a supervisor."""
    return [path for path in Path("/sys/fs/cgroup").glob(f"**/hotfork-{pid}-*/") if path.is_dir()]


def test_a_killed_zygote_ends_its_calls_and_is_replaced(own):
    client = own.client()
    create(client, "f", SLEEP, Timeout=60)
    client.invoke(FunctionName="f", Payload=b"{}")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.invoke(FunctionName="f", Payload=b'{"s": 50}')))
    thread.start()
    until(lambda: json.loads(own.get("/readyz")[1])["workers"]["busy"] == 1)
    for process in zygotes(own.process.pid):
        process.kill()
    thread.join(30)
    assert json.load(answers[0]["Payload"])["errorType"] == "Runtime.ExitError"
    assert json.load(client.invoke(FunctionName="f", Payload=b"{}")["Payload"]) == 1


def test_killed_workers_are_replaced(own):
    client = own.client()
    create(client, "f", SLEEP)
    for _ in range(5):
        client.invoke(FunctionName="f", Payload=b"{}")
        for worker in workers(own.process.pid):
            worker.kill()
        until(lambda: json.loads(own.get("/readyz")[1])["workers"]["idle"] == 0)


def test_a_killed_mounter_is_missed_by_nobody(own):
    client = own.client()
    mounters = []
    for number in range(6):
        name = f"f{number}"
        create(client, name, SLEEP)
        assert json.load(client.invoke(FunctionName=name, Payload=b"{}")["Payload"]) == 1
        until(lambda: sum(own.values("hotfork_blanks")) > 0)
        for one in [one for one in below(own.process.pid) if is_mounter(one)]:
            if number == 2:
                mounters.append(one)
                one.kill()
    assert len(mounters) == 1
    psutil.wait_procs(mounters, timeout=10)
    assert len([one for one in below(own.process.pid) if is_mounter(one)]) == 1
    (starts,) = [line for line in own.metrics() if line.startswith('hotfork_worker_starts_total{kind="blank"}')]
    assert float(starts.split()[-1]) >= 3
    assert json.loads(own.get("/readyz")[1])["workers"]["idle"] == 6


def test_a_call_that_comes_before_the_news_of_the_mounters_death_is_served(own):
    client = own.client()
    create(client, "f", SLEEP)
    until(lambda: any(is_mounter(one) for one in below(own.process.pid)))
    until(lambda: sum(own.values("hotfork_blanks")) > 0)
    (mounter,) = [one for one in below(own.process.pid) if is_mounter(one)]
    supervisor = psutil.Process(own.process.pid)
    with contextlib.closing(http.client.HTTPConnection(own.url.removeprefix("http://"), timeout=30)) as caller:
        caller.connect()
        supervisor.suspend()
        caller.request("POST", "/2015-03-31/functions/f/invocations", b"{}")  # what the supervisor finds first
        mounter.kill()
        psutil.wait_procs([mounter], timeout=10)
        supervisor.resume()
        assert caller.getresponse().read() == b"1"


def test_a_killed_supervisor_takes_everything_along_and_what_it_knew_is_kept(tmp_path):
    one = Server(tmp_path / "state").start()
    client = one.client()
    create(client, "f", SLEEP, Timeout=60)
    threads = [
        threading.Thread(target=_ignore, args=(client.invoke,), kwargs={"FunctionName": "f", "Payload": b'{"s": 50}'})
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    until(lambda: json.loads(one.get("/readyz")[1])["workers"]["busy"] == 50)
    family = below(one.process.pid)
    assert len(family) >= 51
    pid = one.process.pid
    one.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    for thread in threads:
        thread.join(30)
    again = Server(tmp_path / "state").start()
    assert json.load(again.client().invoke(FunctionName="f", Payload=b"{}")["Payload"]) == 1
    assert not groups(pid)
    mounts = Path("/proc/self/mounts").read_text()
    assert str(tmp_path) not in mounts
    assert again.stop() == 0
    assert not groups(again.process.pid)


def _ignore(call, **arguments):
    with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
        call(**arguments)


def test_sigterm_lets_calls_in_flight_finish_and_leaves_nothing(own):
    client = own.client()
    create(client, "f", SLEEP, Timeout=60)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.invoke(FunctionName="f", Payload=b'{"s": 1}')))
    thread.start()
    until(lambda: json.loads(own.get("/readyz")[1])["workers"]["busy"] == 1)
    family = below(own.process.pid)
    own.process.send_signal(signal.SIGTERM)
    thread.join(30)
    assert json.load(answers[0]["Payload"]) == 1
    assert own.process.wait(30) == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert not groups(own.process.pid)


def test_a_second_signal_does_not_wait(own):
    client = own.client()
    create(client, "f", SLEEP, Timeout=60)
    thread = threading.Thread(
        target=_ignore, args=(client.invoke,), kwargs={"FunctionName": "f", "Payload": b'{"s": 50}'}
    )
    thread.start()
    until(lambda: json.loads(own.get("/readyz")[1])["workers"]["busy"] == 1)
    own.process.send_signal(signal.SIGTERM)
    until(lambda: not _listens(own))
    own.process.send_signal(signal.SIGTERM)
    assert own.process.wait(20) == 0
    thread.join(30)


def _listens(server):
    try:
        return server.get("/healthz")[0] == 200
    except OSError:
        return False


def test_two_servers_do_not_share_a_state_folder(own):
    with pytest.raises(AssertionError, match="another hotfork server runs on"):
        Server(own.state_dir).start()


def test_a_timed_out_worker_is_dead_with_all_it_started(own):
    client = own.client()
    create(
        client,
        "daemon",
        "import subprocess, time\ndef handler(event, context):\n"
        "    subprocess.Popen(['sleep', '1234567'], start_new_session=True)\n    time.sleep(60)",
        Timeout=1,
    )
    answer = client.invoke(FunctionName="daemon", Payload=b"{}")
    assert json.load(answer["Payload"])["errorType"] == "Sandbox.Timedout"
    until(lambda: not [p for p in psutil.process_iter(["cmdline"]) if "1234567" in (p.info["cmdline"] or [])])


@pytest.mark.parametrize("blanks", [0, 2])
def test_descriptors_and_processes_come_back_to_where_they_were(tmp_path, blanks):
    own = Server(tmp_path / "state", env={"HOTFORK_POOL_BLANKS": str(blanks)}).start()
    client = own.client()
    for name in "abc":
        create(client, name, SLEEP)
        client.invoke(FunctionName=name, Payload=b"{}")
    supervisor = psutil.Process(own.process.pid)

    def replace_all(times):
        for _ in range(times):
            for name in "abc":
                client.update_function_configuration(FunctionName=name, Description=os.urandom(4).hex())
                client.invoke(FunctionName=name, Payload=b"{}")

    for _ in range(8):
        fds, family = supervisor.num_fds(), len(below(own.process.pid))
        replace_all(10)
        until(lambda: len(workers(own.process.pid)) == 3 + blanks)
        if supervisor.num_fds() <= fds and len(below(own.process.pid)) <= family:
            break  # before that, the stocks of cgroups and of disks for /tmp were filled
    else:
        pytest.fail("each round leaves something behind")
    own.stop()
