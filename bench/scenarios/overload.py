"""Overload: one function asked for ten times what it may take; how fast it is refused, and what another one feels."""

from typing import Any

from bench import client, load, machine, measure, plan, result, setting, summary

PLACES = 4
"""Reserved concurrency of the overloaded function."""
WORK_S = 0.02
"""What each of its calls takes, so it can serve PLACES / WORK_S a second."""
TIMES = 10
RATE = 100.0
"""Calls a second of the other function."""


def run(given: setting.Setting) -> result.Result:
    """Overload a function tenfold: how fast it is refused (429), and what another function feels of it."""
    given.demand_own_server("it sets concurrency limits")
    environment = machine.environment()
    with given.server() as server:
        server.create("hello")
        server.create("sleep")
        server.api.call("PUT", "/2017-10-31/functions/sleep/concurrency", {"ReservedConcurrentExecutions": PLACES})
        other = plan.Call(path=client.invoke_path("hello"), body="{}", equals='{"ok": true}')
        greedy = plan.Call(path=client.invoke_path("sleep"), body=f'{{"seconds": {WORK_S}}}')
        pace = TIMES * PLACES / WORK_S
        fields: dict[str, Any] = {"duration_s": given.duration_s, "connections": 64}
        mild = {**fields, "open": plan.Open(rate=RATE, arrival="poisson")}
        wild = {**fields, "open": plan.Open(rate=pace, arrival="poisson"), "connections": 512}
        server.run([other], duration_s=measure.WARM_UP_S)
        server.run([greedy], duration_s=measure.WARM_UP_S, connections=PLACES)
        quiet, beside, overloaded = (measure.Runs([], []) for _ in range(3))
        for turn in given.turns():
            given.say(f"run {turn + 1} of {given.repeat}")
            quiet.results.append(server.run([other], **mild))
            with load.Running(server.towards([greedy], **wild)) as running:
                beside.results.append(server.run([other], **mild))
                overloaded.results.append(running.wait())
        refused = [each.outcomes["429"] for each in overloaded.results if "429" in each.outcomes]
        measures: list[result.Measure] = [
            measure.latency("overload.quiet", "another function, alone", quiet),
            measure.latency("overload.beside", "another function, beside the overload", beside),
            result.Distribution(name="overload.refused", title="429 to the overloaded function", runs=refused),
            measure.latency("overload.served", "200 to the overloaded function", overloaded),
            measure.rate("overload.served", "200 to the overloaded function", overloaded),
        ]
        p99 = [summary.typical(each, 0.99) for each in measures[:2] if isinstance(each, result.Distribution)]
        return given.result(
            "overload",
            f"One function asked for {TIMES} times what it may take",
            server,
            environment,
            measures=measures,
            plots=[
                result.Latency(
                    title="Latency by percentile",
                    measures=["overload.quiet.latency", "overload.beside.latency", "overload.refused"],
                )
            ],
            notes=[
                *measure.problems("alone", quiet),
                *measure.problems("beside", beside),
                f"The other function's p99 grew {p99[1] / p99[0]:.2f}-fold.",
                f"The overloaded function: {pace:,.0f} calls/s of {WORK_S * 1000:g} ms; reserved concurrency {PLACES}.",
                f"The other one: {RATE:g} calls/s. Poisson arrivals; latency counts from when a call was due.",
            ],
        )
