from hypothesis import given
from hypothesis import strategies as st

from runtime.pool import demand


def after(*times):
    one = demand.Demand(64)
    for time in times:
        one.started(time)
    return one


def test_nothing_is_wanted_before_anything_was_started():
    assert after().wanted(0.0, 2) == 0


def test_one_start_wants_the_least():
    assert after(5.0).wanted(5.0, 2) == 2
    assert after(5.0).wanted(5.0, 0) == 0


def test_a_burst_wants_as_many_as_came_at_once():
    assert after(*(5.0 + n / 1000 for n in range(20))).wanted(5.0, 2) == 20


def test_starts_far_from_each_other_are_no_burst():
    assert after(*(5.0 + n for n in range(20))).wanted(25.0, 2) == 2


def test_a_burst_fades_by_half_each_half_life_and_idleness_ends_it():
    one = after(*(5.0 for _ in range(16)))
    assert one.wanted(5.0 + demand.HALF_LIFE_S, 2) == 8
    assert one.wanted(5.0 + 2 * demand.HALF_LIFE_S, 2) == 4
    assert one.wanted(5.0 + demand.LINGER_S, 2) == 2
    assert one.wanted(5.1 + demand.LINGER_S, 2) == 0


def test_a_later_smaller_burst_does_not_hide_a_larger_one():
    one = after(*(5.0 for _ in range(16)), 6.0, 6.0)
    assert one.wanted(6.0, 2) >= 15


@given(st.lists(st.floats(0, 1000), max_size=200), st.integers(0, 5))
def test_it_is_bounded_by_what_is_remembered_and_by_the_least(times, least):
    one = after(*sorted(times))
    for now in (1000.0, 1100.0, 2000.0):
        assert one.wanted(now, least) <= max(64, least)
