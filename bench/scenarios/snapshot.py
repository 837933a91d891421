"""Cold starts from a snapshot: a function that imports numpy, pandas and boto3, with and without."""

import dataclasses
from typing import Any

from bench import harness, heavy, machine, measure, plan, result, setting

STARTS = 100
"""Of each run."""
STARTS_WITHOUT = 4
RATE = 10.0
"""Of those that come as callers do, a second: a Poisson process."""
SETTINGS = "[pool]\nmax_invocations = 1\n"
"""A worker serves one call: so every call is a cold start, while the snapshot is there."""
NONE_AHEAD = f"{SETTINGS}blanks = 0\n"


@dataclasses.dataclass(frozen=True, slots=True)
class _Heavy:
    """A server with the function, and what came of it."""

    server: harness.Server
    version: str
    cold: measure.Runs = dataclasses.field(default_factory=lambda: measure.Runs([], []))
    apart: measure.Runs = dataclasses.field(default_factory=lambda: measure.Runs([], []))
    without: measure.Runs = dataclasses.field(default_factory=lambda: measure.Runs([], []))

    def start(self, count: int) -> None:
        """Start workers from the snapshot, one after the other, and as callers come."""
        self._run(self.cold, self.version, connections=1, count=count)
        self._run(self.apart, self.version, connections=32, count=count, open=plan.Open(rate=RATE, arrival="poisson"))

    def start_without(self, count: int) -> None:
        """Start workers without the snapshot."""
        self._run(self.without, None, connections=1, count=count)

    def _run(self, runs: measure.Runs, version: str | None, **fields: Any) -> None:
        runs.add(self.server, [heavy.call("heavy", version)], duration_s=60.0, seed=len(runs.results), **fields)


def run(given: setting.Setting) -> result.Result:
    """Cold starts from a snapshot: a function that imports numpy, pandas and boto3, with and without."""
    given.demand_own_server("every call is to be a cold start")
    environment = machine.environment()
    code = heavy.files(given.say)
    count = given.count or STARTS
    with given.server(SETTINGS) as server, given.server(NONE_AHEAD) as other:
        given.say("making the snapshots")
        ahead, none_ahead = (
            _Heavy(each, heavy.publish(each, "heavy", code, MemorySize=512)) for each in (server, other)
        )
        dataclasses.replace(ahead, without=measure.Runs([], [])).start_without(1)  # the page cache is warm
        for turn in given.turns():
            given.say(f"cold starts: run {turn + 1} of {given.repeat}")
            ahead.start(count)
            none_ahead.start(count)
            ahead.start_without(STARTS_WITHOUT)
        return given.result(
            "snapshot",
            "Cold starts from a snapshot: numpy, pandas, boto3",
            server,
            environment,
            measures=[
                measure.latency("snapshot", "cold, from a snapshot", ahead.cold),
                measure.latency("snapshot.apart", f"cold, from a snapshot, {RATE:g} a second", ahead.apart),
                measure.latency("snapshot.unprepared", "the same, no copy made ahead", none_ahead.cold),
                measure.latency(
                    "snapshot.unprepared.apart", f"the same, {RATE:g} a second, no copy made ahead", none_ahead.apart
                ),
                measure.latency("snapshot.without", "cold, without a snapshot", ahead.without),
                *measure.cpu("snapshot", "a start from a snapshot and its call", ahead.cold),
                *measure.cpu("snapshot.unprepared", "the same, no copy made ahead", none_ahead.cold),
                *measure.cpu("snapshot.without", "a start without and its call", ahead.without),
            ],
            plots=[
                result.Latency(
                    title="Latency by percentile",
                    measures=[
                        "snapshot.latency",
                        "snapshot.apart.latency",
                        "snapshot.unprepared.latency",
                        "snapshot.without.latency",
                    ],
                )
            ],
            notes=[
                *measure.problems("with", ahead.cold),
                *measure.problems("now and then", ahead.apart),
                *measure.problems("none made ahead", none_ahead.cold),
                *measure.problems("none made ahead, now and then", none_ahead.apart),
                *measure.problems("without", ahead.without),
                "Cold: there is no worker, but a template; each worker serves one call.",
                "One copy at least is forked and confined ahead, once there was a start; with blanks = 0, none is.",
            ],
        )
