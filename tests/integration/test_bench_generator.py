"""The load generator against a server whose latency is known, and the command and harness around it."""

import itertools
import random
import socket
import time

import bench_toy_server as toy
import pytest
from click import testing

from bench import __main__ as command
from bench import client, harness, load, plan, procfs, result
from bench.scenarios import scrape

MS = 1_000_000


def a_plan(server, **changes):
    calls = changes.pop("calls", [plan.Call(path="/", body="{}")])
    return plan.Plan(**{"host": "127.0.0.1", "port": server.port, "calls": calls, **changes})


def test_an_open_loop_shows_a_stall_as_users_feel_it_and_a_closed_loop_does_not():
    # Due every 5 ms, 100 requests; the server stalls for 300 ms at the tenth. Whoever is due i * 5 ms after the tenth
    # waits at least 300 - i * 5 ms, however fast the machine is: 60 requests feel it, and the second longest wait, the
    # 99th percentile of 100, is at least 295 ms.
    stall = 300
    with toy.ToyServer(toy.stalling(10, stall / 1000)) as server:
        opened = load.run(a_plan(server, open=plan.Open(rate=200), duration_s=0.5, connections=1))
    waits = sorted(opened.outcomes["200"].samples, reverse=True)
    assert len(waits) == 100
    for i in range(60):
        assert waits[i] >= (stall - 5 * i) * MS
    assert opened.waited >= 50
    # Counted from the sending, as most tools do, one request alone took that long.
    assert sum(took >= stall * MS for took in opened.service.samples) == 1

    with toy.ToyServer(toy.stalling(10, stall / 1000)) as server:
        closed = load.run(a_plan(server, count=100, duration_s=10))
    assert sum(wait >= stall * MS for wait in closed.outcomes["200"].samples) == 1


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("arrival", ["constant", "poisson"])
def test_a_short_stall_is_felt_by_all_who_were_due_in_it(connections, arrival):
    # 10 ms at 2,000 a second: 20 requests are due in the stall, if they come evenly.
    with toy.ToyServer(toy.stalling(5, 0.01)) as server:
        result = load.run(
            a_plan(
                server,
                open=plan.Open(rate=2000, arrival=arrival),
                duration_s=0.1,
                connections=connections,
            )
        )
    waits = result.outcomes["200"].samples
    assert max(waits) >= 10 * MS
    assert result.timeline.slowest_ns
    assert max(result.timeline.slowest_ns) == max(waits)
    if arrival == "constant":
        assert sum(wait >= 5 * MS for wait in waits) >= 10
        assert len(waits) == 200


def test_recorded_latencies_are_never_less_than_injected():
    def answer(number, body):
        time.sleep(0.003)
        return toy.reply()

    with toy.ToyServer(answer) as server:
        for connections in (1, 3):
            result = load.run(a_plan(server, count=20, duration_s=10, connections=connections))
            histogram = result.outcomes["200"]
            assert histogram.count == 20
            assert histogram.min >= 3 * MS
            assert result.elapsed_s >= 20 * 0.003


def test_every_request_is_accounted_for():
    answers = {
        1: toy.reply(),
        2: toy.reply(b'{"ok": false}'),
        3: toy.reply(status=b"429 Too Many Requests"),
        4: toy.reply(head=b"x-amz-function-error: Unhandled\r\n"),
        5: None,
        6: b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n" + b'{"ok": true}',
        7: b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"ok":\r\n6\r\n true}\r\n0\r\n\r\n',
        8: b"not HTTP\r\n\r\n",
    }
    call = plan.Call(path="/", body="{}", equals='{"ok": true}')
    with toy.ToyServer(lambda number, body: answers.get(number, toy.reply())) as server:
        result = load.run(a_plan(server, calls=[call], count=10, duration_s=10))
        assert server.served == 10
        # After the closed, the closing and the garbled one.
        assert server.connections == 4
    counts = {name: each.count for name, each in result.outcomes.items()}
    assert counts == {"200": 5, "wrong": 1, "429": 1, "function-error": 1, "broken": 2}
    assert sum(result.timeline.answered) == 10
    assert (result.unsent, result.refused) == (0, 0)
    assert result.good_rate < result.rate


def test_large_bodies_go_out_and_come_back_whole():
    body = '"' + "x" * 3_000_000 + '"'
    call = plan.Call(path="/", body=body, equals=body)
    with toy.ToyServer(lambda number, sent: toy.reply(sent)) as server:
        result = load.run(a_plan(server, calls=[call], count=6, duration_s=60, connections=2))
    assert {name: each.count for name, each in result.outcomes.items()} == {"200": 6}


def test_what_has_no_answer_in_time_is_counted_with_the_time_it_waited():
    def answer(number, body):
        if number == 3:
            time.sleep(0.5)
        return toy.reply()

    with toy.ToyServer(answer) as server:
        gave_up = load.run(a_plan(server, count=3, duration_s=10, timeout_s=0.1))
        assert gave_up.outcomes["200"].count == 2
        assert gave_up.outcomes["timeout"].min >= 100 * MS

    with toy.ToyServer(answer) as server:
        cut = load.run(
            a_plan(server, open=plan.Open(rate=100), duration_s=0.1, connections=1, drain_s=0.1),
        )
    # The third request is due at 20 ms and is still waiting at 200 ms; seven more could not even be sent.
    assert cut.outcomes["unfinished"].count == 1
    assert cut.outcomes["unfinished"].min >= 150 * MS
    assert cut.unsent == 7


def test_a_caller_that_does_not_wait_leaves_and_counts_as_left():
    def answer(number, body):
        time.sleep(0.3 if body == b"slow" else 0)
        return toy.reply()

    slow = plan.Call(path="/", body="slow", leave_s=0.01)
    patient = plan.Call(path="/", body="quick", equals='{"ok": true}', leave_s=60)
    with toy.ToyServer(answer) as server:
        left = load.run(a_plan(server, calls=[slow], count=3, duration_s=10))
        assert {name: each.count for name, each in left.outcomes.items()} == {"left": 3}
        assert left.outcomes["left"].min >= 10 * MS
        answered = load.run(a_plan(server, calls=[patient], count=2, duration_s=10))
        assert {name: each.count for name, each in answered.outcomes.items()} == {"200": 2}
        # Each that left closed its connection; the patient one had one for both.
        assert server.connections == 3 + 1
        left = load.run(a_plan(server, calls=[slow], open=plan.Open(rate=20), duration_s=0.2, connections=2))
        assert {name: each.count for name, each in left.outcomes.items()} == {"left": 4}


def test_it_tells_which_calls_had_the_answer_that_was_wanted():
    calls = [plan.Call(path="/", body=str(number), equals=str(number % 2)) for number in range(6)]
    with toy.ToyServer(lambda number, body: toy.reply(b"1")) as server:
        result = load.run(a_plan(server, calls=calls, order="once", duration_s=60, list_good=True))
        assert result.good_calls == [1, 3, 5]
        assert load.run(a_plan(server, calls=calls, order="once", duration_s=60)).good_calls is None


def test_it_tells_when_each_request_was_due_and_ended():
    def answer(number, body):
        time.sleep(0.01 if number == 2 else 0)
        return toy.reply()

    before = time.monotonic_ns()
    with toy.ToyServer(answer) as server:
        opened = load.run(a_plan(server, open=plan.Open(rate=500), duration_s=0.05, connections=1, list_times=True))
        assert load.run(a_plan(server, count=2, duration_s=10)).times is None
    after = time.monotonic_ns()
    dues = [due for due, _ in opened.times]
    assert len(dues) == 25
    assert {later - due for due, later in itertools.pairwise(dues)} == {2 * MS}
    assert all(before < due < ended < after for due, ended in opened.times)
    assert [ended - due for due, ended in opened.times] == opened.outcomes["200"].samples
    assert opened.times[1][1] - opened.times[1][0] >= 10 * MS


def test_each_call_once():
    seen = []

    def answer(number, body):
        seen.append(body)
        return toy.reply()

    calls = [plan.Call(path="/", body=str(number)) for number in range(20)]
    with toy.ToyServer(answer) as server:
        load.run(a_plan(server, calls=calls, order="once", duration_s=60))
        assert seen == [str(number).encode() for number in range(20)]
        seen.clear()
        load.run(a_plan(server, calls=calls, order="once", duration_s=60, open=plan.Open(rate=500)))
        assert sorted(seen, key=int) == [str(number).encode() for number in range(20)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_requests_than_connections(count):
    with toy.ToyServer(lambda number, body: toy.reply()) as server:
        result = load.run(a_plan(server, count=count, duration_s=1e6, connections=4))
        assert sum(each.count for each in result.outcomes.values()) == server.served == count


def test_a_new_connection_for_every_request():
    with toy.ToyServer(lambda number, body: toy.reply()) as server:
        result = load.run(a_plan(server, count=7, duration_s=10, reconnect=True))
        assert result.outcomes["200"].count == 7
        assert server.connections == 7


def test_no_server_is_an_error_and_not_a_result():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    unused = plan.Plan(host="127.0.0.1", port=port, calls=[plan.Call(path="/")])
    with pytest.raises(load.LoadFailed, match="refused"):
        load.run(unused)


def test_a_server_that_goes_away_is_noticed_and_not_hammered():
    def answer(number, body):
        server.accepts = False

    with toy.ToyServer(answer) as server:
        result = load.run(a_plan(server, duration_s=0.3))
    assert "200" not in result.outcomes
    # Once broken, then at most one attempt at each tick of 50 ms.
    assert 1 <= result.outcomes["broken"].count <= 8
    # All attempts but the first, and one that may have been in the queue of the listener.
    assert result.outcomes["broken"].count - result.refused in (1, 2)


def test_the_command_measures_any_server_that_answers_the_invoke_path(tmp_path):
    page, file = tmp_path / "r.html", tmp_path / "r.json"
    with toy.ToyServer(lambda number, body: toy.reply()) as server:
        target = f"http://127.0.0.1:{server.port}"
        options = ["--function", "f", "--body", '{"n": 1}', "--duration", "0.1", "--repeat", "2"]
        files = ["--json", str(file), "--html", str(page)]
        ended = testing.CliRunner().invoke(command.main, ["http", "--target", target, *options, *files])
    assert ended.exit_code == 0, ended.output
    [found] = result.load(file)
    measures = {measure.name: measure for measure in found.measures}
    assert all(run.count for run in measures["http.c8.latency"].runs)
    assert len(measures["http.c1.rate"].values) == 2
    # A server that is not ours: what it takes of the CPU is unknown, what the generator takes is not.
    assert "http.c1.cpu.supervisor" not in measures
    assert measures["http.c1.cpu.generator"].values[0] > 0
    assert "<svg" in page.read_text()
    assert target in ended.output


def test_the_harness_starts_a_real_server_accounts_for_its_processes_and_ends_it():
    with harness.serve("auto") as server:
        server.create("hello")
        call = plan.Call(path=client.invoke_path("hello"), body="{}", equals='{"ok": true}')
        before = server.cpu()
        ran = server.run([call], count=20, duration_s=60, connections=2)
        taken = server.cpu() - before
        known = server.family()
        assert {name: each.count for name, each in ran.outcomes.items()} == {"200": 20}
        assert known.supervisor == server.pid
        assert known.zygotes
        assert known.workers  # and blanks, as many as the server likes
        assert taken.supervisor.total > 0
        assert taken.workers.total > 0
        pids = [known.supervisor, *known.zygotes, *known.workers]
    assert [pid for pid in pids if procfs.stat(pid) is not None] == []


def test_scrapes_that_stall_a_server_are_found():
    # A request without a body is a scrape. Calls cost the toy, and so its neighbours, next to nothing.
    def answer(number, body):
        if not body:
            time.sleep(0.05)
            return toy.reply(b"hotfork_invocations_total 1")
        return toy.reply()

    with toy.ToyServer(answer) as server, harness.attach(f"http://127.0.0.1:{server.port}") as attached:
        run = scrape.measured(attached, 1.5, random.Random(1))
    assert len(run.with_) == len(run.without) == len(run.scrapes) >= 2
    assert min(run.scrapes) >= 50 * MS
    # Calls are a millisecond apart: one was due in the first of the fifty, and waited for the rest.
    assert min(max(each) for each in run.with_) >= 49 * MS
    assert scrape.pairs([run]).share_above(0) > 0


def test_what_is_no_scrape_is_an_error():
    with toy.ToyServer(lambda number, body: toy.reply()) as server:
        attached = harness.attach(f"http://127.0.0.1:{server.port}")
        with attached as known, pytest.raises(load.LoadFailed, match="status 200"):
            scrape.measured(known, 0.1, random.Random(1))


def test_a_server_that_cannot_start_says_why():
    with pytest.raises(harness.NotReady, match="no_such_setting"), harness.serve("auto", "no_such_setting = 1\n"):
        pass
