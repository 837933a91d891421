from hypothesis import given
from hypothesis import strategies as st

from runtime.invoke import admission


def test_the_account_limit_is_shared_by_functions_without_reserved_concurrency():
    places = admission.Admission(2)
    assert places.admit("a") is None
    assert places.admit("b") is None
    assert places.admit("a") == admission.ACCOUNT
    places.release("b")
    assert places.admit("a") is None


def test_reserved_places_are_a_functions_own_and_its_only_ones():
    places = admission.Admission(10)
    places.reserve("a", 1)
    assert places.admit("a") is None
    assert places.admit("a") == admission.RESERVED
    assert [places.admit("b") for _ in range(9)] == [None] * 9
    assert places.admit("b") == admission.ACCOUNT


def test_zero_turns_a_function_off():
    places = admission.Admission(10)
    places.reserve("a", 0)
    assert places.admit("a") == admission.RESERVED


def test_running_calls_change_sides_when_their_function_is_given_places():
    places = admission.Admission(3)
    for _ in range(3):
        assert places.admit("a") is None
    places.reserve("a", 1)
    assert places.admit("a") == admission.RESERVED
    assert places.admit("b") is None
    places.reserve("a", None)
    assert places.admit("b") == admission.ACCOUNT


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["admit", "release", "reserve"]), st.sampled_from("abc"), st.none() | st.integers(0, 4)
        )
    )
)
def test_counts_hold_over_any_history(history):
    places = admission.Admission(10)
    running = dict.fromkeys("abc", 0)
    reserved = {}
    for action, name, number in history:
        if action == "reserve":
            places.reserve(name, number)
            reserved.pop(name, None)
            if number is not None:
                reserved[name] = number
        elif action == "release":
            if running[name]:
                places.release(name)
                running[name] -= 1
        else:
            shared = sum(count for other, count in running.items() if other not in reserved)
            room = running[name] < reserved[name] if name in reserved else shared < 10 - sum(reserved.values())
            assert (places.admit(name) is None) == room
            running[name] += room
        assert {one: places.running(one) for one in running} == running
