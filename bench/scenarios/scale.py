"""Scale out: from no worker to 1,000 live ones of one function, and what another function feels of it."""

import time
from typing import Any

from bench import client, harness, histogram, load, machine, measure, metrics, plan, result, setting, text

WORKERS = 1000
HOLD_S = 4.0
HOLD_EACH_S = 0.012
"""How long each call sleeps, so that all of them live at the same time: this much, and this for each worker."""
BESIDE = 50.0
"""Calls a second to another, warm function meanwhile."""
BESIDE_CONNECTIONS = 16
SETTINGS = "[pool]\naccount_concurrency = {}\n"
_LAG = "hotfork_event_loop_lag_seconds_bucket"


def run(given: setting.Setting) -> result.Result:
    """Scale out: from no worker to 1,000 live ones of one function, and what another function feels of it."""
    given.demand_own_server("it counts its workers")
    count = given.count or WORKERS
    environment = machine.environment()
    with given.server(SETTINGS.format(count + 100)) as server:
        server.create("hello")
        call = plan.Call(path=client.invoke_path("hello"), body="{}", equals='{"ok": true}')
        server.run([call], duration_s=measure.WARM_UP_S)
        quiet, beside, starts = measure.Runs([], []), measure.Runs([], []), measure.Runs([], [])
        for turn in range(given.repeat):
            given.say(f"0 to {count} workers: run {turn + 1} of {given.repeat}")
            fields: dict[str, Any] = {
                "open": plan.Open(rate=BESIDE),
                "connections": BESIDE_CONNECTIONS,
                "drain_s": 30.0,
            }
            quiet.results.append(server.run([call], duration_s=2.0, **fields))
            _run(server, f"scale-{turn}", count, starts, (call, fields), beside)
        lag = _lag(server)
        entries = [_entries(each, _hold_s(count)) for each in starts.good()]
        measures: list[result.Measure] = [
            result.Scalar(
                name="scale.all",
                title=f"until all {count} have entered the handler",
                unit="s",
                values=[each.max * 1e-9 for each in entries if each.count],
                better="lower",
            ),
            result.Distribution(name="scale.entry", title="until each has entered the handler", runs=entries),
            *measure.cpu("scale", "a start and its call", starts),
            measure.latency("scale.quiet", "another function, before", quiet),
            measure.latency("scale.beside", "another function, meanwhile", beside),
        ]
        return given.result(
            "scale",
            f"0 to {count} workers",
            server,
            environment,
            measures=measures,
            plots=[_plot(entries)],
            notes=[
                *measure.problems("starts", starts),
                *measure.problems("beside", beside),
                *(
                    []
                    if all(each.max < _hold_s(count) * 1e9 for each in entries)
                    else ["Not all workers lived at once."]
                ),
                f"Each call sleeps {_hold_s(count):g} s; what it waited before is its latency less that sleep.",
                f"The server's own timers ran late by up to {lag}, it says (hotfork_event_loop_lag_seconds).",
            ],
        )


def _run(
    server: harness.Server,
    name: str,
    count: int,
    starts: measure.Runs,
    other: tuple[plan.Call, dict[str, Any]],
    beside: measure.Runs,
) -> None:
    server.create(name, client.bench_function("sleep"), MemorySize=128, Timeout=900)
    call = plan.Call(path=client.invoke_path(name), body=f'{{"seconds": {_hold_s(count)}}}', contains="slept_s")
    before = server.cpu()
    with load.Running(server.towards([other[0]], duration_s=_hold_s(count), **other[1])) as running:
        starts.results.append(server.run([call], connections=count, count=count, duration_s=60.0))
        beside.results.append(running.wait())
    after = server.cpu()
    if before is not None and after is not None:
        starts.cpu.append(after - before)
    server.api.delete(name)
    until_gone(server, BESIDE_CONNECTIONS)


def until_gone(server: harness.Server, most: int) -> None:
    """Wait until at most so many workers are left; raise NotReady after a minute."""
    deadline = time.monotonic() + 60
    while True:
        known = server.family()
        if known is None or len(known.workers) <= most:
            return
        if time.monotonic() > deadline:
            raise harness.NotReady(f"{len(known.workers)} workers are left after a minute")
        time.sleep(0.1)


def _hold_s(count: int) -> float:
    return HOLD_S + HOLD_EACH_S * count


def _entries(latencies: histogram.Histogram, held_s: float) -> histogram.Histogram:
    assert latencies.samples is not None
    return histogram.of(max(value - round(held_s * 1e9), 0) for value in latencies.samples)


def _lag(server: harness.Server) -> str:
    """Return the bound under which the server's event loop stayed."""
    _, page = server.api.raw("GET", "/metrics")
    found = metrics.parse(page.decode())
    buckets = {dict(labels)["le"]: value for (name, labels), value in found.items() if name == _LAG}
    if not buckets:
        return "an unknown time"
    whole = max(buckets.values())
    reached = min(float(bound) for bound, value in buckets.items() if value == whole)
    return text.quantity(reached, "s")


def _plot(entries: list[histogram.Histogram]) -> result.Plot:
    series = []
    for number, each in enumerate(entries):
        ordered = sorted(each.samples or [])
        steps = ordered[:: max(len(ordered) // 50, 1)]
        places = range(1, len(ordered) + 1)[:: max(len(ordered) // 50, 1)]
        series.append(
            result.Series(name=f"run {number + 1}", x=[ns * 1e-9 for ns in steps], y=[float(place) for place in places])
        )
    return result.Lines(
        title="Workers in their handler, over time",
        x="since the first request",
        x_unit="s",
        y="",
        unit="",
        series=series,
    )
