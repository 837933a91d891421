import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bench import histogram


@given(st.integers(0, 2**43 - 1))
def test_a_bucket_holds_its_values_and_its_middle_is_within_one_percent_of_them(value):
    low, high = histogram.bounds_of(histogram.bucket_of(value))
    assert low <= value <= high
    assert abs((low + high) / 2 - value) <= 0.01 * value


def test_buckets_leave_no_gap_and_do_not_overlap():
    bounds = [histogram.bounds_of(bucket) for bucket in range(3000)]
    assert bounds[0] == (0, 0)
    assert all(right[0] == left[1] + 1 for left, right in pairwise(bounds))


@given(st.lists(st.integers(-5, 2**45), min_size=1, max_size=200))
def test_recording_agrees_with_bucket_of(values):
    result = histogram.of(values)
    clamped = [min(max(value, 0), 2**43 - 1) for value in values]
    expected: dict[int, int] = {}
    for value in clamped:
        bucket = histogram.bucket_of(value)
        expected[bucket] = expected.get(bucket, 0) + 1
    assert dict(result.buckets) == expected
    assert (result.count, result.total, result.min, result.max, result.samples) == (
        len(values),
        sum(clamped),
        min(clamped),
        max(clamped),
        clamped,
    )


def test_beyond_the_limit_samples_are_dropped_and_percentiles_stay_within_one_percent(monkeypatch):
    monkeypatch.setattr(histogram, "SAMPLE_LIMIT", 1000)
    chance = random.Random(1)
    values = [int(chance.lognormvariate(11, 1)) for _ in range(5000)]
    result = histogram.of(values)
    assert result.samples is None
    ranked, exact = result.ranked(), sorted(values)
    for rank in (1, 50, 2500, 4950, 4995, 5000):
        assert abs(ranked.at(rank) - exact[rank - 1]) <= 0.01 * exact[rank - 1]
    assert (ranked.at(1), ranked.at(5000)) == (exact[0], exact[-1])


def test_at_the_limit_samples_are_kept_and_ranks_exact(monkeypatch):
    monkeypatch.setattr(histogram, "SAMPLE_LIMIT", 3)
    assert histogram.of([1003, 1001, 1002]).samples == [1003, 1001, 1002]
    assert histogram.of([1003, 1001, 1002]).ranked().at(2) == 1002
    assert histogram.of([1, 2, 3, 4]).samples is None


def test_merging_is_recording_together():
    left, right = [5, 1000, 2_000_000], [1001, 7]
    assert histogram.merged([histogram.of(left), histogram.of(right)]) == histogram.of(left + right)
    assert histogram.merged([histogram.of([]), histogram.of(right)]) == histogram.of(right)
    assert histogram.merged([]).count == 0
