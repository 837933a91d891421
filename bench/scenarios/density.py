"""Density: memory of idle workers after one call, of hello and of a heavy snapshot."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable

from bench import client, harness, heavy, machine, measure, plan, procfs, result, setting, text

WORKERS = 200
SETTINGS = "[pool]\naccount_concurrency = {}\nblanks = 0\n"
"""Without blanks, so that every worker has served."""
_SETTLE_S = 1.0
_HOLD_S = 4.0
_HOLD_EACH_S = 0.03
"""How long each call of the snapshot sleeps, so that each gets a worker of its own: this much, and this for each."""
_TIMEOUT_S = 180.0

_OTHERS = ("snapshot", "supervisor", "zygote")

_Load = Callable[[], plan.Result]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Workers of one kind, and what they took, run by run, in bytes."""

    key: str
    title: str
    prepare: Callable[[harness.Server, int], _Load]
    """Makes functions, and gives what calls for so many workers."""
    each: list[list[int]] = dataclasses.field(default_factory=list)
    """PSS of every worker."""
    calls: measure.Runs = dataclasses.field(default_factory=lambda: measure.Runs([], []))
    lost: list[float] = dataclasses.field(default_factory=list)
    others: dict[str, list[float]] = dataclasses.field(default_factory=lambda: {name: [] for name in _OTHERS})
    """PSS of what is no worker; the snapshot is what was there before the first call."""

    @property
    def pss(self) -> list[float]:
        """The mean of each run."""
        return [sum(found) / max(len(found), 1) for found in self.each]


def run(given: setting.Setting) -> result.Result:
    """Memory of idle workers after one call, of hello and of a heavy snapshot."""
    given.demand_own_server("it reads its processes' memory")
    count = given.count or WORKERS
    environment = machine.environment()
    code = heavy.files(given.say)
    variants = [
        Variant(key="hello", title="hello", prepare=_hello),
        Variant(key="heavy", title="heavy snapshot", prepare=lambda server, number: _heavy(server, number, code)),
    ]
    for turn in given.turns():
        for each in variants:
            with given.server(SETTINGS.format(count + 100)) as server:
                given.say(f"{each.title}, {count} workers: run {turn + 1} of {given.repeat}")
                _run(server, count, each)
                confined = server
    return given.result(
        "density",
        f"Memory of {count} idle workers",
        confined,
        environment,
        measures=[one for each in variants for one in measures(each)],
        tables=[_table(variants)],
        plots=[_plot(variants)],
        notes=[
            *(note for each in variants for note in problems(each, count)),
            f"hello: {count} functions were called once each, and their workers are idle.",
            f"heavy snapshot: {count} calls at once of one function that imports numpy, pandas and boto3.",
            "PSS: a page's size shared among all who map it: the more, the less each. It leaves out page tables.",
            "MemAvailable: holds those as well, and whatever else happened on the machine meanwhile.",
        ],
    )


def _hello(server: harness.Server, count: int) -> _Load:
    names = [f"density-{number}" for number in range(count)]
    for name in names:
        server.create(name, client.bench_function("hello"))
    calls = [plan.Call(path=client.invoke_path(name), body="{}", equals='{"ok": true}') for name in names]
    return lambda: server.run(calls, order="once", duration_s=_TIMEOUT_S)


def _heavy(server: harness.Server, count: int, code: dict[str, str | bytes]) -> _Load:
    version = heavy.publish(server, "density", code, MemorySize=512, Timeout=900)
    call = heavy.call("density", version, body=f'{{"seconds": {_HOLD_S + _HOLD_EACH_S * count}}}')
    return lambda: server.run([call], connections=count, count=count, duration_s=_TIMEOUT_S, timeout_s=_TIMEOUT_S)


def _run(server: harness.Server, count: int, variant: Variant) -> None:
    load = variant.prepare(server, count)
    time.sleep(_SETTLE_S)
    templates = _workers(server)
    before = procfs.memory_available()
    variant.calls.results.append(load())
    time.sleep(_SETTLE_S)
    variant.lost.append((before - procfs.memory_available()) / count)
    known = server.family()
    assert known is not None
    variant.each.append(_pss(pid for pid in known.workers if pid not in templates))
    for name, pids in zip(_OTHERS, (templates, [known.supervisor], known.zygotes), strict=True):
        variant.others[name].append(float(sum(_pss(pids))))


def _workers(server: harness.Server) -> frozenset[int]:
    known = server.family()
    assert known is not None
    return frozenset(known.workers)


def _pss(pids: Iterable[int]) -> list[int]:
    return [size for size in map(procfs.pss, pids) if size is not None]


def measures(variant: Variant) -> list[result.Measure]:
    """Return what is known of one kind of workers."""
    what = {
        "pss": ("a worker, PSS", variant.pss),
        "available": ("a worker, loss of MemAvailable", variant.lost),
        **{name: (f"{name}, PSS", values) for name, values in variant.others.items() if any(values)},
    }
    return [
        result.Scalar(
            name=f"density.{variant.key}.{name}",
            title=f"{variant.title}: {title}",
            unit="B",
            values=values,
            better="lower",
        )
        for name, (title, values) in what.items()
    ]


def _table(variants: list[Variant]) -> result.Table:
    rows = []
    for variant in variants:
        spread = sorted(size for run in variant.each for size in run)
        shares = [spread[round(share * (len(spread) - 1))] for share in (0.0, 0.5, 0.99, 1.0)] if spread else []
        rows.append([variant.title, f"{len(spread)}", *(text.quantity(size, "B") for size in shares or [0] * 4)])
    return result.Table(title="PSS of the workers", columns=["", "n", "min", "p50", "p99", "max"], rows=rows)


def _plot(variants: list[Variant]) -> result.Plot:
    series = [
        result.Series(name=each.title, y=[statistics.fmean(each.pss), statistics.fmean(each.lost)]) for each in variants
    ]
    return result.Bars(title="Memory of a worker", unit="B", categories=["PSS", "MemAvailable"], series=series)


def problems(variant: Variant, count: int) -> list[str]:
    """Return what was not as it should be with one kind of workers."""
    fewer = [f"{len(run)}" for run in variant.each if len(run) != count]
    return [
        *measure.problems(variant.title, variant.calls),
        *([f"{variant.title}: the memory of {', '.join(fewer)} workers was read, not of {count}."] if fewer else []),
    ]
