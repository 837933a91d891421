import math
import random

import pytest

from bench import histogram, stats


def ranked(values):
    return stats.Sorted(values)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.01, 1), (0.07, 7), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)]
)
def test_percentiles_are_by_nearest_rank(share, expected):
    assert stats.percentile(ranked(range(1, 101)), share) == expected


def test_a_percentile_of_nothing_is_no_number():
    assert math.isnan(stats.percentile(ranked([]), 0.5))
    assert stats.percentile_interval(ranked([]), 0.5) == stats.NO_INTERVAL


def test_the_interval_of_a_median_is_the_textbooks():
    # n = 20: ranks 6 and 15 cover 95.9 %, ranks 7 and 14 only 88.5 % (Conover, table A3).
    assert stats.percentile_interval(ranked(range(1, 21)), 0.5) == stats.Interval(6, 15)


def test_too_few_values_bound_no_tail():
    # The largest of 200 values exceeds the true p99 with probability 1 - 0.99^200 = 87 % only.
    assert stats.percentile_interval(ranked(range(200)), 0.99).high == math.inf
    # With 400 it is 98.2 %.
    assert stats.percentile_interval(ranked(range(400)), 0.99).high == 399
    assert stats.percentile_interval(ranked([3]), 0.5) == stats.NO_INTERVAL


@pytest.mark.parametrize(("count", "share"), [(60, 0.5), (300, 0.9), (3000, 0.99)])
def test_intervals_hold_the_true_percentile_as_often_as_they_say(count, share):
    chance = random.Random(7)
    truth = -math.log(1 - share)
    trials = 400
    held = sum(
        stats.percentile_interval(ranked([chance.expovariate(1) for _ in range(count)]), share).holds(truth)
        for _ in range(trials)
    )
    # 95 % of 400 is 380 with a deviation of 4.4: four deviations below.
    assert held >= 362


def test_the_fast_bootstrap_draws_as_resampling_does():
    chance = random.Random(3)
    values = [chance.expovariate(1) for _ in range(200)]
    slow = sorted(stats.percentile(ranked(chance.choices(values, k=len(values))), 0.9) for _ in range(stats.RESAMPLES))
    run = ranked(values)
    fast = sorted(stats.resampled_percentile([run], 0.9, chance) for _ in range(stats.RESAMPLES))
    for share in (0.05, 0.5, 0.95):
        index = int(share * stats.RESAMPLES)
        assert fast[index] == pytest.approx(slow[index], rel=0.06)


def test_several_runs_give_their_median_and_an_interval_that_spans_their_spread():
    chance = random.Random(5)
    runs = [ranked([level + chance.random() / 100 for _ in range(1000)]) for level in (1.0, 2.0, 3.0)]
    assert stats.typical_percentile(runs, 0.5) == pytest.approx(2.0, abs=0.01)
    interval = stats.typical_percentile_interval(runs, 0.5, chance)
    assert interval.low == pytest.approx(1.0, abs=0.01)
    assert interval.high == pytest.approx(3.0, abs=0.01)


def test_an_empty_run_is_left_out():
    runs = [ranked([]), ranked([4.0] * 50)]
    assert stats.typical_percentile(runs, 0.5) == 4.0
    assert stats.typical_percentile_interval(runs, 0.5, random.Random(1)) == stats.Interval(4.0, 4.0)
    assert math.isnan(stats.typical_percentile([ranked([])], 0.5))


def test_a_ratio_holds_the_true_one_and_tells_a_difference():
    chance = random.Random(9)

    def runs(scale):
        return [histogram.of(int(chance.expovariate(1) * scale) for _ in range(2000)).ranked() for _ in range(3)]

    slower = stats.percentile_ratio_interval(runs(2e6), runs(1e6), 0.5, chance)
    assert slower.holds(2.0)
    assert not slower.holds(1.0)
    same = stats.percentile_ratio_interval(runs(1e6), runs(1e6), 0.99, chance)
    assert same.holds(1.0)
    assert stats.percentile_ratio_interval([], runs(1), 0.5, chance) == stats.NO_INTERVAL


def test_scalars_have_students_interval():
    # Student's own example in most textbooks: mean 5, s = 1, n = 4, t = 3.182.
    values = [5 - math.sqrt(1.5), 5.0, 5.0, 5 + math.sqrt(1.5)]
    interval = stats.scalar_interval(values)
    assert interval.low == pytest.approx(5 - 3.182 / 2, rel=1e-3)
    assert interval.high == pytest.approx(5 + 3.182 / 2, rel=1e-3)
    assert stats.scalar_interval([5.0]) == stats.NO_INTERVAL


def test_scalar_ratios():
    interval = stats.scalar_ratio_interval([200.0, 210.0, 190.0], [100.0, 105.0, 95.0])
    assert interval.holds(2.0)
    assert not interval.holds(1.5)
    assert stats.scalar_ratio_interval([2.0, 2.0], [1.0, 1.0]) == stats.Interval(2.0, 2.0)
    assert stats.scalar_ratio_interval([2.0], [1.0, 1.0]) == stats.NO_INTERVAL
    assert stats.scalar_ratio_interval([2.0, 0.0], [1.0, 1.0]) == stats.NO_INTERVAL


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.706), (16, 2.120), (30, 2.042), (1000, 1.962)])
def test_students_t(freedom, expected):
    assert stats._t(freedom) == pytest.approx(expected, abs=0.001)
