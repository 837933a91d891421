import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import keepalive, policies
from runtime.pool import keepalive as policy_of_pool


def a_function(*busy, memory=100.0):
    return keepalive.Function(busy, 10 * len(busy), memory)


class Windows:
    """A policy of fixed windows that remembers the gaps it was told."""

    def __init__(self, prewarm, keep):
        self.answer = float(prewarm), float(keep)
        self.gaps = []

    def gap(self, length):
        self.gaps.append(length)

    def windows(self):
        return self.answer


@pytest.mark.parametrize(
    ("prewarm", "keep", "cold", "wasted"),
    [
        # Busy in minutes 0, 1, 5 and 30; then 1409 minutes until midnight. Idle gaps: 3 and 24.
        (0, 10, 2, 3 + 10 + 10),
        (0, 24, 1, 3 + 24 + 24),
        (0, 0, 3, 0),
        (3, 1, 2, 0 + 1 + 1),
        (4, 30, 2, 0 + 20 + 30),
        (0, 5000, 1, 3 + 24 + 1409),
    ],
)
def test_a_day_by_hand(prewarm, keep, cold, wasted):
    policy = Windows(prewarm, keep)
    score = keepalive.simulate([a_function(0, 1, 5, 30)], lambda: policy)
    assert (score.cold, score.wasted_minutes, score.wasted_mb_minutes) == (cold, wasted, wasted * 100)
    assert policy.gaps == [3, 24]
    assert score.cold_share == cold / 40


def test_functions_add_up_and_one_that_never_runs_costs_nothing():
    score = keepalive.simulate(
        [a_function(7), a_function(), a_function(9, memory=1.0)], lambda: policy_of_pool.Fixed(10)
    )
    assert (score.cold, score.wasted_minutes, score.wasted_mb_minutes) == (2, 20, 1010)


@given(st.sets(st.integers(0, keepalive.MINUTES - 1), min_size=1, max_size=50))
def test_longer_keep_alive_is_never_colder_and_never_cheaper(busy):
    functions = [a_function(*sorted(busy))]
    scores = [keepalive.simulate(functions, lambda k=k: policy_of_pool.Fixed(k)) for k in (0, 5, 60, keepalive.MINUTES)]
    assert scores == sorted(scores, key=lambda score: -score.cold)
    assert scores == sorted(scores, key=lambda score: score.wasted_minutes)
    assert scores[-1].cold == 1


def test_the_histogram_learns_a_period_and_then_waits_for_it():
    policy = policies.HybridHistogram()
    assert policy.windows() == (0.0, 240.0)
    for _ in range(20):
        policy.gap(30)
    prewarm, keep = policy.windows()
    assert prewarm == 27
    assert prewarm + keep == pytest.approx(33)
    # 48 calls, one each half hour: all but the first few are warm, and 3 minutes are wasted each time.
    score = keepalive.simulate([a_function(*range(0, keepalive.MINUTES, 31))], policies.HybridHistogram)
    assert score.cold == 1
    assert score.wasted_minutes < 5 * 30 + 50 * 4


def test_the_histogram_does_not_trust_gaps_that_lie_anywhere_or_beyond_it():
    even = policies.HybridHistogram()
    for length in range(1, 241):
        even.gap(length)
    assert even.windows() == (0.0, 240.0)
    far = policies.HybridHistogram()
    for _ in range(10):
        far.gap(5)
    for _ in range(11):
        far.gap(1000)
    assert far.windows() == (0.0, 240.0)


def test_a_trace_is_read(tmp_path):
    minutes = [f"minute_{n}" for n in range(1, 1441)]
    counts = ["0"] * 1440
    counts[3], counts[1439] = "7", "1"
    (tmp_path / "x_inv.csv").write_text(
        ",".join(["HashFunction", "HashApp", *minutes]) + "\n" + ",".join(["f", "a", *counts]) + "\n"
    )
    with pytest.raises(FileNotFoundError, match="_mem"):
        keepalive.read(tmp_path)
    (tmp_path / "x_mem.csv").write_text("HashApp,AverageAllocatedMb\na,64\n")
    assert keepalive.read(tmp_path) == [keepalive.Function((3, 1439), 8, 64.0)]
    (tmp_path / "x_inv.csv").write_text("HashFunction\nf\n")
    with pytest.raises(ValueError, match="column"):
        keepalive.read(tmp_path)
