"""Asynchronous events: how fast they are accepted, and whether any is lost when the server is killed."""

import os
import re
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import client, harness, load, machine, measure, metrics, plan, result, setting

CONNECTIONS = 32
SETTINGS = "[async_invoke]\nconcurrency = 4\n"
"""Few events run at once, so that accepting them is what is measured."""
_HEADERS = {"X-Amz-Invocation-Type": "Event"}
_QUEUED = "hotfork_async_events_queued"
_DRAIN_S = 300.0

_LOAD_S = 2.0
_KILL_AFTER_S = 1.0
_HELD_S = 12.0
"""Until then no event ends, so that none of them can be in the log when the server is killed."""
_EVENTS = 20_000
_WITNESS = """
import time


def handler(event, context):
    time.sleep(max(event["until"] - time.time(), 0))
    print("event", event["number"])
"""


def run(given: setting.Setting) -> result.Result:
    """Accept asynchronous events; then kill -9 the server under load, restart it, and count what is lost."""
    given.demand_own_server("it kills it")
    environment = machine.environment()
    with given.server(SETTINGS) as server:
        confined = server
        server.create("hello")
        call = plan.Call(path=client.invoke_path("hello"), body="{}", headers=_HEADERS)
        found = measure.interleaved(given, server, {"async": ([call], {"connections": CONNECTIONS})}, warm_up=False)
        began, waiting = time.monotonic(), _queued(server)
        _drain(given, server)
        drained = waiting / max(time.monotonic() - began, 1e-3)
    accepted, seen, runs = _crash(given)
    lost = accepted - seen.keys()
    measures: list[result.Measure] = [
        measure.rate("async", f"accepted, {CONNECTIONS} connections", found["async"]),
        measure.latency("async", f"accepted, {CONNECTIONS} connections", found["async"]),
        *measure.cpu("async", "an event, accepted", found["async"]),
        _scalar("async.drained", "run from the queue", "1/s", drained, "higher"),
        _scalar("async.crash.accepted", "accepted before kill -9", "", float(len(accepted)), "neither"),
        _scalar("async.crash.lost", "of these, lost", "", float(len(lost)), "lower"),
        _scalar("async.crash.again", "run more than once", "", float(sum(n > 1 for n in seen.values())), "neither"),
    ]
    return given.result(
        "async",
        "Asynchronous events",
        confined,
        environment,
        measures=measures,
        plots=[result.Latency(title="Latency of the 202, by percentile", measures=["async.latency"])],
        notes=[
            *measure.problems("accepted", found["async"]),
            f"Four events run at once. {len(lost)} of {len(accepted):,} accepted events were lost to kill -9.",
            f"Outcomes around the kill: {', '.join(f'{n} {name}' for name, n in sorted(runs.items()))}.",
        ],
    )


def _crash(given: setting.Setting) -> tuple[set[int], dict[int, int], dict[str, int]]:
    """Return the numbers of accepted events, how often each was run, and how requests ended around the kill."""
    with tempfile.TemporaryDirectory(prefix="hotfork-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        state = folder / "state"
        given.say("killing the server under load")
        with given.server(SETTINGS, state) as server:
            assert server.pid is not None
            server.create("witness", {"handler.py": _WITNESS}, Timeout=60)
            until = time.time() + _HELD_S
            path = client.invoke_path("witness")
            calls = [
                plan.Call(path=path, headers=_HEADERS, body=f'{{"number": {number}, "until": {until}}}')
                for number in range(_EVENTS)
            ]
            fields: dict[str, Any] = {"order": "once", "duration_s": _LOAD_S, "list_good": True, "drain_s": 0.5}
            with load.Running(server.towards(calls, connections=CONNECTIONS, **fields)) as running:
                time.sleep(_KILL_AFTER_S)
                os.kill(server.pid, signal.SIGKILL)
                ended = running.wait()
        with given.server(SETTINGS, state) as server:
            given.say("waiting for what was accepted")
            time.sleep(max(until - time.time(), 0))
            _drain(given, server)
            seen = _witnessed(server)
    outcomes = {outcome: each.count for outcome, each in ended.outcomes.items()}
    return set(ended.good_calls or ()), seen, outcomes


def _queued(server: harness.Server) -> float:
    _, page = server.api.raw("GET", "/metrics")
    return sum(value for (name, _), value in metrics.parse(page.decode()).items() if name == _QUEUED)


def _drain(given: setting.Setting, server: harness.Server) -> None:
    deadline = time.monotonic() + _DRAIN_S
    while (waiting := _queued(server)) > 0:
        if time.monotonic() > deadline:
            raise harness.NotReady(f"{waiting:g} events are still queued after {_DRAIN_S:g} s")
        given.say(f"{waiting:,.0f} events are queued")
        time.sleep(0.25)


def _witnessed(server: harness.Server) -> dict[int, int]:
    """Return how often each event is in the function's log."""
    seen: dict[int, int] = {}
    cursor = ""
    while True:
        page = server.api.call("GET", f"/_hotfork/logs/witness?limit=10000&after={cursor}")
        for event in page["events"]:
            match = None if event["platform"] else re.match(r"event (\d+)", event["message"])
            if match:
                seen[int(match.group(1))] = seen.get(int(match.group(1)), 0) + 1
        if not page["events"]:
            return seen
        cursor = page["cursor"]


def _scalar(name: str, title: str, unit: result.Unit, value: float, better: result.Better) -> result.Scalar:
    return result.Scalar(name=name, title=title, unit=unit, values=[value], better=better)
