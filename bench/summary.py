"""The figures of a result's measures, with their intervals. Pure, but for a fixed seed."""

import math
import random
import statistics

from bench import result, stats, text
from bench.histogram import Histogram

SHARES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))
CPU = ".cpu."
"""In the name of measures of CPU time, which have a table of their own."""
_NS = 1e-9


def seconds(histogram: Histogram, share: float) -> float:
    """Return a percentile of a histogram in seconds."""
    return stats.percentile(histogram.ranked(), share) * _NS


def typical(measure: result.Distribution, share: float) -> float:
    """Return a percentile of a measure in seconds."""
    return stats.typical_percentile([run.ranked() for run in measure.runs], share) * _NS


def typical_interval(measure: result.Distribution, share: float) -> stats.Interval:
    """Return the interval of ``typical``, in seconds."""
    found = stats.typical_percentile_interval([run.ranked() for run in measure.runs], share, _chance())
    return stats.Interval(found.low * _NS, found.high * _NS)


def mean(measure: result.Scalar) -> float:
    """Return the mean of a measure's runs; NaN where no run has a figure."""
    return statistics.fmean(measure.values) if measure.values else math.nan


def tables(found: result.Result) -> list[result.Table]:
    """Return all tables of a result: of its measures, of CPU time, and its own."""
    return [_measures(found), _cpu(found), *found.tables]


def _measures(found: result.Result) -> result.Table:
    rows = []
    for measure in found.measures:
        if isinstance(measure, result.Scalar):
            if CPU not in measure.name:
                rows.append(_scalar_row(measure))
        elif any(run.count for run in measure.runs):
            rows.append(_distribution_row(measure))
    columns = ["measure", "n", "min", "p50 or mean", "95 % interval", *(name for name, _ in SHARES[1:]), "max"]
    return result.Table(title="", columns=columns, rows=rows)


def _scalar_row(measure: result.Scalar) -> list[str]:
    value = text.quantity(mean(measure), measure.unit)
    spread = stats.scalar_interval(measure.values)
    if all(each >= 0 for each in measure.values):
        spread = stats.Interval(max(spread.low, 0.0), spread.high) if spread != stats.NO_INTERVAL else spread
    runs = len(measure.values)
    count = f"{runs} run{'s' * (runs > 1)}"
    return [measure.title, count, "", value, text.interval(spread, measure.unit), "", "", "", ""]


def _distribution_row(measure: result.Distribution) -> list[str]:
    known = [run for run in measure.runs if run.count]
    p50, *others = (text.quantity(typical(measure, share), "s") for _, share in SHARES)
    return [
        measure.title,
        f"{sum(run.count for run in known):,}",
        text.quantity(min(run.min for run in known) * _NS, "s"),
        p50,
        text.interval(typical_interval(measure, 0.5), "s"),
        *others,
        text.quantity(max(run.max for run in known) * _NS, "s"),
    ]


def _cpu(found: result.Result) -> result.Table:
    """Return the CPU time for one request: a row for each load, a column for each part."""
    rows: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for measure in found.measures:
        if isinstance(measure, result.Scalar) and CPU in measure.name:
            load, _, part = measure.title.partition(": CPU, ")
            rows.setdefault(load, {})[part] = text.quantity(mean(measure), "s")
            columns[part] = None
    cells = [[load, *(parts.get(column, "-") for column in columns)] for load, parts in rows.items()]
    return result.Table(title="CPU time for one request, means", columns=["load", *columns], rows=cells)


def _chance() -> random.Random:
    """Return the same randomness each time, so that the same file gives the same report."""
    return random.Random(1)  # noqa: S311
