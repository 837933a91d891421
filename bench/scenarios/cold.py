"""Cold starts over HTTP: functions whose code is known, none of which has a worker."""

from bench import client, floors, harness, histogram, machine, measure, metrics, plan, result, setting, text

STARTS = 100
"""Functions started in each run."""
PHASES = "hotfork_cold_start_phase_seconds"


def run(given: setting.Setting) -> result.Result:
    """Cold starts over HTTP: functions whose code is known, none of which has a worker."""
    given.demand_own_server("it makes hundreds of functions")
    environment = machine.environment()
    with given.server() as server:
        forks: list[histogram.Histogram] = []
        runs = measure.Runs([], [])
        warm = measure.Runs([], [])
        names = [f"cold-{turn}-{number}" for turn in range(given.repeat) for number in range(STARTS)]
        for done, name in enumerate(names):
            given.say(f"creating functions: {done + 1} of {len(names)}")
            server.create(name, client.bench_function("hello"))
        # The zygote is there, and no blank is half made.
        server.create("hello")
        server.api.invoke("hello")
        for turn in range(given.repeat):
            given.say(f"cold starts: run {turn + 1} of {given.repeat}")
            forks.append(floors.fork())
            mine = names[turn * STARTS : (turn + 1) * STARTS]
            _run(server, mine, runs)
            _run(server, mine, warm)
        measures: list[result.Measure] = [
            result.Distribution(name="cold.floor.fork", title="bare fork", runs=forks, better="neither"),
            measure.latency("cold", "cold, 1 at a time", runs),
            measure.latency("cold.second", "the second call of each", warm),
            *measure.cpu("cold", "a start and its call", runs),
        ]
        return given.result(
            "cold",
            "Cold starts, hello",
            server,
            environment,
            measures=measures,
            tables=[phases(server)],
            plots=[
                result.Bars(
                    title="Where the time of a start goes, means",
                    unit="s",
                    categories=["a cold start"],
                    series=[result.Series(name=name, y=[mean]) for name, (mean, _) in _phases(server).items()],
                    stacked=True,
                ),
                result.Latency(
                    title="Latency by percentile", measures=["cold.floor.fork", "cold.latency", "cold.second.latency"]
                ),
            ],
            notes=[
                *measure.problems("cold", runs),
                "Cold: the function was created and never called; the interpreter's zygote runs. One call at a time.",
                "A latency is from the request to the whole answer: it holds a call like the second of each.",
            ],
        )


def _run(server: harness.Server, names: list[str], runs: measure.Runs) -> None:
    calls = [plan.Call(path=client.invoke_path(name), body="{}", equals='{"ok": true}') for name in names]
    before = server.cpu()
    runs.results.append(server.run(calls, order="once", duration_s=60.0))
    after = server.cpu()
    if before is not None and after is not None:
        runs.cpu.append(after - before)


def phases(server: harness.Server) -> result.Table:
    """Return where the server says that the time of its cold starts went."""
    rows = [[phase, text.quantity(mean, "s"), f"{count:,}"] for phase, (mean, count) in _phases(server).items()]
    return result.Table(title="Phases of the starts, as the server saw them", columns=["phase", "mean", "n"], rows=rows)


def _phases(server: harness.Server) -> dict[str, tuple[float, int]]:
    return metrics.means(server.scrape(), PHASES, "phase")
