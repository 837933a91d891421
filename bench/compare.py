"""Says what differs between two result files, and whether by more than chance."""

import random

from bench import result, stats, summary, text

_NS = 1e-9
_SHARES = (("p50", 0.5), ("p99", 0.99))


def compare(old: list[result.Result], new: list[result.Result]) -> result.Table:
    """Return a table of ratios new / old, for the measures that both files have, with 95 % intervals.

    A difference is called one where the interval leaves out 1. Files of one run each know only the chance within it,
    not that between runs: their intervals are too narrow, and scalars have none.
    """
    before = {measure.name: measure for each in old for measure in each.measures}
    rows = []
    for measure in (measure for each in new for measure in each.measures):
        other = before.get(measure.name)
        if isinstance(measure, result.Distribution) and isinstance(other, result.Distribution):
            rows += [_percentile_row(other, measure, name, share) for name, share in _SHARES]
        elif isinstance(measure, result.Scalar) and isinstance(other, result.Scalar):
            rows.append(_scalar_row(other, measure))
    return result.Table(
        title="new / old", columns=["measure", "old", "new", "ratio", "95 % interval", "verdict"], rows=rows
    )


def _percentile_row(old: result.Distribution, new: result.Distribution, name: str, share: float) -> list[str]:
    runs = [[run.ranked() for run in measure.runs] for measure in (old, new)]
    before, after = (stats.typical_percentile(each, share) for each in runs)
    found = stats.percentile_ratio_interval(runs[1], runs[0], share, random.Random(1))  # noqa: S311
    return [
        f"{new.name} {name}",
        text.quantity(before * _NS, "s"),
        text.quantity(after * _NS, "s"),
        text.figure(after / before) if before else "-",
        text.interval(found, ""),
        verdict(found, new.better),
    ]


def _scalar_row(old: result.Scalar, new: result.Scalar) -> list[str]:
    before, after = (summary.mean(measure) for measure in (old, new))
    found = stats.scalar_ratio_interval(new.values, old.values)
    return [
        new.name,
        text.quantity(before, new.unit),
        text.quantity(after, new.unit),
        text.figure(after / before) if before else "-",
        text.interval(found, ""),
        verdict(found, new.better),
    ]


def verdict(ratio: stats.Interval, better: result.Better) -> str:
    """Return what an interval of new / old says: better, worse, differs, same, or "?" where nothing is known."""
    if ratio == stats.NO_INTERVAL:
        return "?"
    if ratio.holds(1.0):
        return "same"
    if better == "neither":
        return "differs"
    return "better" if (ratio.high < 1.0) == (better == "lower") else "worse"


def warnings(old: list[result.Result], new: list[result.Result]) -> list[str]:
    """Return what speaks against comparing two files."""
    found = []
    for name, results in (("old", old), ("new", new)):
        busy = {each.scenario for each in results if each.environment.busy}
        if busy:
            found.append(f"{name}: the machine was busy when these began: {', '.join(sorted(busy))}")
    places = [{(each.environment.cpu, each.environment.cores) for each in results} for results in (old, new)]
    if places[0] != places[1]:
        found.append("the files come from different machines")
    if {each.isolation for each in old} != {each.isolation for each in new}:
        found.append("the isolation differs")
    return found
