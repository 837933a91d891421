import itertools
import random
import statistics

from bench import pace, plan


def load(order, count=3):
    calls = [plan.Call(path=f"/{n}", weight=10.0**-n) for n in range(count)]
    return plan.Plan(host="h", port=1, calls=calls, order=order)


def test_constant_arrival_neither_drifts_nor_reaches_the_end():
    dues = list(pace.due_times(plan.Open(rate=3), 2.0, None, random.Random(1)))
    assert dues == [0, 333_333_333, 666_666_666, 1_000_000_000, 1_333_333_333, 1_666_666_666]


def test_a_count_ends_the_arrivals_too():
    assert len(list(pace.due_times(plan.Open(rate=1000), 10, 7, random.Random(1)))) == 7


def test_poisson_arrivals_come_at_their_rate_with_exponential_gaps():
    dues = list(pace.due_times(plan.Open(rate=1000, arrival="poisson"), 20, None, random.Random(1)))
    gaps = [b - a for a, b in itertools.pairwise(dues)]
    # 20,000 events: a deviation is 141.
    assert abs(len(dues) - 20_000) < 600
    assert min(gaps) >= 0
    # An exponential distribution's deviation is its mean.
    assert 0.95 < statistics.pstdev(gaps) / statistics.fmean(gaps) < 1.05


def test_orders():
    chance = random.Random(1)
    assert list(pace.choices(load("once"), chance)) == [0, 1, 2]
    assert list(itertools.islice(pace.choices(load("cycle"), chance), 5)) == [0, 1, 2, 0, 1]
    drawn = list(itertools.islice(pace.choices(load("weighted"), chance), 10_000))
    # Weights 1, 0.1, 0.01.
    assert abs(drawn.count(0) / 10_000 - 1 / 1.11) < 0.02
    assert 0 < drawn.count(2) < 200
