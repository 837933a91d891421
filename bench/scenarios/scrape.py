"""Scrape /metrics with 500 functions: for how long it holds up the calls beside it."""

import contextlib
import dataclasses
import itertools
import random
import time
from collections.abc import Iterable

from bench import (
    client,
    harness,
    histogram,
    load,
    machine,
    measure,
    plan,
    result,
    setting,
    stalls,
    stats,
    text,
)

FUNCTIONS = 500
RATE = 1000.0
"""Calls a second, evenly: of a stall, all but a millisecond at most is felt by the first that is due in it."""
OF_SCRAPES = 0.2
"""The stall that is promised about is the one that no more than this share of the scrapes exceeds."""
STALLS_S = (0.001, 0.002, 0.005, 0.01, 0.02)
"""Stalls of which the report says how many scrapes exceed them."""
PAUSES_S = (0.005, 0.015)
"""Between windows, at random: calls come evenly, and must not meet all scrapes at the same point."""
SETTINGS = "[pool]\nkeep_alive = 'fixed'\nidle_ttl_s = 1.0\n"
_NS = 1e-9
_CALL = plan.Call(path=client.invoke_path("hello"), body="{}", equals='{"ok": true}')


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Calls, with scrapes meanwhile; latencies in nanoseconds."""

    calls: plan.Result
    with_: list[list[int]]
    """Of the calls that were under way in each scrape,"""
    without: list[list[int]]
    """and in the window without one that belongs to it."""
    scrapes: list[int]
    """How long each took."""
    page_bytes: int


def run(given: setting.Setting) -> result.Result:
    """Scrape /metrics with 500 functions: for how long it holds up the calls beside it."""
    given.demand_own_server("it makes hundreds of functions")
    environment = machine.environment()
    with given.server(SETTINGS) as server:
        _populate(given, server)
        server.run([_CALL], connections=4, duration_s=measure.WARM_UP_S)
        runs = []
        for turn in given.turns():
            given.say(f"run {turn + 1} of {given.repeat}")
            # Twice as long as the runs of others: half of it is without scrapes.
            runs.append(measured(server, 2 * given.duration_s, random.Random(turn)))  # noqa: S311
        found = pairs(runs)
        stall, shares = found.intervals(_chance(), share=OF_SCRAPES, stalls=[each / _NS for each in STALLS_S])
        return given.result(
            "scrape",
            f"Scraping with {FUNCTIONS} functions",
            server,
            environment,
            measures=_measures(runs, found),
            tables=[_shares(found, shares)],
            plots=[
                result.Latency(
                    title="Longest latency in a scrape, and in an equally long window without, by percentile",
                    measures=["scrape.with.longest", "scrape.without.longest"],
                )
            ],
            notes=[
                *measure.problems("calls", measure.Runs([each.calls for each in runs], [])),
                *_notes(runs, found.exceeded_by(OF_SCRAPES), stall),
            ],
        )


def measured(server: harness.Server, duration_s: float, chance: random.Random) -> Run:
    """Call evenly for so long, and scrape; after each scrape, let as much time go by without one.

    Raises LoadFailed where something else than metrics comes back, or no scrape ended in time.
    """
    scraped, unscraped, page = [], [], b""
    calls = server.towards([_CALL], open=plan.Open(rate=RATE), connections=16, duration_s=duration_s, list_times=True)
    # A connection of its own: the server closes one that idles.
    with load.Running(calls) as running, contextlib.closing(client.Client(server.host, server.port)) as api:
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            time.sleep(chance.uniform(*PAUSES_S))
            begin = time.monotonic_ns()
            status, page = api.raw("GET", "/metrics")
            scrape = stalls.Window(begin, time.monotonic_ns())
            if status != 200 or b"hotfork_invocations_total" not in page:  # noqa: PLR2004
                raise load.LoadFailed(f"a scrape was answered with status {status}: {page[:200]!r}")
            time.sleep(chance.uniform(*PAUSES_S))
            begin = time.monotonic_ns()
            time.sleep((scrape.end - scrape.begin) * _NS)
            scraped.append(scrape)
            unscraped.append(stalls.Window(begin, begin + scrape.end - scrape.begin))
        return _attributed(running.wait(), scraped, unscraped, len(page))


def _attributed(
    calls: plan.Result, scraped: list[stalls.Window], unscraped: list[stalls.Window], page_bytes: int
) -> Run:
    """Say which calls were under way in which window."""
    times = calls.times or []
    dues = [due for due, _ in times]
    # The generator takes a moment to start, and calls end before the last window does.
    seen = [
        (scrape.end - scrape.begin, scrape.latencies(times), without.latencies(times))
        for scrape, without in zip(scraped, unscraped, strict=True)
        if dues and min(dues) <= scrape.begin and without.end <= max(dues)
    ]
    seen = [each for each in seen if each[1] and each[2]]
    if not seen:
        raise load.LoadFailed("no scrape was over while there were calls: a longer --duration is needed")
    took, with_, without = (list(each) for each in zip(*seen, strict=True))
    return Run(calls, with_, without, took, page_bytes)


def pairs(runs: list[Run]) -> stalls.Pairs:
    """Return the longest latencies of all runs' windows."""
    return stalls.Pairs(
        [max(each) for each in itertools.chain.from_iterable(run.with_ for run in runs)],
        [max(each) for each in itertools.chain.from_iterable(run.without for run in runs)],
    )


def _measures(runs: list[Run], found: stalls.Pairs) -> list[result.Measure]:
    measures: list[result.Measure] = []
    for name, title, windows in (
        ("with", "in a scrape", [run.with_ for run in runs]),
        ("without", "without", [run.without for run in runs]),
    ):
        measures += [
            result.Distribution(
                name=f"scrape.{name}.latency",
                title=f"calls, {title}: latency",
                runs=[histogram.of(itertools.chain.from_iterable(each)) for each in windows],
            ),
            result.Distribution(
                name=f"scrape.{name}.longest",
                title=f"longest latency {title}",
                runs=[histogram.of(map(max, each)) for each in windows],
            ),
        ]
    return [
        *measures,
        result.Distribution(
            name="scrape.scrape.latency", title="scrapes: latency", runs=[histogram.of(run.scrapes) for run in runs]
        ),
        result.Scalar(
            name="scrape.stall",
            title=f"stall that at most {OF_SCRAPES:.0%} of the scrapes exceed",
            unit="s",
            values=[found.exceeded_by(OF_SCRAPES) * _NS],
            better="lower",
        ),
        result.Scalar(
            name="scrape.bytes", title="a scrape", unit="B", values=[float(runs[-1].page_bytes)], better="lower"
        ),
    ]


def _shares(found: stalls.Pairs, intervals: list[stats.Interval]) -> result.Table:
    rows = [
        [text.quantity(stall, "s"), f"{found.share_above(stall / _NS):.0%}", f"{each.low:.0%} .. {each.high:.0%}"]
        for stall, each in zip(STALLS_S, intervals, strict=True)
    ]
    title = f"Of {len(found.with_)} scrapes, those that held a call up for longer"
    return result.Table(title=title, columns=["than", "share", "95 % interval"], rows=rows)


def _notes(runs: list[Run], stall: float, interval: stats.Interval) -> list[str]:
    figure, around = text.quantity(stall * _NS, "s"), text.interval(_seconds(interval), "s")
    longest = [_longest(run.with_ for run in runs), _longest(run.without for run in runs)]
    return [
        f"{1 - OF_SCRAPES:.0%} of the scrapes held no call up for longer than {figure} (95 % interval {around}).",
        f"Longest wait of all: {longest[0]} in a scrape, {longest[1]} in as many, equally long windows without.",
        f"{RATE:g} calls a second, evenly; latency counts from when a call was due.",
    ]


def _longest(runs: Iterable[list[list[int]]]) -> str:
    return text.quantity(max(max(window) for windows in runs for window in windows) * _NS, "s")


def _seconds(found: stats.Interval) -> stats.Interval:
    return stats.Interval(found.low * _NS, found.high * _NS)


def _chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - the same report of the same runs


def _populate(given: setting.Setting, server: harness.Server) -> None:
    """Make the functions, call each once so that it has series, and wait until their workers are gone."""
    server.create("hello")
    names = [f"scrape-{number}" for number in range(FUNCTIONS)]
    for done, name in enumerate(names):
        if done % 50 == 0:
            given.say(f"creating functions: {done} of {FUNCTIONS}")
        server.create(name, client.bench_function("hello"))
    given.say("calling each once")
    calls = [plan.Call(path=client.invoke_path(name), body="{}") for name in names]
    server.run(calls, order="once", connections=2, duration_s=300.0)
    given.say("waiting for idle workers to go")
    server.await_end_of_workers()
