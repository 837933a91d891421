"""Numbers and tables as people read them. Pure."""

import math
from collections.abc import Sequence

from bench import result, stats

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


def figure(value: float) -> str:
    """Return a number with three significant digits, and thousands apart."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    rounded = f"{value:,.{digits}f}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded else rounded


def quantity(value: float, unit: str) -> str:
    """Return a value with the fitting prefix: of 0.00018 and "s" it makes "180 µs"."""
    if not math.isfinite(value) or value == 0:
        return figure(value)
    scales = {"s": _TIMES, "B": _SIZES}.get(unit)
    if scales is None:
        return figure(value) + {"1/s": "/s", "": ""}.get(unit, f" {unit}")
    size, name = next((each for each in scales if abs(value) >= each[0]), scales[-1])
    return f"{figure(value / size)} {name}"


def interval(found: stats.Interval, unit: str) -> str:
    """Return an interval, or "-" where nothing is known."""
    if found == stats.NO_INTERVAL or math.isnan(found.low):
        return "-"
    if math.isinf(found.low):
        return f"<= {quantity(found.high, unit)}"
    if math.isinf(found.high):
        return f">= {quantity(found.low, unit)}"
    return f"{quantity(found.low, unit)} .. {quantity(found.high, unit)}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in text: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        parts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(columns), "  ".join("-" * width for width in widths), *map(line, rows)])


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)]) + "\n"


def rendered(found: result.Result, tables: Sequence[result.Table]) -> str:
    """Return a result for a terminal; ``tables`` as ``summary.tables`` makes them."""
    where = found.environment
    place = f"{where.cpu}, {where.cores} cores, Linux {where.kernel}, {where.python}"
    lines = [found.title, f"{place}; {where.date}, load {where.load_average}; {found.isolation}"]
    for each in tables:
        if each.rows:
            lines += ["", *([each.title] if each.title else []), table(each.columns, each.rows)]
    lines += ["", *(f"* {note}" for note in found.notes)]
    return "\n".join(lines).rstrip() + "\n"
