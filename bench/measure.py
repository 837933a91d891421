"""From loads to measures: runs a load several times, interleaved with others, and names what came of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from bench import harness, histogram, plan, procfs, result, setting

WARM_UP_S = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Runs:
    """What several runs of one load gave."""

    results: list[plan.Result]
    cpu: list[procfs.FamilyCpu]
    """What the server took for each run; empty where it is not ours."""

    def add(self, server: harness.Server, calls: list[plan.Call], **fields: Any) -> None:
        """Run calls once more, with these other fields of their plan, and note what the server took for it."""
        before = server.cpu()
        self.results.append(server.run(calls, **fields))
        after = server.cpu()
        if before is not None and after is not None:
            self.cpu.append(after - before)

    def good(self) -> list[histogram.Histogram]:
        """Return the latencies of the answers that were wanted, run by run."""
        return [
            histogram.merged(each for name, each in run.outcomes.items() if plan.is_good(name)) for run in self.results
        ]

    def failures(self) -> dict[str, int]:
        """Return how many requests had another outcome, by outcome."""
        found: dict[str, int] = {}
        for run in self.results:
            for name, each in run.outcomes.items():
                if not plan.is_good(name):
                    found[name] = found.get(name, 0) + each.count
            if run.unsent:
                found["unsent"] = found.get("unsent", 0) + run.unsent
        return found


def interleaved(
    given: setting.Setting,
    server: harness.Server,
    loads: Mapping[str, tuple[list[plan.Call], dict[str, Any]]],
    *,
    warm_up: bool = True,
) -> dict[str, Runs]:
    """Run each load ``given.repeat`` times, one after the other in turn, so that a change of the machine hits all.

    A load is its calls and the other fields of its plan.
    """
    found = {name: Runs([], []) for name in loads}
    if warm_up:
        for name, (calls, fields) in loads.items():
            given.say(f"{name}: warming up")
            server.run(calls, **{**fields, "duration_s": WARM_UP_S})
    for turn in given.turns():
        for name, (calls, fields) in loads.items():
            given.say(f"{name}: run {turn + 1} of {given.repeat}")
            found[name].add(server, calls, **{"duration_s": given.duration_s, **fields})
    return found


def latency(name: str, title: str, runs: Runs) -> result.Distribution:
    """Return the latency of the good answers as a measure."""
    return result.Distribution(name=f"{name}.latency", title=f"{title}: latency", runs=runs.good())


def rate(name: str, title: str, runs: Runs) -> result.Scalar:
    """Return the rate of the good answers as a measure."""
    return result.Scalar(
        name=f"{name}.rate",
        title=f"{title}: answers",
        unit="1/s",
        values=[run.good_rate for run in runs.results],
        better="higher",
    )


def cpu(name: str, title: str, runs: Runs) -> list[result.Scalar]:
    """Return the CPU time for one request as measures: by who took it and in all, and the kernel's part."""
    parts: dict[str, Callable[[procfs.FamilyCpu], float]] = {
        "supervisor": lambda taken: taken.supervisor.total,
        "supervisor in kernel": lambda taken: taken.supervisor.system,
        "zygote": lambda taken: taken.zygote.total,
        "workers": lambda taken: taken.workers.total,
        "workers in kernel": lambda taken: taken.workers.system,
        "helpers": lambda taken: taken.helpers.total,
        "kernel": lambda taken: taken.total.system,
        "all": lambda taken: taken.total.total,
    }
    counts = [sum(each.count for each in run.outcomes.values()) for run in runs.results]
    found = [
        result.Scalar(
            name=f"{name}.cpu.{part.replace(' ', '_')}",
            title=f"{title}: CPU, {part}",
            unit="s",
            values=[pick(taken) / max(count, 1) for taken, count in zip(runs.cpu, counts, strict=True)],
            better="lower",
        )
        for part, pick in parts.items()
        if runs.cpu
    ]
    own = [run.cpu_s / max(count, 1) for run, count in zip(runs.results, counts, strict=True)]
    generator = result.Scalar(
        name=f"{name}.cpu.generator", title=f"{title}: CPU, load generator", unit="s", values=own, better="neither"
    )
    return [*found, generator]


def cpu_plot(scenario: str, titles: Mapping[str, str], means: Mapping[str, float]) -> list[result.Plot]:
    """Return a plot of the CPU time of several loads, stacked by part; none where it is not known."""
    parts = ("supervisor", "workers", "generator")
    names = [[f"{scenario}.{key}.cpu.{part}" for key in titles] for part in parts]
    if not all(name in means for row in names for name in row):
        return []
    series = [result.Series(name=part, y=[means[name] for name in row]) for part, row in zip(parts, names, strict=True)]
    title = "CPU time for one request"
    return [result.Bars(title=title, unit="s", categories=list(titles.values()), series=series, stacked=True)]


def problems(title: str, runs: Runs) -> list[str]:
    """Return what a reader must know about runs that did not go as they should."""
    failures = runs.failures()
    found = []
    if failures:
        total = sum(each.count for run in runs.results for each in run.outcomes.values())
        listed = ", ".join(f"{count} {name}" for name, count in sorted(failures.items()))
        found.append(f"{title}: of {total} requests, not as wanted: {listed}.")
    late = histogram.merged(run.late for run in runs.results)
    if late.count and late.max > LATE_NS:
        found.append(f"{title}: the load generator was up to {late.max / 1e6:.1f} ms late; this is in the latencies.")
    return [*found, *_taken_away(title, runs)]


def _taken_away(title: str, runs: Runs) -> list[str]:
    """Return a note where others took processors from what was measured: a thousand processes make the kernel work."""
    elapsed_s = sum(run.elapsed_s for run in runs.results)
    if not runs.cpu or len(runs.cpu) != len(runs.results) or not elapsed_s:
        return []
    others = sum(taken.others_s for taken in runs.cpu) / elapsed_s
    threads = sum(taken.kernel_threads_s for taken in runs.cpu) / elapsed_s
    if others <= OTHERS_ABOVE:
        return []
    return [
        f"{title}: others took {others:.2f} of a processor meanwhile, the kernel's own threads {threads:.2f} of it."
    ]


LATE_NS = 5_000_000
"""Above it, a report says that the generator was late."""

OTHERS_ABOVE = 0.1
"""Of a processor; above it, a report says that others took it."""
