"""Cold starts from a snapshot: a function that imports numpy, pandas and boto3, with and without."""

from bench import harness, heavy, machine, measure, result, setting

STARTS = 100
"""Of each run."""
STARTS_WITHOUT = 4
SETTINGS = "[pool]\nmax_invocations = 1\n"
"""A worker serves one call: so every call is a cold start, while the snapshot is there."""


def run(given: setting.Setting) -> result.Result:
    """Cold starts from a snapshot: a function that imports numpy, pandas and boto3, with and without."""
    given.demand_own_server("every call is to be a cold start")
    environment = machine.environment()
    code = heavy.files(given.say)
    count = given.count or STARTS
    with given.server(SETTINGS) as server:
        given.say("making the snapshot")
        version = heavy.publish(server, "heavy", code, MemorySize=512)
        with_, without = measure.Runs([], []), measure.Runs([], [])
        _run(server, None, 1, measure.Runs([], []))  # the page cache is warm
        for turn in range(given.repeat):
            given.say(f"cold starts: run {turn + 1} of {given.repeat}")
            _run(server, version, count, with_)
            _run(server, None, STARTS_WITHOUT, without)
        return given.result(
            "snapshot",
            "Cold starts from a snapshot: numpy, pandas, boto3",
            server,
            environment,
            measures=[
                measure.latency("snapshot", "cold, from a snapshot", with_),
                measure.latency("snapshot.without", "cold, without a snapshot", without),
                *measure.cpu("snapshot", "a start from a snapshot and its call", with_),
                *measure.cpu("snapshot.without", "a start without and its call", without),
            ],
            plots=[
                result.Latency(title="Latency by percentile", measures=["snapshot.latency", "snapshot.without.latency"])
            ],
            notes=[
                *measure.problems("with", with_),
                *measure.problems("without", without),
                "Cold: there is no worker, but a template; each worker serves one call. One call at a time.",
            ],
        )


def _run(server: harness.Server, version: str | None, count: int, runs: measure.Runs) -> None:
    before = server.cpu()
    runs.results.append(server.run([heavy.call("heavy", version)], connections=1, count=count, duration_s=60.0))
    after = server.cpu()
    if before is not None and after is not None:
        runs.cpu.append(after - before)
