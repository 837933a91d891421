import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.pool import keepalive


def learned(*gaps, **options):
    policy = keepalive.Learned(**options)
    for length in gaps:
        policy.gap(length)
    return policy


def test_the_unknown_is_waited_for_a_little():
    prewarm, keep = learned().windows()
    assert prewarm == 0
    assert 5 < keep < 60


def test_the_dearer_a_cold_start_the_longer_is_waited():
    dear, usual, cheap = learned(worth=1000), learned(), learned(worth=2)
    assert dear.windows()[1] > usual.windows()[1] > cheap.windows()[1]


def test_a_period_is_learned_and_waited_for_when_it_is_due():
    prewarm, keep = learned(*[200] * 50).windows()
    assert 100 < prewarm <= 200 <= prewarm + keep
    assert keep < 50


def test_what_never_comes_in_time_is_let_go():
    prewarm, keep = learned(*[1400, 1000] * 200).windows()
    assert prewarm > 0 or keep == 0


def test_windows_are_thought_over_only_when_enough_more_is_known(monkeypatch):
    policy = learned(*[30] * 100)
    before = policy.windows()
    monkeypatch.setattr(keepalive, "_best", lambda *_: pytest.fail("thought over"))
    for _ in range(10):
        policy.gap(600)
    assert policy.windows() == before


def test_what_nothing_is_known_of_is_thought_over_once_for_all(monkeypatch):
    first = keepalive.Learned().windows()
    monkeypatch.setattr(keepalive, "_best", lambda *_: pytest.fail("thought over"))
    assert keepalive.Learned().windows() == first


@given(st.lists(st.integers(1, 5000), max_size=40))
def test_windows_are_never_negative_nor_endless(gaps):
    prewarm, keep = learned(*gaps).windows()
    assert prewarm >= 0
    assert 0 <= keep <= keepalive.RANGE


@given(st.lists(st.integers(1, keepalive.RANGE), min_size=1, max_size=30))
def test_no_other_window_would_have_been_expected_to_do_better(gaps):
    policy = learned(*gaps)
    prewarm, keep = policy.windows()
    weight = 1 / (len(gaps) + 1)
    chances = [weight * chance for chance in keepalive._IN_GENERAL]
    for length in gaps:
        low, high = max(length - length // 10, 1), min(length + length // 10, keepalive.RANGE)
        for minute in range(low, high + 1):
            chances[minute] += weight / (high - low + 1)
    left, sums = 1.0, [0.0]
    for minute in range(1, keepalive.RANGE + 1):
        sums.append(sums[-1] + chances[minute] - left / keepalive.WORTH)
        left -= chances[minute]
    lowest, best = 0.0, 0.0
    for total in sums:
        best = max(best, total - lowest)
        lowest = min(lowest, total)
    chosen = sums[int(prewarm + keep)] - sums[int(prewarm)]
    assert chosen == pytest.approx(best, abs=1e-9)


def test_the_fixed_policy_learns_nothing():
    policy = keepalive.Fixed(10)
    policy.gap(300)
    assert policy.windows() == (0.0, 10)


def test_memory_is_taken_first_from_what_is_large_rare_and_quick_to_start():
    def worth(calls=10, start_s=0.1, size=100, clock=0.0):
        return keepalive.worth_keeping(clock, calls, start_s, size)

    assert worth(calls=1) < worth()
    assert worth(start_s=0.01) < worth()
    assert worth(size=1000) < worth()
    # Who was called after others went outlives those who were called much, but long ago.
    assert worth(calls=1, clock=1.0) > worth(calls=90)
