import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.pool import scaler


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"waiting": 20}, 20),  # a burst on a cold function: a worker for each
        ({"waiting": 20, "starting": 20}, 0),
        ({"waiting": 3, "starting": 1}, 2),
        ({"waiting": 1, "busy": 1}, 1),  # how long a call takes is not known yet
        ({"waiting": 1, "busy": 1, "service_s": 0.3}, 1),  # a slow function: its worker will not be free soon
        ({"waiting": 10, "busy": 1, "service_s": 0.001}, 0),  # a fast one serves ten calls while one would start
        ({"waiting": 16, "busy": 1, "service_s": 0.001}, 3),  # while three start, it serves the others
        ({"waiting": 11, "busy": 1, "service_s": 0.001}, 1),
        ({"waiting": 1, "busy": 1, "service_s": 0.0}, 0),
        ({"waiting": 30, "busy": 2, "service_s": 0.005, "gap_s": 0.0002}, 0),  # it is the supervisor that is slow
        ({"waiting": 30, "busy": 2, "service_s": 0.005, "gap_s": 0.002}, 5),
        ({"waiting": 30, "busy": 2, "service_s": 0.3, "gap_s": 0.15}, 29),
        ({"waiting": 250, "starting": 3, "busy": 1, "service_s": 0.001}, 12),  # those that start count as well
        ({"waiting": 20, "starting": 3, "service_s": 9.0}, 17),
        ({"waiting": 20, "on_trial": True}, 4),
        ({"waiting": 20, "starting": 3, "on_trial": True}, 1),
        ({"waiting": 20, "starting": 2, "busy": 3, "on_trial": True}, 0),
        ({"waiting": 2, "on_trial": True}, 2),
    ],
)
def test_the_number_of_starts(state, expected):
    full = {"starting": 0, "busy": 0, "service_s": None, "gap_s": None, "start_s": 0.01, "processors": 2, **state}
    assert scaler.starts(**full) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"waiting": 10, "overdue": 2}, 2),  # nobody was served: the worker is busy for longer than was expected
        ({"waiting": 10, "overdue": 9, "starting": 4}, 6),
        ({"waiting": 30, "overdue": 10, "served": 25}, 0),  # it goes on, and their turn will come
        ({"waiting": 30, "overdue": 10, "served": 4}, 6),
        ({"waiting": 30, "overdue": 0}, 0),
        ({"waiting": 250, "overdue": 200, "served": 40}, 12),
    ],
)
def test_the_number_of_late_starts(state, expected):
    full = {"starting": 0, "served": 0, "patience_s": 0.01, "processors": 2, **state}
    assert scaler.late_starts(**full) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, True),
        ({"rested": True}, False),
        ({"waiting": 0}, False),
        ({"starting": 1}, False),
        ({"workers": 15}, True),
        ({"workers": 16}, False),
        ({"workers": 16, "processors": 3}, True),
    ],
)
def test_workers_that_never_rest_get_one_more_at_a_time(state, expected):
    full = {"waiting": 1, "starting": 0, "workers": 1, "rested": False, "processors": 2, **state}
    assert scaler.wants_more(**full) is expected


@given(
    st.integers(0, 2000),
    st.integers(0, 2000),
    st.integers(0, 1000),
    st.none() | st.floats(0, 900),
    st.none() | st.floats(0, 900),
    st.floats(0.001, 10),
    st.integers(1, 128),
    st.booleans(),
)
def test_never_more_than_are_missing(waiting, starting, busy, service, gap, start, processors, on_trial):
    count = scaler.starts(
        waiting=waiting,
        starting=starting,
        busy=busy,
        service_s=service,
        gap_s=gap,
        start_s=start,
        processors=processors,
        on_trial=on_trial,
    )
    assert 0 <= count <= max(0, waiting - starting)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000))
def test_an_overdue_call_gets_a_start_where_nobody_is_served(waiting, overdue, starting):
    overdue = min(overdue, waiting)
    count = scaler.late_starts(
        waiting=waiting, overdue=overdue, starting=starting, served=0, patience_s=0.01, processors=2
    )
    assert count == min(overdue, max(0, waiting - starting))


def test_an_average_begins_with_its_first_sample_and_follows():
    mean = scaler.Average()
    mean.add(8.0)
    assert mean.value == 8.0
    mean.add(16.0)
    assert mean.value == 9.0


def test_a_function_scales_out_so_far_at_once_and_then_at_a_rate():
    rate = scaler.ScaleOut(1000, 5.0)
    assert [rate.take(5.0) for _ in range(1001)] == [True] * 1000 + [False]
    assert [rate.take(5.25) for _ in range(26)] == [True] * 25 + [False]
    assert sum(rate.take(60.0) for _ in range(2000)) == 1000
