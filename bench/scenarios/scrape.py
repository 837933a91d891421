"""Scrape /metrics with 500 functions: what it costs the calls beside it."""

import contextlib
import time
from typing import Any

from bench import client, harness, load, machine, measure, plan, result, setting, text

FUNCTIONS = 500
RATE = 500.0
"""Calls a second, beside which is scraped."""
SCRAPES = 4.0
"""A second: sixty times what Prometheus asks for by default."""
SETTINGS = "[pool]\nkeep_alive = 'fixed'\nidle_ttl_s = 1.0\n"


def run(given: setting.Setting) -> result.Result:
    """Scrape /metrics with 500 functions: what it costs the calls beside it."""
    given.demand_own_server("it makes hundreds of functions")
    environment = machine.environment()
    with given.server(SETTINGS) as server:
        _populate(given, server)
        call = plan.Call(path=client.invoke_path("hello"), body="{}", equals='{"ok": true}')
        scrape = plan.Call(method="GET", path="/metrics", contains="hotfork_invocations_total")
        fields: dict[str, Any] = {
            "open": plan.Open(rate=RATE, arrival="poisson"),
            "connections": 16,
            "duration_s": given.duration_s,
        }
        quiet, scraped, scrapes = (measure.Runs([], []) for _ in range(3))
        server.run([call], connections=4, duration_s=measure.WARM_UP_S)
        for turn in range(given.repeat):
            given.say(f"run {turn + 1} of {given.repeat}")
            quiet.results.append(server.run([call], **fields))
            with load.Running(server.towards([call], **fields)) as calls:
                scrapes.results.append(server.run([scrape], open=plan.Open(rate=SCRAPES), duration_s=given.duration_s))
                scraped.results.append(calls.wait())
        # The server has closed our first connection meanwhile: it idled for longer than it keeps one.
        with contextlib.closing(client.Client(server.host, server.port)) as api:
            _, page = api.raw("GET", "/metrics")
        measures: list[result.Measure] = [
            measure.latency("scrape.without", "calls, without scrapes", quiet),
            measure.latency("scrape.with", "calls, with scrapes", scraped),
            measure.latency("scrape.scrape", "scrapes", scrapes),
            result.Scalar(name="scrape.bytes", title="a scrape", unit="B", values=[float(len(page))], better="lower"),
        ]
        stalls = [text.quantity(max(run.max for run in runs.good()) * 1e-9, "s") for runs in (quiet, scraped)]
        return given.result(
            "scrape",
            f"Scraping with {FUNCTIONS} functions",
            server,
            environment,
            measures=measures,
            plots=[
                result.Latency(
                    title="Latency by percentile", measures=["scrape.without.latency", "scrape.with.latency"]
                )
            ],
            notes=[
                *measure.problems("without scrapes", quiet),
                *measure.problems("with scrapes", scraped),
                *measure.problems("scrapes", scrapes),
                f"Longest wait of a call: {stalls[0]} without scrapes, {stalls[1]} with {SCRAPES:g} a second.",
                f"{RATE:g} calls a second with Poisson arrivals; latency counts from when a call was due.",
            ],
        )


def _populate(given: setting.Setting, server: harness.Server) -> None:
    """Make the functions, call each once so that it has series, and wait until their workers are gone."""
    server.create("hello")
    names = [f"scrape-{number}" for number in range(FUNCTIONS)]
    for done, name in enumerate(names):
        given.say(f"creating functions: {done + 1} of {FUNCTIONS}")
        server.create(name, client.bench_function("hello"))
    before = server.family()
    # Blanks, which stay.
    least = len(before.workers) if before is not None else 0
    given.say("calling each once")
    calls = [plan.Call(path=client.invoke_path(name), body="{}") for name in names]
    server.run(calls, order="once", connections=2, duration_s=300.0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        known = server.family()
        if known is None or len(known.workers) <= least + 1:
            return
        given.say(f"waiting for idle workers to go: {len(known.workers)}")
        time.sleep(0.2)
