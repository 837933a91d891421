"""Other ways to run the same function, in the same run, interleaved: HTTP servers and process pools."""

import contextlib
import subprocess
import tempfile
import urllib.parse
from pathlib import Path

from bench import client, histogram, load, machine, measure, peers, plan, result, setting, summary
from bench.peers import peer, pools
from bench.scenarios import dispatch

CONNECTIONS = (1, 8, 32)
POOL_CALLS = 2000
OURS = "hotfork"


class _Servers:
    """Everybody who serves, ourselves included."""

    def __init__(self) -> None:
        self.running: dict[str, peer.Running] = {}
        self.notes: list[str] = []
        self.runs: dict[tuple[str, int], measure.Runs] = {}
        self.memory: dict[str, list[float]] = {}

    def run(self, name: str, connections: int, seconds: float) -> None:
        """Run one load against one of them."""
        server = self.running[name]
        found = load.run(
            plan.Plan(
                host=server.host, port=server.port, calls=[server.call], connections=connections, duration_s=seconds
            )
        )
        self.runs.setdefault((name, connections), measure.Runs([], [])).results.append(found)


def run(given: setting.Setting) -> result.Result:
    """Run the same function on other servers and process pools, interleaved with ours; --peers installs them."""
    given.demand_own_server("it measures ours beside the others")
    environment = machine.environment()
    with contextlib.ExitStack() as stack:
        everybody = _Servers()
        ours = stack.enter_context(given.server())
        ours.create("hello")
        call = plan.Call(path=client.invoke_path("hello"), body="{}", contains='"ok"')
        everybody.running[OURS] = peer.Running(ours.host, ours.port, ours.pid, call)
        _start(given, stack, everybody)
        for name in everybody.running:
            given.say(f"{name}: warming up")
            everybody.run(name, max(CONNECTIONS), measure.WARM_UP_S)
            everybody.runs.clear()
        for turn in range(given.repeat):
            for connections in CONNECTIONS:
                for name, server in everybody.running.items():
                    given.say(f"{name}, {connections} connections: run {turn + 1} of {given.repeat}")
                    everybody.run(name, connections, given.duration_s)
                    pss = server.memory()
                    if pss is not None and connections == max(CONNECTIONS):
                        everybody.memory.setdefault(name, []).append(float(pss))
    round_trips, notes = _pools(given)
    return given.result(
        "peers",
        "The same function elsewhere",
        ours,
        environment,
        measures=[*_measures(everybody), *round_trips],
        plots=_plots(everybody, round_trips),
        notes=[
            *everybody.notes,
            *notes,
            *(each for key, runs in everybody.runs.items() for each in measure.problems(f"{key[0]}, {key[1]}", runs)),
        ],
    )


def _start(given: setting.Setting, stack: contextlib.ExitStack, everybody: _Servers) -> None:
    for each in peers.SERVERS:
        running = peer.started(each, stack, everybody.notes, given.say, may_install=given.install_peers)
        if running is not None:
            everybody.running[each.name] = running
    for name, url in given.peers:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise setting.Unsuitable(f"--peer {name}: {url!r} is not a URL such as http://127.0.0.1:8080/")
        call = plan.Call(path=parts.path or "/", body=given.body or "{}")
        everybody.running[name] = peer.Running(parts.hostname, parts.port or 80, None, call)
        everybody.notes.append(f"{name}: {url}, as it was found.")


def _pools(given: setting.Setting) -> tuple[list[result.Distribution], list[str]]:
    """Return the round trips of process pools, and of our dispatch beside them."""
    found: dict[str, list[histogram.Histogram]] = {}
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hotfork-bench-") as name:
        folder = Path(name)
        for file, content in client.bench_function("hello").items():
            (folder / file).write_text(content, encoding="utf-8")
        for turn in range(given.repeat):
            given.say(f"dispatch: run {turn + 1} of {given.repeat}")
            found.setdefault(OURS, []).append(dispatch.inside_run(given, 1, 0).warm)
            for each in peers.POOLS:
                given.say(f"{each.name}: run {turn + 1} of {given.repeat}")
                _measure_pool(given, each, folder, found, notes)
    measures = [
        result.Distribution(name=f"peers.dispatch.{pool}", title=f"{pool}: round trip, no HTTP", runs=runs)
        for pool, runs in found.items()
    ]
    return measures, list(notes.values())


def _measure_pool(
    given: setting.Setting,
    pool: pools.Pool,
    folder: Path,
    found: dict[str, list[histogram.Histogram]],
    notes: dict[str, str],
) -> None:
    try:
        if given.install_peers:
            pool.install(given.say)
        found.setdefault(pool.name, []).append(pool.measure(folder, POOL_CALLS))
        notes[pool.name] = f"{pool.name}: {pool.note}"
    except (peer.NotInstalled, peer.Unwilling, subprocess.SubprocessError, OSError) as error:
        found.pop(pool.name, None)
        notes[pool.name] = f"Left out: {error}"


def _measures(everybody: _Servers) -> list[result.Measure]:
    measures: list[result.Measure] = []
    for (name, connections), runs in everybody.runs.items():
        title = f"{name}, {connections} connection{'s' * (connections > 1)}"
        measures += [
            measure.latency(f"peers.{name}.c{connections}", title, runs),
            measure.rate(f"peers.{name}.c{connections}", title, runs),
        ]
    for name, values in everybody.memory.items():
        measures.append(
            result.Scalar(
                name=f"peers.{name}.memory",
                title=f"{name}: PSS of all its processes after {max(CONNECTIONS)} connections",
                unit="B",
                values=values,
                better="lower",
            )
        )
    return measures


def _plots(everybody: _Servers, round_trips: list[result.Distribution]) -> list[result.Plot]:
    names = list(everybody.running)
    rates = [
        result.Series(
            name=f"{connections} connection{'s' * (connections > 1)}",
            y=[_rate(everybody.runs[name, connections]) for name in names],
        )
        for connections in CONNECTIONS
    ]
    times = [
        result.Series(name=label, y=[summary.typical(each, share) for each in round_trips])
        for label, share in (("p50", 0.5), ("p99", 0.99))
    ]
    labels = [each.title.partition(":")[0] for each in round_trips]
    return [
        result.Bars(title="Answers a second", unit="1/s", categories=names, series=rates),
        result.Bars(title="Round trip without HTTP", unit="s", categories=labels, series=times),
    ]


def _rate(runs: measure.Runs) -> float:
    return sum(run.good_rate for run in runs.results) / len(runs.results)
