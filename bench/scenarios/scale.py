"""Scale out: from no worker to 1,000 live ones of one function, hello or a heavy snapshot, and what others feel."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from bench import (
    client,
    harness,
    heavy,
    histogram,
    load,
    machine,
    measure,
    memory,
    metrics,
    plan,
    result,
    setting,
    text,
)

WORKERS = 1000
HOLD_S = 4.0
BESIDE = 50.0
"""Calls a second to another, warm function meanwhile."""
BESIDE_CONNECTIONS = 16
BUDGET = 0.8
"""Part of the machine's memory that may be in use: the default of pool.host_memory_mb."""
SETTINGS = "[pool]\naccount_concurrency = {}\nhost_memory_mb = {}\n"
STALL_S = 0.02
"""The event loop's timers are to be no later: a bucket of its histogram."""
_TIMEOUT_S = 180.0
_FEW_WORKERS = 16
_LAG = "hotfork_event_loop_lag_seconds"
_QUIET_S = 2.0
_HELLO = plan.Call(path=client.invoke_path("hello"), body="{}", equals='{"ok": true}')
_OTHER: dict[str, Any] = {"open": plan.Open(rate=BESIDE), "connections": BESIDE_CONNECTIONS, "drain_s": 60.0}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A function that is scaled out, and what came of it, run by run."""

    key: str
    title: str
    hold_s: float
    """How long each call sleeps, so that all of them live at the same time."""
    create: Callable[[harness.Server, str], plan.Call]
    """Makes the function, and gives the call that sleeps."""
    starts: measure.Runs = dataclasses.field(default_factory=lambda: measure.Runs([], []))
    quiet: measure.Runs = dataclasses.field(default_factory=lambda: measure.Runs([], []))
    beside: measure.Runs = dataclasses.field(default_factory=lambda: measure.Runs([], []))
    lag: list[metrics.Observed] = dataclasses.field(default_factory=list)
    kinds: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """How many workers were made, and how."""
    watches: list[memory.Watch] = dataclasses.field(default_factory=list)

    @property
    def entries(self) -> list[histogram.Histogram]:
        """From the first request to each handler's entry."""
        return [_entries(each, self.hold_s) for each in self.starts.good()]


def run(given: setting.Setting) -> result.Result:
    """Scale out to 1,000 workers of one function, hello and a heavy snapshot, and what another function feels of it."""
    given.demand_own_server("it counts its workers")
    count = given.count or WORKERS
    environment = machine.environment()
    budget_mb = int(environment.memory_mb * BUDGET)
    variants = _variants(count, heavy.files(given.say))
    with given.server(SETTINGS.format(count + 100, budget_mb)) as server:
        server.create("hello")
        server.run([_HELLO], duration_s=measure.WARM_UP_S)
        # The machine is not looked at between bursts: it would look slow by what the last one left it to do.
        for turn in range(given.repeat):
            for each in variants:
                given.say(f"{each.title}, 0 to {count} workers: run {turn + 1} of {given.repeat}")
                _run(server, f"{each.key}-{turn}", count, each)
        return given.result(
            "scale",
            f"0 to {count} workers",
            server,
            environment,
            measures=[*(one for each in variants for one in measures(each, count)), failed(variants)],
            plots=[
                *(_plot(each) for each in variants),
                result.Latency(
                    title="Another function, by percentile",
                    measures=[f"scale.{each.key}.{when}.latency" for each in variants for when in ("quiet", "beside")],
                ),
            ],
            notes=[
                *(note for each in variants for note in notes(each, budget_mb)),
                "Heavy imports numpy, pandas and boto3; its snapshot is there before the first call.",
                "A call sleeps; what it waited before is its latency less that sleep.",
                f"Lag: {_LAG}, four timers a second; in each run the bound of the latest one's bucket.",
            ],
        )


def _variants(count: int, code: dict[str, str | bytes]) -> list[Variant]:
    hello_s, heavy_s = HOLD_S + 0.012 * count, HOLD_S + 0.03 * count

    def hello(server: harness.Server, name: str) -> plan.Call:
        server.create(name, client.bench_function("sleep"), MemorySize=128, Timeout=900)
        return plan.Call(path=client.invoke_path(name), body=f'{{"seconds": {hello_s}}}', contains="slept_s")

    def snapshot(server: harness.Server, name: str) -> plan.Call:
        version = heavy.publish(server, name, code, MemorySize=512, Timeout=900)
        return heavy.call(name, version, body=f'{{"seconds": {heavy_s}}}')

    return [
        Variant(key="hello", title="hello", hold_s=hello_s, create=hello),
        Variant(key="heavy", title="heavy snapshot", hold_s=heavy_s, create=snapshot),
    ]


def _run(server: harness.Server, name: str, count: int, variant: Variant) -> None:
    call = variant.create(server, name)
    variant.quiet.results.append(server.run([_HELLO], duration_s=_QUIET_S, **_OTHER))
    before, scraped = server.cpu(), server.scrape()
    beside = server.towards([_HELLO], duration_s=variant.hold_s, **_OTHER)
    with memory.Watch() as watch, load.Running(beside) as running:
        variant.starts.results.append(
            server.run([call], connections=count, count=count, duration_s=_TIMEOUT_S, timeout_s=_TIMEOUT_S)
        )
        variant.beside.results.append(running.wait())
    after, grown = server.cpu(), metrics.growth(scraped, server.scrape())
    if before is not None and after is not None:
        variant.starts.cpu.append(after - before)
    variant.watches.append(watch)
    variant.lag.append(metrics.observed(grown, _LAG))
    variant.kinds.append(metrics.by(grown, "hotfork_worker_starts_total", "kind"))
    server.api.delete(name)
    server.await_end_of_workers(but=_FEW_WORKERS)


def _entries(latencies: histogram.Histogram, held_s: float) -> histogram.Histogram:
    assert latencies.samples is not None
    return histogram.of(max(value - round(held_s * 1e9), 0) for value in latencies.samples)


def measures(variant: Variant, count: int) -> list[result.Measure]:
    """Return what is known of one function's starts."""
    name, title = f"scale.{variant.key}", variant.title
    scalars: dict[str, tuple[str, result.Unit, list[float]]] = {
        "all": (
            f"until all {count} have entered the handler",
            "s",
            [each.max * 1e-9 for each in variant.entries if each.count],
        ),
        "lag": ("longest lag of the event loop", "s", [each.most for each in variant.lag]),
        "memory": ("most that MemAvailable lost", "B", [float(each.most_taken) for each in variant.watches]),
    }
    return [
        *(
            result.Scalar(name=f"{name}.{key}", title=f"{title}: {what}", unit=unit, values=values, better="lower")
            for key, (what, unit, values) in scalars.items()
        ),
        result.Distribution(
            name=f"{name}.entry", title=f"{title}: until each has entered the handler", runs=variant.entries
        ),
        *measure.cpu(name, f"{title}: a start and its call", variant.starts),
        measure.latency(f"{name}.quiet", "another function, before", variant.quiet),
        measure.latency(f"{name}.beside", f"another function, meanwhile ({title})", variant.beside),
    ]


def failed(variants: Sequence[Variant]) -> result.Scalar:
    """Return how many calls failed, of all functions together, run by run."""
    runs = zip(*(variant.starts.results for variant in variants), strict=True)
    values = [
        float(sum(each.count for one in turn for name, each in one.outcomes.items() if not plan.is_good(name)))
        for turn in runs
    ]
    return result.Scalar(name="scale.failed", title="calls that failed", unit="", values=values, better="lower")


def notes(variant: Variant, budget_mb: int) -> list[str]:
    """Return what a reader must know of one function's starts."""
    title = variant.title
    samples = sum(each.count for each in variant.lag)
    late = sum(each.above(STALL_S) for each in variant.lag)
    made: collections.Counter[str] = collections.Counter()
    for each in variant.kinds:
        made.update({kind: round(number) for kind, number in each.items()})
    total_mb = machine.memory_mb()
    used_mb = max((total_mb - each.least_available / 2**20 for each in variant.watches), default=0)
    return [
        *measure.problems(f"{title}, starts", variant.starts),
        *measure.problems(f"{title}, another function before", variant.quiet),
        *measure.problems(f"{title}, another function meanwhile", variant.beside),
        *([] if _lived_at_once(variant) else [f"{title}: not all workers lived at once."]),
        f"{title}: starts by kind: {', '.join(f'{number:,} {kind}' for kind, number in made.items() if number)}.",
        f"{title}: each call sleeps {variant.hold_s:g} s.",
        f"{title}: {late} of {samples} timers of the event loop were more than {text.quantity(STALL_S, 's')} late.",
        f"{title}: memory in use on the machine: at most {used_mb:,.0f} MB; budget: {budget_mb:,} MB.",
    ]


def _lived_at_once(variant: Variant) -> bool:
    return all(each.max < variant.hold_s * 1e9 for each in variant.entries)


def _plot(variant: Variant) -> result.Plot:
    series = []
    for number, each in enumerate(variant.entries):
        ordered = sorted(each.samples or [])
        steps = ordered[:: max(len(ordered) // 50, 1)]
        places = range(1, len(ordered) + 1)[:: max(len(ordered) // 50, 1)]
        series.append(
            result.Series(name=f"run {number + 1}", x=[ns * 1e-9 for ns in steps], y=[float(place) for place in places])
        )
    return result.Lines(
        title=f"Workers in their handler, over time: {variant.title}",
        x="since the first request",
        x_unit="s",
        y="",
        unit="",
        series=series,
    )
