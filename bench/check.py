"""Says whether the promises of docs/performance.md are kept: ``python -m bench check``.

A promise is kept if the measured figure keeps it. If it does not, the machine may have been slower just then than the
reference machine is when quiet; how much slower, the floors tell (``floors``), which are measured right before and
right after each scenario, and between its repetitions. What a figure misses by no more than that is put down to the
machine, and the table says so. A floor that is faster than the reference changes nothing. Bytes, shares and ratios of
two figures of one run must keep their promise as they are.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Iterable
from typing import Literal

from bench import floors, result, setting, summary, text

Floor = Literal["pipe", "fork", "http", "rate", "none"]

REFERENCE: dict[Floor, float] = {"pipe": 45.4e-6, "fork": 377e-6, "http": 64.2e-6, "rate": 91_236.0, "none": 1.0}
"""Floors of the reference machine (2 cores of an AMD EPYC, virtual) when quiet, as ``python -m bench floors`` shows
them: p50 of raw pipes, of a bare fork, of the bare HTTP server at 1 connection; its rate at 32 connections. (Of the
pipes' round trip, 5 us where both ends share a processor, all but those are two wake-ups of the other one.)"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One figure that is promised."""

    row: int
    """In docs/performance.md."""
    what: str
    scenario: str
    floor: Floor
    limit: float
    """On the reference machine: at most this, or with ``least`` at least."""
    unit: result.Unit
    figure: Callable[[result.Result], float]
    least: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a promise."""

    promise: Promise
    measured: float
    slowness: float
    """How many times slower the machine was than the reference machine is when quiet; at least 1."""

    @property
    def kept(self) -> bool:
        """Whether it is kept, by the measured figure or as far as the machine allowed."""
        return self.kept_as_measured or self._keeps(self.scaled)

    @property
    def kept_as_measured(self) -> bool:
        """Whether the measured figure itself keeps it."""
        return self._keeps(self.measured)

    @property
    def scaled(self) -> float:
        """What the figure would have been on a machine that is not slow."""
        return self.measured * self.slowness if self.promise.least else self.measured / self.slowness

    def _keeps(self, figure: float) -> bool:
        limit = self.promise.limit
        return figure >= limit if self.promise.least else figure <= limit

    def __str__(self) -> str:
        if self.kept_as_measured:
            return "kept"
        if self.slowness == 1.0:
            return "MISSED"
        word = "kept," if self.kept else "MISSED, even"
        return f"{word} for a machine {self.slowness:.2f} times slower"


def _share(name: str, share: float) -> Callable[[result.Result], float]:
    return lambda found: summary.typical(_distribution(found, name), share)


def _mean(name: str) -> Callable[[result.Result], float]:
    return lambda found: summary.mean(_scalar(found, name))


def _ratio(over: str, under: str, share: float) -> Callable[[result.Result], float]:
    return lambda found: _share(over, share)(found) / _share(under, share)(found)


def _distribution(found: result.Result, name: str) -> result.Distribution:
    return next(each for each in found.measures if each.name == name and isinstance(each, result.Distribution))


def _scalar(found: result.Result, name: str) -> result.Scalar:
    return next(each for each in found.measures if each.name == name and isinstance(each, result.Scalar))


def _promise(
    row: int, what: str, floor: Floor, limit: float, unit: result.Unit, figure: Callable[[result.Result], float],
    *, scenario: str, least: bool = False,
) -> Promise:  # fmt: skip
    return Promise(
        row=row, what=what, scenario=scenario, floor=floor, limit=limit, unit=unit, figure=figure, least=least
    )


PROMISES: tuple[Promise, ...] = (
    _promise(1, "dispatch, p50", "pipe", 60e-6, "s", _share("dispatch.warm", 0.5), scenario="dispatch"),
    _promise(1, "dispatch, p99", "pipe", 500e-6, "s", _share("dispatch.warm", 0.99), scenario="dispatch"),
    _promise(2, "HTTP, 1 connection, p50", "http", 200e-6, "s", _share("http.c1.latency", 0.5), scenario="http"),
    _promise(2, "HTTP, 1 connection", "rate", 5_000, "1/s", _mean("http.c1.rate"), scenario="http", least=True),
    _promise(3, "HTTP, 32 connections", "rate", 12_000, "1/s", _mean("http.c32.rate"), scenario="http", least=True),
    _promise(4, "cold start, p50", "fork", 3e-3, "s", _share("cold.apart.latency", 0.5), scenario="cold"),
    _promise(4, "cold start, p99", "fork", 10e-3, "s", _share("cold.apart.latency", 0.99), scenario="cold"),
    _promise(
        5, "cold start, snapshot, p50", "fork", 8e-3, "s", _share("snapshot.apart.latency", 0.5), scenario="snapshot"
    ),
    _promise(
        5, "cold start, snapshot, p99", "fork", 25e-3, "s", _share("snapshot.apart.latency", 0.99), scenario="snapshot"
    ),
    _promise(6, "0 to 1,000 workers, hello", "fork", 4.0, "s", _mean("scale.hello.all"), scenario="scale"),
    _promise(6, "0 to 1,000 workers, snapshot", "fork", 15.0, "s", _mean("scale.heavy.all"), scenario="scale"),
    _promise(6, "calls failed meanwhile", "none", 0, "", _mean("scale.failed"), scenario="scale"),
    _promise(7, "idle worker, hello, PSS", "none", 2 * 2**20, "B", _mean("density.hello.pss"), scenario="density"),
    _promise(7, "idle worker, snapshot, PSS", "none", 12 * 2**20, "B", _mean("density.heavy.pss"), scenario="density"),
    _promise(8, "registered function", "none", 20 * 2**10, "B", _mean("functions.memory"), scenario="functions"),
    _promise(
        8, "warm p50 with 10,000 functions, ratio", "none", 1.1, "",
        _ratio("functions.many.warm", "functions.few.warm", 0.5), scenario="functions",
    ),
    _promise(8, "start with 10,000 functions", "fork", 3.0, "s", _mean("functions.many.start"), scenario="functions"),
    _promise(9, "429, p99", "http", 5e-3, "s", _share("overload.refused", 0.99), scenario="overload"),
    _promise(
        9, "p99 beside an overload, ratio", "none", 1.5, "",
        _ratio("overload.beside.latency", "overload.quiet.latency", 0.99), scenario="overload",
    ),
    _promise(
        10, "stall of calls by a scrape", "http", 5e-3, "s", _mean("scrape.stall"), scenario="scrape"
    ),
    _promise(12, "events accepted", "rate", 5_000, "1/s", _mean("async.c32.rate"), scenario="async", least=True),
    _promise(12, "events lost to kill -9", "none", 0, "", _mean("async.crash.lost"), scenario="async"),
    _promise(
        13, "6 MB there and back, p50", "fork", 20e-3, "s", _share("payload.6MB.latency", 0.5), scenario="payload"
    ),
    _promise(
        14, "first byte of a stream after its yield, p50", "http", 1e-3, "s", _share("stream.first", 0.5),
        scenario="stream",
    ),
    _promise(15, "new code after a change, p99", "fork", 50e-3, "s", _share("dev.switch", 0.99), scenario="dev"),
    _promise(15, "calls failed meanwhile", "none", 0, "", _mean("dev.failed"), scenario="dev"),
)  # fmt: skip


def measure_floors(seconds: float) -> dict[Floor, float]:
    """Return the floors of this machine now."""
    one, many = floors.http(1, seconds), floors.http(32, seconds)
    return {
        "pipe": summary.seconds(floors.pipe(), 0.5),
        "fork": summary.seconds(floors.fork(100), 0.5),
        "http": summary.seconds(one.outcomes["200"], 0.5),
        "rate": many.good_rate,
        "none": 1.0,
    }


def judge(promises: Iterable[Promise], found: result.Result, here: dict[Floor, float]) -> list[Verdict]:
    """Hold a scenario's result against its promises; ``here`` are the floors as they were around it."""
    return [Verdict(promise, promise.figure(found), _slowness(promise.floor, here)) for promise in promises]


def _slowness(floor: Floor, here: dict[Floor, float]) -> float:
    now, quiet = here[floor], REFERENCE[floor]
    return max(1.0, quiet / now if floor == "rate" else now / quiet)


def run(
    given: setting.Setting, scenarios: dict[str, Callable[[setting.Setting], result.Result]], rows: frozenset[int]
) -> tuple[list[result.Result], list[Verdict]]:
    """Run what the promises of these rows need (all, where there are none); return results and verdicts."""
    results, verdicts = [], []
    chosen = [promise for promise in PROMISES if not rows or promise.row in rows]
    for name in dict.fromkeys(promise.scenario for promise in chosen):
        seen: list[dict[Floor, float]] = []
        look = functools.partial(_look, seen)
        look()
        results.append(scenarios[name](dataclasses.replace(given, between=look)))
        look()
        here: dict[Floor, float] = {floor: statistics.fmean(each[floor] for each in seen) for floor in REFERENCE}
        verdicts += judge([promise for promise in chosen if promise.scenario == name], results[-1], here)
    return results, verdicts


def _look(seen: list[dict[Floor, float]]) -> None:
    seen.append(measure_floors(1.0))


def table(verdicts: Iterable[Verdict]) -> result.Table:
    """Return the verdicts as a table."""
    rows = [
        [
            f"{each.promise.row}. {each.promise.what}",
            ("at least " if each.promise.least else "at most ") + text.quantity(each.promise.limit, each.promise.unit),
            text.quantity(each.measured, each.promise.unit),
            str(each),
        ]
        for each in verdicts
    ]
    return result.Table(title="Promises", columns=["promise", "limit", "measured", ""], rows=rows)
