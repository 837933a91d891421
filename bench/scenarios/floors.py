"""Measure what this machine can do at best: raw pipes, a bare fork, a bare HTTP server."""

from bench import floors, machine, measure, result, setting

_CONNECTIONS = (1, 32)


def run(given: setting.Setting) -> result.Result:
    """Measure what this machine can do at best: raw pipes, a bare fork, a bare HTTP server."""
    environment = machine.environment()
    pipes, forks = [], []
    http = {count: measure.Runs([], []) for count in _CONNECTIONS}
    for turn in range(given.repeat):
        given.say(f"run {turn + 1} of {given.repeat}")
        pipes.append(floors.pipe())
        forks.append(floors.fork())
        for count, runs in http.items():
            runs.results.append(floors.http(count, given.duration_s))
    measures: list[result.Measure] = [
        result.Distribution(name="floors.pipe", title="raw pipes, round trip", runs=pipes),
        result.Distribution(name="floors.fork", title="bare fork", runs=forks),
    ]
    for count, runs in http.items():
        title = f"bare HTTP server, {count} connection{'s' * (count > 1)}"
        measures += [
            measure.latency(f"floors.http.c{count}", title, runs),
            measure.rate(f"floors.http.c{count}", title, runs),
            *measure.cpu(f"floors.http.c{count}", title, runs),
        ]
    return given.result(
        "floors",
        "What this machine can do at best",
        None,
        environment,
        measures=measures,
        notes=[
            "The bare HTTP server: an asyncio protocol on uvloop and httptools, in one process, answers a constant."
        ],
    )
