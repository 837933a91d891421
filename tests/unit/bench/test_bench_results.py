"""Result files, their comparison, and how they look to people."""

import html.parser
import random
import re

import msgspec
import pytest

from bench import axis, compare, histogram, machine, metrics, report, result, stats, summary, svg, text

PLACE = machine.Environment(
    machine="x86_64",
    cpu="A <CPU>",
    cores=2,
    memory_mb=8000,
    kernel="6.1",
    python="CPython 3.11",
    versions={"uvloop": "0.2"},
    commit="abc",
    date="2026-11-21T00:00:00+00:00",
    load_average=0.1,
    busy=False,
)


def a_result(scale=1.0, seed=1, **changes):
    chance = random.Random(seed)
    runs = [histogram.of(int(chance.lognormvariate(12, 0.3) * scale) for _ in range(2000)) for _ in range(3)]
    measures = [
        result.Distribution(name="x.latency", title="x: latency", runs=runs),
        result.Scalar(name="x.rate", title="x: answers", unit="1/s", values=[1000 / scale] * 2, better="higher"),
        result.Scalar(name="x.cpu.supervisor", title="x: CPU, supervisor", unit="s", values=[1e-4], better="lower"),
    ]
    return result.Result(
        **{
            "scenario": "x",
            "title": "X",
            "command": "python -m bench x",
            "environment": PLACE,
            "isolation": "level 3",
            "measures": measures,
            **changes,
        }
    )


def test_a_file_comes_back_as_it_was(tmp_path):
    found = [a_result(plots=[result.Latency(title="L", measures=["x.latency"])])]
    result.save(tmp_path / "r.json", found)
    assert result.load(tmp_path / "r.json") == found


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 1}', '{"schema": 99, "results": []}'])
def test_what_is_no_result_file_is_refused(tmp_path, content):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ValueError, match=r"r\.json"):
        result.load(tmp_path / "r.json")


def test_a_file_does_not_differ_from_its_like_but_from_one_that_is_slower():
    same = {row[0]: row[-1] for row in compare.compare([a_result(seed=1)], [a_result(seed=2)]).rows}
    assert same == {"x.latency p50": "same", "x.latency p99": "same", "x.rate": "same", "x.cpu.supervisor": "?"}
    slower = {row[0]: row[-1] for row in compare.compare([a_result()], [a_result(scale=1.5, seed=2)]).rows}
    assert slower["x.latency p50"] == slower["x.latency p99"] == slower["x.rate"] == "worse"
    faster = {row[0]: row[-1] for row in compare.compare([a_result(scale=1.5)], [a_result(seed=2)]).rows}
    assert faster["x.latency p50"] == faster["x.rate"] == "better"


def test_measures_of_one_file_alone_are_left_out():
    other = a_result(measures=[result.Scalar(name="y", title="y", unit="", values=[1.0], better="lower")])
    assert compare.compare([a_result()], [other]).rows == []


@pytest.mark.parametrize(
    ("low", "high", "better", "expected"),
    [
        (0.9, 1.1, "lower", "same"),
        (0.8, 0.9, "lower", "better"),
        (0.8, 0.9, "higher", "worse"),
        (1.1, 1.2, "lower", "worse"),
        (1.1, 1.2, "higher", "better"),
        (1.1, 1.2, "neither", "differs"),
    ],
)
def test_verdicts(low, high, better, expected):
    assert compare.verdict(stats.Interval(low, high), better) == expected


def test_comparisons_that_mean_little_are_called_so():
    busy = a_result(environment=msgspec.structs.replace(PLACE, busy=True, cpu="another"), isolation="none")
    assert compare.warnings([a_result()], [a_result()]) == []
    assert len(compare.warnings([a_result()], [busy])) == 3


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.00018, "s", "180 µs"),
        (0.0123456, "s", "12.3 ms"),
        (61.0, "s", "61 s"),
        (3 * 2**20, "B", "3 MiB"),
        (12345.6, "1/s", "12,346/s"),
        (0.0, "s", "0"),
        (float("nan"), "s", "-"),
        (float("inf"), "", "∞"),
        (1.0, "", "1"),
        (100.0, "", "100"),
        (0.0731, "", "0.0731"),
    ],
)
def test_quantities(value, unit, expected):
    assert text.quantity(value, unit) == expected


def test_intervals_say_what_is_not_known():
    inf = float("inf")
    assert text.interval(stats.NO_INTERVAL, "s") == "-"
    assert text.interval(stats.Interval(0.001, inf), "s") == ">= 1 ms"
    assert text.interval(stats.Interval(-inf, 2.0), "") == "<= 2"
    assert text.interval(stats.Interval(1.0, 2.0), "s") == "1 s .. 2 s"


def test_the_terminal_shows_every_measure_once():
    found = a_result(notes=["a note"], tables=[result.Table(title="T", columns=["a", "b"], rows=[["1", "2"]])])
    shown = text.rendered(found, summary.tables(found))
    for wanted in ("x: latency", "x: answers", "supervisor", "* a note", "level 3", "6,000"):
        assert shown.count(wanted) == 1


class _Checker(html.parser.HTMLParser):
    """Fails on tags that are not closed in their order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def a_page():
    series = [
        result.Series(name="a <b>", x=[1, 10, 100], y=[1.0, float("nan"), 2.0], low=[0.5, 1, 1], high=[2, 2, 3]),
        result.Series(name="c", x=[1, 10, 100], y=[3.0, 2.0, 1.0]),
    ]
    bars = [result.Series(name="fork", y=[1.0, 2.0]), result.Series(name="init", y=[3.0, float("nan")])]
    plots = [
        result.Latency(title="L", measures=["x.latency", "not there"]),
        result.Lines(title="N", x="connections", y="rate", unit="1/s", series=series, log_x=True),
        result.Bars(title="B", unit="s", categories=["p", "q"], series=bars),
        result.Bars(title="S", unit="s", categories=["p", "q"], series=bars, stacked=True),
    ]
    return report.page([a_result(plots=plots, notes=["<script>"])])


def test_a_page_is_whole_and_needs_nothing_from_elsewhere():
    page = a_page()
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    tags = [tag for tag, _ in checker.seen]
    assert tags.count("svg") == 4
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "&lt;script&gt;" in page
    assert "A &lt;CPU&gt;" in page


def test_nothing_is_drawn_outside_of_its_plot_or_at_no_place():
    checker = _Checker()
    checker.feed(a_page())
    for tag, attributes in checker.seen:
        if tag == "circle":
            assert 0 <= float(attributes["cx"]) <= svg.WIDTH
            assert 0 <= float(attributes["cy"]) <= svg.HEIGHT
        if tag == "rect":
            assert float(attributes["x"]) + float(attributes["width"]) <= svg.WIDTH
    assert "nan" not in a_page()


def test_an_empty_report_is_one_too():
    assert "No results" in report.page([])


def test_a_curve_ends_where_values_are_few():
    few = result.Distribution(name="f", title="f", runs=[histogram.of(range(1, 201))])
    assert max(share for share, _ in report.curve(few)) == 0.95
    assert report.curve(result.Distribution(name="f", title="f", runs=[histogram.of([])])) == []


def test_axes():
    linear = axis.spanning([3.0, 97.0], 0, 100)
    assert (linear.low, linear.high, linear.at(50)) == (0.0, 100.0, 50.0)
    assert linear.ticks() == [0, 20, 40, 60, 80, 100]
    log = axis.spanning([3e-6, 2e-3], 100, 0, log=True)
    assert (log.at(1e-6), log.at(1e-2)) == (100.0, 0.0)
    assert log.ticks() == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    assert axis.spanning([], 0, 1).high > 0
    assert axis.spanning([0.0], 0, 1).ticks()


def test_a_scrape_is_read():
    samples = metrics.parse(
        "# HELP a b\n# TYPE a counter\na 1\n"
        'b_sum{phase="fork",x="a\\"b"} 2.5\nb_count{phase="fork",x="a\\"b"} 5\nb_sum{phase="init"} 0\n'
    )
    assert samples["a", frozenset()] == 1.0
    assert metrics.means(samples, "b", "phase") == {"fork": (0.5, 5)}
