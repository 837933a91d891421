"""Isolation per invocation: what it costs that each call gets a worker of its own."""

from typing import Any

from bench import client, harness, heavy, machine, measure, plan, result, setting

RATES = (20.0, 100.0)
"""Calls a second: what is held ready shows when there is time between calls."""


def run(given: setting.Setting) -> result.Result:
    """Isolation per invocation: what it costs that each call gets a worker of its own."""
    given.demand_own_server("it tags functions")
    environment = machine.environment()
    with given.server() as server:
        kinds = _functions(server)
        loads: dict[str, tuple[list[plan.Call], dict[str, Any]]] = {}
        for kind, path in kinds.items():
            calls = [plan.Call(path=path, body="{}", equals='{"ok": true}')]
            loads[f"{kind}.closed"] = (calls, {"connections": 1})
            loads |= {
                f"{kind}.{rate:.0f}": (calls, {"open": plan.Open(rate=rate), "connections": 16}) for rate in RATES
            }
        found = measure.interleaved(given, server, loads)
        measures: list[result.Measure] = []
        for name, runs in found.items():
            kind, _, load = name.partition(".")
            title = f"{kind}, " + ("one after the other" if load == "closed" else f"{load} calls a second")
            measures += [
                measure.latency(f"isolation.{name}", title, runs),
                *measure.cpu(f"isolation.{name}", title, runs),
            ]
        measures += [
            measure.rate(f"isolation.{kind}", f"{kind}, one after the other", found[f"{kind}.closed"]) for kind in kinds
        ]
        return given.result(
            "isolation",
            "Isolation per invocation, hello",
            server,
            environment,
            measures=measures,
            notes=[
                *(note for name, runs in found.items() for note in measure.problems(name, runs)),
                "shared: a worker serves one call after the other.",
                "isolated: each call gets a copy of a snapshot, one that is held ready, which is discarded after it.",
            ],
        )


def _functions(server: harness.Server) -> dict[str, str]:
    """Return the paths of the same function, with shared and with isolated workers."""
    code: dict[str, str | bytes] = {**client.bench_function("hello")}
    server.create("shared", code)
    version = heavy.publish(server, "isolated", code, Tags={"hotfork:isolation": "invocation"})
    return {
        "shared": client.invoke_path("shared"),
        "isolated": f"{client.invoke_path('isolated')}?Qualifier={version}",
    }
