"""Cold starts over HTTP: functions whose code is known, none of which has a worker; with and without the sandbox."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import (
    client,
    floors,
    harness,
    histogram,
    load,
    machine,
    measure,
    metrics,
    peers,
    plan,
    result,
    setting,
    text,
)
from bench.peers import peer

STARTS = 100
"""Functions started in each run one after the other, and as many as callers come."""
RATE = 10.0
"""Of those that come as callers do, a second: a Poisson process. Back to back, starts are as fast as the processors
make workers; callers who come now and then find one that is made already."""
PEER_STARTS = 20
PHASES = "hotfork_cold_start_phase_seconds"
_OURS = ("a cold start", "without the sandbox")


@dataclasses.dataclass(frozen=True, slots=True)
class _Ours:
    """A server of ours, and what came of it."""

    server: harness.Server
    cold: measure.Runs
    warm: measure.Runs
    apart: measure.Runs

    def start(self, names: list[str]) -> None:
        """Call the first half of the functions one after the other, twice, and the others as callers come."""
        half = len(names) // 2
        self._call(self.cold, names[:half])
        self._call(self.warm, names[:half])
        self._call(self.apart, names[half:], open=plan.Open(rate=RATE, arrival="poisson"), connections=32)

    def _call(self, runs: measure.Runs, names: list[str], **fields: Any) -> None:
        calls = [plan.Call(path=client.invoke_path(name), body="{}", equals='{"ok": true}') for name in names]
        runs.add(self.server, calls, order="once", duration_s=60.0, seed=len(runs.results), **fields)


@dataclasses.dataclass(frozen=True, slots=True)
class Other:
    """Somebody else's starts: the time of each, and CPU time in the mean, run by run."""

    name: str
    title: str
    latency: list[histogram.Histogram] = dataclasses.field(default_factory=list)
    cpu_s: list[float] = dataclasses.field(default_factory=list)

    def measures(self) -> list[result.Measure]:
        """Return what is known, where anything is."""
        name = f"cold.{self.name}"
        if not self.latency:
            return []
        return [
            result.Distribution(name=f"{name}.latency", title=self.title, runs=self.latency),
            result.Scalar(
                name=f"{name}.cpu.all",
                title=f"{self.title}: CPU, all",
                unit="s",
                values=self.cpu_s,
                better="lower",
            ),
        ]


def run(given: setting.Setting) -> result.Result:
    """Cold starts over HTTP: functions whose code is known, with and without the sandbox, and elsewhere."""
    given.demand_own_server("it makes hundreds of functions")
    environment = machine.environment()
    count, notes = given.count or STARTS, list[str]()
    names = [[f"cold-{turn}-{number}" for number in range(2 * count)] for turn in range(given.repeat)]
    forks: list[histogram.Histogram] = []
    ministack = Other("ministack", "MiniStack: first call of a function")
    executor = Other("pool", "ProcessPoolExecutor: first call of a new pool")
    with contextlib.ExitStack() as stack:
        ours = [stack.enter_context(_started(given, names))]
        if given.isolation != "none":
            ours.append(stack.enter_context(_started(dataclasses.replace(given, isolation="none"), names)))
        running = peer.started(peers.MINISTACK, stack, notes, given.say, may_install=given.install_peers)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hotfork-bench-")))
        for turn, mine in zip(given.turns(), names, strict=True):
            given.say(f"cold starts: run {turn + 1} of {given.repeat}")
            forks.append(floors.fork())
            for each in ours:
                each.start(mine)
            if running is not None:
                notes += _start_peer(running, mine[:PEER_STARTS], ministack)
            _start_pools(folder, count, executor)
        confined = ours[0]
        measures: list[result.Measure] = [
            result.Distribution(name="cold.floor.fork", title="bare fork", runs=forks, better="neither"),
            measure.latency("cold.apart", f"cold, {RATE:g} a second", confined.apart),
            measure.latency("cold", "cold, back to back", confined.cold),
            measure.latency("cold.second", "the second call of each", confined.warm),
            *measure.cpu("cold", "a start and its call", confined.cold),
        ]
        for bare in ours[1:]:
            measures += [
                measure.latency("cold.bare.apart", f"cold, {RATE:g} a second, without the sandbox", bare.apart),
                measure.latency("cold.bare", "cold, back to back, without the sandbox", bare.cold),
                *measure.cpu("cold.bare", "without the sandbox", bare.cold),
            ]
        measures += [*ministack.measures(), *executor.measures()]
        return given.result(
            "cold",
            "Cold starts, hello",
            confined.server,
            environment,
            measures=measures,
            tables=[phases(confined.server)],
            plots=[_stacked(ours), _latencies(measures)],
            notes=[
                *measure.problems("cold", confined.cold),
                *measure.problems("cold, now and then", confined.apart),
                *(note for bare in ours[1:] for note in measure.problems("without the sandbox", bare.cold)),
                *notes,
                f"{peers.EXECUTOR.name}: {peers.EXECUTOR.note}",
                *(f"{name}: starts by kind: {_kinds(each.server)}." for name, each in zip(_OURS, ours, strict=False)),
                "Cold: the function was created and never called; the interpreter's zygote runs.",
                "A latency is from the request to the whole answer: it holds a call like the second of each.",
            ],
        )


@contextlib.contextmanager
def _started(given: setting.Setting, names: list[list[str]]) -> Iterator[_Ours]:
    """Start a server that knows the functions, and has an idle worker of another one."""
    with given.server() as server:
        for each in (name for mine in names for name in mine):
            given.say(f"creating functions: {each}")
            server.create(each, client.bench_function("hello"))
        # The zygote is there, and no blank is half made.
        server.create("hello")
        server.api.invoke("hello")
        yield _Ours(server, measure.Runs([], []), measure.Runs([], []), measure.Runs([], []))


def _start_peer(running: peer.Running, names: list[str], other: Other) -> list[str]:
    """Create functions elsewhere, and call each for the first time; return what went wrong."""
    assert running.create is not None
    with contextlib.closing(client.Client(running.host, running.port)) as api:
        for each in names:
            running.create(api, each)
    calls = [plan.Call(path=client.invoke_path(each), body="{}", contains='"ok"') for each in names]
    before = running.cpu_s()
    found = load.run(plan.Plan(host=running.host, port=running.port, calls=calls, order="once", duration_s=60.0))
    after = running.cpu_s()
    runs = measure.Runs([found], [])
    other.latency.extend(runs.good())
    if before is not None and after is not None:
        other.cpu_s.append((after - before) / len(names))
    return measure.problems(other.name, runs)


def _start_pools(folder: Path, count: int, other: Other) -> None:
    for name, content in client.bench_function("hello").items():
        (folder / name).write_text(content, encoding="utf-8")
    cpu_s, taken = peers.EXECUTOR.measure_cold(folder, count)
    other.latency.append(taken)
    other.cpu_s.append(cpu_s / count)


def phases(server: harness.Server) -> result.Table:
    """Return where the server says that the time of its cold starts went."""
    rows = [[phase, text.quantity(mean, "s"), f"{count:,}"] for phase, (mean, count) in _phases(server).items()]
    return result.Table(title="Phases of the starts, as the server saw them", columns=["phase", "mean", "n"], rows=rows)


def _phases(server: harness.Server) -> dict[str, tuple[float, int]]:
    return metrics.means(server.scrape(), PHASES, "phase")


def _kinds(server: harness.Server) -> str:
    found = metrics.by(server.scrape(), "hotfork_cold_starts_total", "kind")
    return ", ".join(f"{number:g} {kind}" for kind, number in found.items() if number)


def _stacked(ours: list[_Ours]) -> result.Plot:
    found = [_phases(each.server) for each in ours]
    return result.Bars(
        title="Where the time of a start goes, means",
        unit="s",
        categories=list(_OURS[: len(ours)]),
        series=[result.Series(name=phase, y=[each.get(phase, (0.0, 0))[0] for each in found]) for phase in found[0]],
        stacked=True,
    )


def _latencies(measures: list[result.Measure]) -> result.Plot:
    names = [each.name for each in measures if isinstance(each, result.Distribution)]
    return result.Latency(title="Latency by percentile", measures=names)
