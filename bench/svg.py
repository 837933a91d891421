"""Plots as SVG, drawn with few means and styled by the page's CSS: colours are its classes s0, s1, ... Pure.

A point, line or bar says its value when the pointer rests on it (SVG's <title>).
"""

import html
import math
from collections.abc import Iterable, Sequence

from bench import axis, result, text

WIDTH, HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 44, 14, 46
_BAR, _GAP, _LABELS = 16, 12, 190
COLOURS = 8
"""Series beyond so many repeat the colours."""

_OWN_MARKS = 6
"""Where a plot has no more different x, just these are marked."""

_SHARES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999)


def lines(plot: result.Lines) -> str:
    """Return a plot of lines over numbers."""
    xs = [x for series in plot.series for x in series.x]
    ys = [y for series in plot.series for y in (*series.y, *series.high)]
    across = axis.spanning(xs, _LEFT, WIDTH - _RIGHT, log=plot.log_x)
    up = axis.spanning(ys, HEIGHT - _BOTTOM, _TOP, log=plot.log_y)
    marks = sorted(set(xs)) if len(set(xs)) <= _OWN_MARKS else across.ticks(8)
    named = [(mark, text.quantity(mark, plot.x_unit)) for mark in marks]
    parts = [*_vertical(up, plot.unit), *_horizontal(across, named), _label(plot.x)]
    for number, series in enumerate(plot.series):
        for x, low, high in zip(series.x, series.low, series.high, strict=False):
            parts.append(_line(across.at(x), up.at(low), across.at(x), up.at(high), _colour(number)))
        tips = [
            f"{series.name}: {text.quantity(y, plot.unit)} at {text.quantity(x, plot.x_unit)}"
            for x, y in _points(series)
        ]
        parts += _curve([(across.at(x), up.at(y)) for x, y in _points(series)], tips, number)
    return _whole(parts, WIDTH, HEIGHT, [series.name for series in plot.series])


def latency(names: Sequence[str], percentiles: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Return a plot of latency by percentile: for each name, (share, seconds) in rising order.

    The x axis is stretched towards 1, so that each further nine takes as much room as the one before.
    """
    furthest = max((share for points in percentiles for share, _ in points), default=0.99)
    across = axis.Axis(0.0, _nines(furthest), _LEFT, WIDTH - _RIGHT)
    up = axis.spanning([y for points in percentiles for _, y in points], HEIGHT - _BOTTOM, _TOP, log=True)
    marks = [(_nines(share), f"{share * 100:g} %") for share in _SHARES if share <= furthest + 1e-12]
    parts = [*_vertical(up, "s"), *_horizontal(across, marks), _label("of all requests were at most so slow")]
    for number, (name, points) in enumerate(zip(names, percentiles, strict=True)):
        places = [(across.at(_nines(share)), up.at(seconds)) for share, seconds in points]
        tips = [f"{name}: {share * 100:g} % within {text.quantity(seconds, 's')}" for share, seconds in points]
        parts += _curve(places, tips, number)
    return _whole(parts, WIDTH, HEIGHT, names)


def bars(plot: result.Bars) -> str:
    """Return a plot of horizontal bars: beside each other in a group, or stacked."""
    per_group = 1 if plot.stacked else len(plot.series)
    group = per_group * _BAR + _GAP
    height = len(plot.categories) * group + _TOP + _GAP
    totals = [sum(values) for values in zip(*(series.y for series in plot.series), strict=True)]
    single = [y for series in plot.series for y in series.y]
    right = WIDTH - 90
    along = axis.spanning(totals if plot.stacked else single, _LABELS, right, log=plot.log and not plot.stacked)
    parts = []
    for place, category in enumerate(plot.categories):
        top = _TOP + place * group
        middle = top + per_group * _BAR / 2
        parts.append(f'<text x="{_LABELS - 8}" y="{middle + 4:g}" class="end">{html.escape(category)}</text>')
        done = 0.0
        for number, series in enumerate(plot.series):
            value = series.y[place]
            if not math.isfinite(value):
                continue
            x = along.at(done) if plot.stacked else along.start
            y = top if plot.stacked else top + number * _BAR
            done = done + value if plot.stacked else value
            tip = html.escape(f"{category}, {series.name}: {text.quantity(value, plot.unit)}")
            width = max(along.at(done) - x, 0.5)
            parts.append(
                f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{_BAR - 2}" class="{_colour(number)} bar">'
                f"<title>{tip}</title></rect>"
            )
            if not plot.stacked:
                parts.append(f'<text x="{x + width + 5:.1f}" y="{y + 11:g}">{text.quantity(value, plot.unit)}</text>')
        if plot.stacked:
            parts.append(f'<text x="{along.at(done) + 5:g}" y="{middle + 4:g}">{text.quantity(done, plot.unit)}</text>')
    return _whole(parts, WIDTH, height, [series.name for series in plot.series])


def _points(series: result.Series) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(y)]


def _nines(share: float) -> float:
    return -math.log10(max(1.0 - share, 1e-9))


def _colour(number: int) -> str:
    return f"s{number % COLOURS}"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{kind}"/>'


def _vertical(up: axis.Axis, unit: str) -> Iterable[str]:
    for tick in up.ticks():
        y = up.at(tick)
        yield _line(_LEFT, y, WIDTH - _RIGHT, y, "grid")
        yield f'<text x="{_LEFT - 8}" y="{y + 4:g}" class="end">{text.quantity(tick, unit)}</text>'


def _horizontal(across: axis.Axis, marks: Iterable[tuple[float, str]]) -> Iterable[str]:
    for value, name in marks:
        x = across.at(value)
        yield _line(x, HEIGHT - _BOTTOM, x, HEIGHT - _BOTTOM + 4, "grid")
        yield f'<text x="{x:g}" y="{HEIGHT - _BOTTOM + 18}" class="middle">{html.escape(name)}</text>'


def _label(name: str) -> str:
    return f'<text x="{(_LEFT + WIDTH) / 2:g}" y="{HEIGHT - 8}" class="middle">{html.escape(name)}</text>'


def _curve(places: Sequence[tuple[float, float]], tips: Sequence[str], number: int) -> Iterable[str]:
    path = " ".join(f"{x:g},{y:g}" for x, y in places)
    yield f'<polyline points="{path}" class="{_colour(number)} curve"/>'
    for (x, y), tip in zip(places, tips, strict=True):
        yield (
            f'<circle cx="{x:g}" cy="{y:g}" r="3" class="{_colour(number)} dot">'
            f"<title>{html.escape(tip)}</title></circle>"
        )


def _whole(parts: Iterable[str], width: float, height: float, names: Sequence[str]) -> str:
    keys = "".join(
        f'<span class="key"><i class="{_colour(number)}"></i>{html.escape(name)}</span>'
        for number, name in enumerate(names)
    )
    legend = f'<div class="legend">{keys}</div>' if len(names) > 1 else ""
    return f'{legend}<svg viewBox="0 0 {width:g} {height:g}" role="img">{"".join(parts)}</svg>'
