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


def test_provisioned_places_are_a_versions_own_and_calls_that_exceed_them_take_the_shared_ones():
    places = admission.Admission(4)
    places.provision("a", {"1": 2})
    assert places.unreserved == 2
    assert [places.admit("a", "1") for _ in range(3)] == [None] * 3
    assert places.admit("b") is None
    assert places.admit("b") == places.admit("a", "1") == places.admit("a", "$LATEST") == admission.ACCOUNT
    places.release("a", "1")
    assert places.admit("b") is None
    assert places.admit("b") == admission.ACCOUNT
    places.release("a", "1")
    assert places.admit("b") == admission.ACCOUNT
    assert places.admit("a", "1") is None


def test_what_is_provisioned_of_a_reservation_is_lost_to_other_versions():
    places = admission.Admission(10)
    places.reserve("a", 2)
    places.provision("a", {"1": 2})
    assert places.unreserved == 8
    assert places.admit("a", "$LATEST") == admission.RESERVED
    assert [places.admit("a", "1") for _ in range(3)] == [None, None, admission.RESERVED]
    places.provision("a", {})
    places.release("a", "1")
    assert places.admit("a", "$LATEST") is None


NAMES = [("a", "1"), ("a", "2"), ("b", "1")]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["admit", "admit", "release", "reserve", "provision", "provision"]),
            st.sampled_from(NAMES),
            st.none() | st.integers(0, 4),
        )
    )
)
def test_provisioned_counts_hold_over_any_history(history):
    """No more run than the account has, no place is lost, and free provisioned places are always to be had."""
    places = admission.Admission(10)
    running, own, reserved = dict.fromkeys(NAMES, 0), {}, {}
    for action, (name, version), number in history:
        if action == "reserve":
            places.reserve(name, number)
            reserved.pop(name, None)
            if number is not None:
                reserved[name] = number
        elif action == "provision":
            own[name, version] = number or 0
            places.provision(name, {v: own[n, v] for n, v in own if n == name and own[n, v]})
        elif action == "release":
            if running[name, version]:
                places.release(name, version)
                running[name, version] -= 1
        elif places.admit(name, version) is None:
            running[name, version] += 1
        assert places.running("a") == running["a", "1"] + running["a", "2"]
    for key in NAMES:
        while running[key]:
            places.release(*key)
            running[key] -= 1
    taken = {n: reserved.get(n, sum(own.get((n, v), 0) for m, v in NAMES if m == n)) for n in "ab"}
    assert places.unreserved == places.free == 10 - sum(taken.values())
    for key in NAMES:
        assert [places.admit(*key) for _ in range(own.get(key, 0))] == [None] * own.get(key, 0)
