"""What is said about stalls: found where they are, and not where only the machine stalls."""

import itertools
import random

import pytest

from bench import stalls

MS = 1_000_000


def test_a_call_belongs_to_a_window_if_it_was_under_way_in_it():
    window = stalls.Window(100, 200)
    times = [(50, 99), (50, 100), (90, 250), (120, 130), (200, 260), (201, 210)]
    assert window.latencies(times) == [50, 160, 10, 60]


def seen(stall_of, *, count=150, noisy=0.2, seed=1):
    """Pairs on a machine that stalls windows of both kinds now and then, for 2 to 60 ms."""
    chance = random.Random(seed)

    def longest(stall):
        noise = chance.uniform(2, 60) if chance.random() < noisy else 0.0
        return (chance.uniform(0.5, 1.0) + max(stall, noise)) * MS

    return stalls.Pairs([longest(stall_of(number)) for number in range(count)], [longest(0.0) for _ in range(count)])


@pytest.mark.parametrize("noisy", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(10))
def test_a_stall_of_every_window_is_found_whatever_the_machine_does(noisy, seed):
    for stall in (6, 50):
        found = seen(lambda _: stall, noisy=noisy, seed=seed)  # noqa: B023 - called at once
        assert found.exceeded_by(0.2) >= (stall - 0.5) * MS
        assert found.share_above(5 * MS) > 0.9
    # Exactly so, where there is nothing else.
    assert seen(lambda _: 6, noisy=0.0, seed=seed).exceeded_by(0.2) == pytest.approx(6 * MS, abs=0.5 * MS)


@pytest.mark.parametrize("noisy", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(10))
def test_what_stalls_nothing_is_not_blamed_for_the_machine(noisy, seed):
    found = seen(lambda _: 0.0, noisy=noisy, seed=seed)
    assert found.exceeded_by(0.2) < 1 * MS
    assert found.share_above(5 * MS) < 0.2


def test_one_of_three_is_found_too_and_one_of_ten_shows_in_the_shares():
    often = seen(lambda number: 20 * (number % 3 == 0), noisy=0.1)
    assert often.exceeded_by(0.2) > 18 * MS
    assert often.share_above(5 * MS) == pytest.approx(1 / 3, abs=0.1)
    seldom = seen(lambda number: 20 * (number % 10 == 0), noisy=0.0)
    assert seldom.exceeded_by(0.2) < 1 * MS
    assert seldom.exceeded_by(0.05) > 18 * MS
    assert seldom.share_above(5 * MS) == pytest.approx(0.1)


def test_the_figure_is_the_one_that_the_share_says():
    found = stalls.Pairs([float(n) for n in range(1, 11)], [0.0] * 10)
    assert found.exceeded_by(0.2) == 8
    assert found.share_above(8) == pytest.approx(0.2)
    assert found.share_above(7) == pytest.approx(0.3)
    assert found.exceeded_by(1.0) == 0
    assert all(one >= other for one, other in itertools.pairwise(found.exceeded_by(s / 10) for s in range(10)))


def test_the_intervals_hold_the_figures():
    found = seen(lambda number: number % 11)
    stall, shares = found.intervals(random.Random(3), share=0.2, stalls=[2 * MS, 5 * MS])
    assert stall.holds(found.exceeded_by(0.2))
    assert stall.low < stall.high
    assert shares[0].holds(found.share_above(2 * MS))
    assert shares[1].holds(found.share_above(5 * MS))
    assert shares[1].high < 1
