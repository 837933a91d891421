"""Invoke over HTTP: a warm function at 1, 8 and 32 connections, and in an open loop."""

from typing import Any

from bench import client, machine, measure, plan, result, setting, summary

CONNECTIONS = (1, 8, 32)
OPEN_SHARE = 0.5
"""Of the rate at 8 connections: what the open loop asks for."""
OPEN_CONNECTIONS = 256


def call_of(given: setting.Setting) -> plan.Call:
    """Return the call to measure: of our own function, or of the one that was named."""
    if given.function is not None:
        return plan.Call(path=client.invoke_path(given.function), body=given.body or "{}")
    return plan.Call(path=client.invoke_path("hello"), body=given.body or "{}", equals='{"ok": true}')


def run(given: setting.Setting) -> result.Result:
    """Invoke over HTTP: a warm function at 1, 8 and 32 connections, and in an open loop."""
    environment = machine.environment()
    with given.server() as server:
        if given.function is None:
            server.create("hello")
        call = call_of(given)
        loads: dict[str, tuple[list[plan.Call], dict[str, Any]]] = {
            f"c{count}": ([call], {"connections": count}) for count in CONNECTIONS
        }
        closed = measure.interleaved(given, server, loads)
        pace = OPEN_SHARE * min(run.good_rate for run in closed["c8"].results)
        opened: dict[str, measure.Runs] = {}
        if pace > 0:
            opening = {"open": plan.Open(rate=pace, arrival="poisson"), "connections": OPEN_CONNECTIONS}
            opened = measure.interleaved(given, server, {"open": ([call], opening)})
        return _result(given, environment, server, closed | opened, pace)


def _result(
    given: setting.Setting, environment: machine.Environment, server: Any, found: dict[str, measure.Runs], pace: float
) -> result.Result:
    titles = {f"c{count}": f"{count} connection{'s' * (count > 1)}" for count in CONNECTIONS}
    titles["open"] = f"Poisson arrivals, {pace:,.0f}/s"
    measures: list[result.Measure] = []
    notes = []
    for key, runs in found.items():
        measures += [measure.latency(f"http.{key}", titles[key], runs)]
        if key != "open":
            measures += [measure.rate(f"http.{key}", titles[key], runs), *measure.cpu(f"http.{key}", titles[key], runs)]
        notes += measure.problems(titles[key], runs)
    rates = {m.name: summary.mean(m) for m in measures if isinstance(m, result.Scalar)}
    plots: list[result.Plot] = [
        result.Latency(title="Latency by percentile", measures=[f"http.{key}.latency" for key in found]),
        result.Lines(
            title="Throughput by concurrency",
            x="connections",
            y="answers",
            unit="1/s",
            series=[
                result.Series(
                    name="hotfork",
                    x=[float(count) for count in CONNECTIONS],
                    y=[rates[f"http.c{count}.rate"] for count in CONNECTIONS],
                )
            ],
        ),
    ]
    plots += measure.cpu_plot("http", {key: title for key, title in titles.items() if key != "open"}, rates)
    return given.result(
        "http",
        "Invoke over HTTP, warm",
        server,
        environment,
        measures=measures,
        plots=plots,
        notes=[
            *notes,
            "The load generator runs on the same machine, and its CPU time per request is in the table.",
            "With Poisson arrivals, latency counts from when a request was due, whether or not it could be sent then.",
        ],
    )
