"""Scale and density, each with hello and with a heavy snapshot."""

import msgspec
import pytest

from bench import check, histogram, machine, memory, metrics, procfs, records, result, summary, text
from bench.scenarios import density, scale

PLACE = machine.Environment(
    machine="", cpu="", cores=2, memory_mb=1, kernel="", python="", versions={}, commit="", date="", load_average=0,
    busy=False,
)  # fmt: skip
LAG = """\
lag_seconds_bucket{le="0.01"} 6
lag_seconds_bucket{le="0.02"} 8
lag_seconds_bucket{le="0.05"} 9
lag_seconds_bucket{le="+Inf"} 9
lag_seconds_sum 0.1
lag_seconds_count 9
starts_total{kind="blank"} 3
starts_total{kind="snapshot"} 40
"""


def a_run(**outcomes):
    kept = records.Records(1.0)
    kept.begin(0)
    named = {name.strip("_"): histogram.of(round(each * 1e9) for each in seconds) for name, seconds in outcomes.items()}
    return msgspec.structs.replace(kept.result(started_at=0.0, cpu_s=0.5), outcomes=named)


def a_result(scenario, measures):
    return result.Result(
        scenario=scenario, title="", command="", environment=PLACE, isolation="", measures=list(measures)
    )


@pytest.fixture
def watch(monkeypatch):
    figures = iter([900, 500, 800])
    monkeypatch.setattr(procfs, "memory_available", lambda: next(figures) << 20)
    monkeypatch.setattr(memory, "INTERVAL_S", 60.0)
    with memory.Watch() as found:
        found.look()
    return found


def a_scale(key, hold_s, latencies, watch, **outcomes):
    variant = scale.Variant(key=key, title=key, hold_s=hold_s, create=lambda server, name: None)
    variant.starts.results.append(a_run(_200=latencies, **outcomes))
    for other in (variant.quiet, variant.beside):
        other.results.append(a_run(_200=[0.002, 0.003]))
    variant.watches.append(watch)
    grown = metrics.growth(metrics.parse('lag_seconds_bucket{le="0.01"} 1'), metrics.parse(LAG))
    variant.lag.append(metrics.observed(grown, "lag_seconds"))
    variant.kinds.append(metrics.by(grown, "starts_total", "kind"))
    return variant


def test_counters_are_told_by_label_and_since_the_last_scrape():
    grown = metrics.growth(metrics.parse('starts_total{kind="blank"} 2'), metrics.parse(LAG))
    assert metrics.by(grown, "starts_total", "kind") == {"blank": 1, "snapshot": 40}


@pytest.mark.parametrize(
    ("lines", "most", "above"),
    [
        (LAG, 0.05, 1),
        (LAG.replace('"0.05"} 9', '"0.05"} 8'), 0.1, 1),
        (LAG.replace("} 9", "} 8"), 0.02, 0),
        ("", 0.0, None),
    ],
)
def test_the_longest_lag_is_known_to_its_bucket(lines, most, above):
    found = metrics.observed(metrics.parse(lines), "lag_seconds")
    assert found.most == most
    if above is not None:
        assert found.above(0.02) == above


def test_the_most_memory_is_that_in_between(watch):
    assert watch.most_taken == 400 << 20
    assert watch.least_available == 500 << 20


def test_each_variant_of_scale_is_held_against_its_own_limit(watch):
    hello = a_scale("hello", 16.0, [16.5, 18.0], watch)
    heavy = a_scale("heavy", 34.0, [40.0, 48.0], watch)
    found = a_result("scale", [*scale.measures(hello, 2), *scale.measures(heavy, 2), scale.failed([hello, heavy])])
    promises = [each for each in check.PROMISES if each.row == 6]
    verdicts = check.judge(promises, found, check.REFERENCE)
    assert [(round(each.measured, 3), each.promise.limit, each.kept) for each in verdicts] == [
        (2.0, 4.0, True),
        (14.0, 15.0, True),
        (0, 0, True),
    ]
    by_name = {each.name: each.values for each in found.measures if isinstance(each, result.Scalar)}
    assert by_name["scale.heavy.lag"] == [0.05]
    assert by_name["scale.heavy.memory"] == [400 << 20]


def test_a_scale_out_of_which_calls_failed_keeps_no_promise(watch):
    hello, heavy = (a_scale(key, 16.0, [], watch, _429=[0.1, 0.1]) for key in ("hello", "heavy"))
    found = a_result("scale", [*scale.measures(hello, 2), *scale.measures(heavy, 2), scale.failed([hello, heavy])])
    verdicts = check.judge([each for each in check.PROMISES if each.row == 6], found, check.REFERENCE)
    assert [each.kept for each in verdicts] == [False, False, False]
    assert verdicts[-1].measured == 4
    assert "4" in text.rendered(found, summary.tables(found))


def test_the_notes_of_scale_name_what_went_wrong(watch, monkeypatch):
    monkeypatch.setattr(machine, "memory_mb", lambda: 1000)
    said = " ".join(scale.notes(a_scale("heavy", 34.0, [40.0, 70.0], watch, _429=[0.1]), 800))
    assert "not as wanted: 1 429" in said
    assert "not all workers lived at once" in said
    assert "3 blank, 40 snapshot" in said
    assert "1 of 9 timers of the event loop were more than 20 ms late" in said
    assert "at most 500 MB; budget: 800 MB" in said
    assert "not all workers" not in " ".join(scale.notes(a_scale("heavy", 34.0, [40.0, 41.0], watch), 800))


def a_density(key, sizes):
    variant = density.Variant(key=key, title=key, prepare=lambda server, count: None)
    variant.each.append(sizes)
    variant.lost.append(5.0 * 2**20)
    variant.calls.results.append(a_run(_200=[0.1] * len(sizes)))
    for values in variant.others.values():
        values.append(0.0)
    return variant


def test_each_variant_of_density_is_held_against_its_own_limit():
    variants = [a_density("hello", [3 << 20, 2 << 20]), a_density("heavy", [11 << 20, 12 << 20])]
    found = a_result("density", [each for variant in variants for each in density.measures(variant)])
    verdicts = check.judge([each for each in check.PROMISES if each.row == 7], found, check.REFERENCE)
    assert [(each.measured / 2**20, each.kept) for each in verdicts] == [(2.5, False), (11.5, True)]


def test_workers_that_are_missing_are_named():
    variant = a_density("heavy", [1, 2])
    variant.calls.results.append(a_run(_200=[0.1], _429=[0.1]))
    assert density.problems(a_density("heavy", [1, 2]), 2) == []
    said = density.problems(variant, 3)
    assert any("1 429" in each for each in said)
    assert any("of 2 workers was read, not of 3" in each for each in said)
