"""Asynchronous events: how fast they are accepted and run, how late, how fair, and what kill -9 loses of them."""

import contextlib
import dataclasses
import random
import time
from typing import Any

from bench import (
    backlog,
    client,
    crash,
    harness,
    histogram,
    load,
    machine,
    measure,
    pace,
    peers,
    plan,
    procfs,
    result,
    setting,
)
from bench.peers import peer

CONNECTIONS = (1, 8, 32)
OURS = "hotfork"
_PEER = peers.MINISTACK
_HEADERS = {"X-Amz-Invocation-Type": "Event"}
_SETTLED = 0.1
"""Part of a core: a peer that takes less has done what it accepted."""
_SETTLE_S = 60.0
_HALF = 0.5

_BACKLOG = 100_000
_SINGLES_PER_S = 20.0
_STOP_AT_ONCE = "[pool]\ndrain_timeout_s = 0\n"
_SLEEPS = "import time\ndef handler(event, context): time.sleep(event.get('sleep', 0))\n"
_RESERVED = "/2017-10-31/functions/backlog/concurrency"


@dataclasses.dataclass(frozen=True, slots=True)
class _Accepted:
    """What came of accepting, on us and on a peer."""

    runs: dict[tuple[str, int], measure.Runs] = dataclasses.field(default_factory=dict)
    """With the CPU time until all that was accepted has run, on our side."""
    through: list[float] = dataclasses.field(default_factory=list)
    """Events a second at most connections, until the last has run."""


def run(given: setting.Setting) -> result.Result:
    """Accept and run asynchronous events; hold one function's against another's backlog; kill -9 under load."""
    given.demand_own_server("it kills it")
    environment = machine.environment()
    notes: list[str] = []
    with given.server() as server:
        confined = server
        server.create("hello")
        server.create("witness", {"handler.py": backlog.WITNESS})
        with contextlib.ExitStack() as stack:
            accepted = _accept(given, server, _other(given, stack, notes))
        half = _HALF * sum(accepted.through) / len(accepted.through)
        late = [_end_to_end(given, server, half, turn) for turn in given.turns()]
    held = given.count or _BACKLOG
    drained, single = _beside(given, held)
    lost, said = crash.run(given)
    return given.result(
        "async",
        "Asynchronous events",
        confined,
        environment,
        measures=[
            *_of_accepting(accepted),
            _rate("async.through", f"{OURS}: accepted and run, {max(CONNECTIONS)} connections", accepted.through),
            _rate("async.drained", f"{OURS}: run from a backlog of {held:,}", [drained]),
            result.Distribution(name="async.half", title=f"{OURS}: due to run, half load ({half:,.0f}/s)", runs=late),
            result.Distribution(
                name="async.single", title=f"{OURS}: due to run, beside {held:,} of another", runs=[single]
            ),
            *lost,
        ],
        plots=[result.Latency(title="From when an event is due to its run", measures=["async.half", "async.single"])],
        notes=[
            *notes,
            *(each for key, runs in accepted.runs.items() for each in measure.problems(f"{key[0]}, {key[1]}", runs)),
            "CPU time is that of accepting and running.",
            said,
        ],
    )


def _other(given: setting.Setting, stack: contextlib.ExitStack, notes: list[str]) -> peer.Running | None:
    """Start the peer, if it is there."""
    running = peer.started(_PEER, stack, notes, given.say, may_install=given.install_peers)
    if running is not None:
        notes.append(f"{_PEER.name} keeps events in memory: its 202 does not say that they are on disk.")
    return running


def _accept(given: setting.Setting, server: harness.Server, other: peer.Running | None) -> _Accepted:
    """Send events, at each number of connections, to us and to the peer in turn, each while the other has none."""
    found = _Accepted()
    call = plan.Call(path=client.invoke_path("hello"), body="{}", headers=_HEADERS)
    server.run([call], connections=max(CONNECTIONS), duration_s=measure.WARM_UP_S)
    backlog.drain(given, server)
    for turn in given.turns():
        for connections in CONNECTIONS:
            fields: dict[str, Any] = {"connections": connections, "duration_s": given.duration_s}
            given.say(f"{OURS}, {connections} connections: run {turn + 1} of {given.repeat}")
            runs = found.runs.setdefault((OURS, connections), measure.Runs([], []))
            before = server.cpu()
            sent = server.run([call], **fields)
            began = time.monotonic()
            backlog.drain(given, server)
            after = server.cpu()
            runs.results.append(sent)
            if before is not None and after is not None:
                runs.cpu.append(after - before)
            if connections == max(CONNECTIONS):
                count = sum(each.count for each in sent.outcomes.values())
                found.through.append(count / (sent.elapsed_s + time.monotonic() - began))
            if other is not None:
                given.say(f"{_PEER.name}, {connections} connections: run {turn + 1} of {given.repeat}")
                theirs = plan.Plan(host=other.host, port=other.port, calls=[call], **fields)
                runs = found.runs.setdefault((_PEER.name, connections), measure.Runs([], []))
                runs.results.append(load.run(theirs))
                _settle(given, other)
    return found


def _settle(given: setting.Setting, other: peer.Running) -> None:
    """Wait until a peer does nothing any more."""
    assert other.pid is not None
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        before, began = procfs.family_cpu(other.pid).total, time.monotonic()
        time.sleep(0.5)
        if (procfs.family_cpu(other.pid).total - before).total < _SETTLED * (time.monotonic() - began):
            return
        given.say(f"{_PEER.name} still runs events")


def _end_to_end(given: setting.Setting, server: harness.Server, rate: float, turn: int) -> histogram.Histogram:
    """Return the times from when events were due to when they had run, at a rate."""
    given.say(f"half load: run {turn + 1} of {given.repeat}")
    return _numbered(given, server, rate, given.duration_s, first=(turn + 1) * 10_000_000)


def _beside(given: setting.Setting, count: int) -> tuple[float, histogram.Histogram]:
    """Return how many events a second run from a backlog, and the times of single events of another function."""
    call = plan.Call(path=client.invoke_path("backlog"), body="{}", headers=_HEADERS)
    hold = plan.Call(path=client.invoke_path("backlog"), body='{"sleep": 600}', headers=_HEADERS)
    with given.server(_STOP_AT_ONCE) as server:
        server.create("witness", {"handler.py": backlog.WITNESS})
        server.create("backlog", {"handler.py": _SLEEPS}, Timeout=900)
        # While it comes to be, one event holds up all others.
        server.api.call("PUT", _RESERVED, {"ReservedConcurrentExecutions": 1})
        server.run([hold], count=1, duration_s=60.0)
        given.say(f"queueing {count:,} events")
        server.run([call], connections=max(CONNECTIONS), count=count, duration_s=120.0)
        server.api.call("DELETE", _RESERVED)
        given.say("running them")
        began, before = time.monotonic(), backlog.waiting(server)
        time.sleep(given.duration_s)
        drained = (before - backlog.waiting(server)) / (time.monotonic() - began)
        given.say("single events beside them")
        return drained, _numbered(given, server, _SINGLES_PER_S, given.duration_s, first=0)


def _numbered(
    given: setting.Setting, server: harness.Server, rate: float, seconds: float, first: int
) -> histogram.Histogram:
    """Send events with numbers at a rate, and return when they ran, counted from when they were due."""
    pattern = plan.Open(rate=rate, arrival="poisson")
    dues = list(pace.due_times(pattern, seconds, None, random.Random(first)))  # noqa: S311 - reproducible on purpose
    calls = [
        plan.Call(path=client.invoke_path("witness"), headers=_HEADERS, body=f'{{"number": {first + index}}}')
        for index in range(len(dues))
    ]
    fields: dict[str, Any] = {"open": pattern, "order": "once", "connections": max(CONNECTIONS), "seed": first}
    sent = server.run(calls, duration_s=seconds, **fields)
    backlog.drain(given, server, "witness")
    times = backlog.ran(server, "witness")
    missing = [index for index in range(len(dues)) if first + index not in times]
    if missing:
        outcomes = ", ".join(f"{each.count} {outcome}" for outcome, each in sorted(sent.outcomes.items()))
        raise harness.NotReady(f"{len(missing)} of {len(dues)} events did not run; requests: {outcomes}")
    return histogram.of(int((times[first + index][0] - sent.started_at) * 1e9) - due for index, due in enumerate(dues))


def _of_accepting(accepted: _Accepted) -> list[result.Measure]:
    measures: list[result.Measure] = []
    for (name, connections), runs in accepted.runs.items():
        key = f"async.c{connections}" if name == OURS else f"async.{name}.c{connections}"
        title = f"{name}: accepted, {connections} connection{'s' * (connections > 1)}"
        measures += [measure.rate(key, title, runs), measure.latency(key, title, runs)]
        if name == OURS:
            measures += measure.cpu(key, title, runs)
    return measures


def _rate(name: str, title: str, values: list[float]) -> result.Scalar:
    return result.Scalar(name=name, title=title, unit="1/s", values=values, better="higher")
