"""Results as one HTML page that needs nothing else: no script, no font, no image from elsewhere. Pure."""

import html
from collections.abc import Sequence

from bench import histogram, result, stats, summary, svg

_NS = 1e-9
_CURVE = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999)
_SURE = 10
"""A percentile is drawn where at least so many values lie above it."""

_STYLE = """
:root{color-scheme:light dark;--bg:#fcfcfb;--ink:#0b0b0b;--soft:#52514e;--rule:#e1e0d9;
--c0:#2a78d6;--c1:#eb6834;--c2:#1baf7a;--c3:#eda100;--c4:#e87ba4;--c5:#008300;--c6:#4a3aa7;--c7:#e34948}
@media(prefers-color-scheme:dark){:root{--bg:#1a1a19;--ink:#fff;--soft:#c3c2b7;--rule:#2c2c2a;
--c0:#3987e5;--c1:#d95926;--c2:#199e70;--c3:#c98500;--c4:#d55181;--c5:#008300;--c6:#9085e9;--c7:#e66767}}
body{font:15px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--ink);max-width:60rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:3rem;border-top:1px solid var(--rule);padding-top:1.5rem}
h3{font-size:1rem;margin:1.5rem 0 .3rem}p,li{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:600}
code{font-size:13px;overflow-wrap:anywhere}.warn{color:var(--ink);font-weight:600}
svg{width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
.end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:var(--rule);stroke-width:1}
.curve{fill:none;stroke-width:2;stroke-linejoin:round}.bar{stroke:none}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:13px;color:var(--soft)}
.key i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}
"""


def page(results: Sequence[result.Result]) -> str:
    """Return the report."""
    colours = "".join(
        f".s{n}{{stroke:var(--c{n})}}.dot.s{n},.bar.s{n}{{fill:var(--c{n})}}i.s{n}{{background:var(--c{n})}}"
        for n in range(svg.COLOURS)
    )
    body = "".join(_section(each) for each in results)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>hotfork bench</title>'
        f"<style>{_STYLE}{colours}</style><h1>hotfork bench</h1>{_place(results)}{body}</html>\n"
    )


def _place(results: Sequence[result.Result]) -> str:
    if not results:
        return "<p>No results.</p>"
    where = results[0].environment
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items() if version)
    facts = [
        f"{where.cpu} ({where.machine}), {where.cores} cores, {where.memory_mb:,} MB",
        f"Linux {where.kernel}, {where.python}, {versions}",
        f"{where.date}" + (f", commit {where.commit}" if where.commit else ""),
    ]
    return "<p>" + "<br>".join(html.escape(fact) for fact in facts) + "</p>"


def _section(found: result.Result) -> str:
    where = found.environment
    load = f"Load average at the start: {where.load_average}"
    if where.busy:
        load = f'<span class="warn">{load}: the machine was busy</span>'
    facts = [f"<code>{html.escape(found.command)}</code>", html.escape(found.isolation), load]
    parts = [
        f'<h2 id="{html.escape(found.scenario)}">{html.escape(found.title)}</h2><p>{"<br>".join(facts)}</p>',
        *(_plot(plot, found) for plot in found.plots),
        *(_table(table) for table in summary.tables(found) if table.rows),
    ]
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in found.notes)
    return "".join(parts) + (f"<ul>{notes}</ul>" if notes else "")


def _plot(plot: result.Plot, found: result.Result) -> str:
    drawn = ""
    match plot:
        case result.Lines():
            drawn = svg.lines(plot)
        case result.Bars():
            drawn = svg.bars(plot)
        case result.Latency():
            known = {each.name: each for each in found.measures if isinstance(each, result.Distribution)}
            chosen = [known[name] for name in plot.measures if name in known]
            drawn = svg.latency([each.title for each in chosen], [curve(each) for each in chosen])
    return f"<h3>{html.escape(plot.title)}</h3>{drawn}"


def curve(measure: result.Distribution) -> list[tuple[float, float]]:
    """Return (share, seconds) of all runs together, as far as there are values enough to tell."""
    whole = histogram.merged(measure.runs)
    ranked = whole.ranked()
    return [
        (share, stats.percentile(ranked, share) * _NS)
        for share in _CURVE
        if whole.count and (share == 0 or round(whole.count * (1 - share), 6) >= _SURE)
    ]


def _table(table: result.Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    title = f"<h3>{html.escape(table.title)}</h3>" if table.title else ""
    return f'{title}<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'
