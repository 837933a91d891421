"""Who goes first in a flood of events, and that nothing becomes old by it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from runtime.invoke import flood

TICK_S = 0.1


MANY = 50
"""Senders that wait."""


class Machine:
    """Events that come in, wait, run and end; the test says how many come in and could run, and how many wait to send."""

    def __init__(self):
        self.flood = flood.Flood()
        self.now = 50.0
        self.received = self.begun = 0
        self.look(0, busy=True)

    @property
    def waiting(self):
        return self.received - self.begun

    def look(self, senders, *, busy):
        self.flood.look(self.now, received=self.received, senders=senders, waiting=self.waiting > 0, busy=busy)

    def tick(self, came, could, *, busy=True, batch=16, took_s=0.0, senders=MANY):
        """Live through a tenth of a second; return how many events began, of as many as ``could``."""
        began = 0
        for start in range(0, max(came, 1), batch):
            self.received += max(0, min(batch, came - start))
            while self.waiting and began < could and self.flood.may_begin(self.received):
                self.flood.begun()
                self.flood.ended(took_s)
                began, self.begun = began + 1, self.begun + 1
        self.now += TICK_S
        self.look(senders, busy=busy)
        return began


@pytest.fixture
def machine():
    return Machine()


def test_what_is_no_flood_is_not_held_back(machine):
    for _ in range(300):
        assert machine.tick(50, 50) == 50
        assert not machine.flood.now


def test_a_flood_that_the_machine_can_do_is_not_held_back(machine):
    for _ in range(300):
        assert machine.tick(500, 500, busy=False) == 500
        assert not machine.flood.now


def test_a_flood_for_which_no_sender_waits_is_not_held_back(machine):
    for _ in range(300):
        assert machine.tick(500, 500, senders=flood.SENDERS - 0.1) == 500
        assert not machine.flood.now


def test_a_moment_in_which_senders_wait_makes_no_flood_but_several_do(machine):
    for senders in (6, 6, 6, 24, 6):
        machine.tick(500, 500, senders=senders)
        assert not machine.flood.now
    for _ in range(5):
        machine.tick(500, 500, senders=16)
    assert machine.flood.now


def test_in_a_flood_one_event_begins_for_every_few_that_come_in(machine):
    machine.tick(600, 300)
    assert machine.flood.now
    began = sum(machine.tick(600, 300) for _ in range(50))
    assert began == pytest.approx(50 * (600 * flood.PART + flood.PER_LOOK), rel=0.05)


@pytest.mark.parametrize("took_s", [0.002, 0.005])
def test_an_event_that_takes_long_counts_as_many(machine, took_s):
    machine.tick(600, 300)
    began = sum(machine.tick(600, 300, took_s=took_s) for _ in range(50))
    assert began * took_s == pytest.approx(50 * (600 * flood.PART + flood.PER_LOOK) * flood.SHORT_S, rel=0.05)


def test_when_the_flood_is_over_all_that_can_runs(machine):
    for _ in range(20):
        machine.tick(600, 300)
    for _ in range(2):
        machine.tick(0, 300, senders=0)
    assert not machine.flood.now
    assert machine.tick(0, 300) == 300


@pytest.mark.parametrize("halt", [{"came": 0}, {"came": 600, "busy": False}])
def test_a_moment_without_work_ends_no_flood(machine, halt):
    for _ in range(20):
        machine.tick(600, 300)
    machine.tick(**halt, could=300)
    assert machine.flood.now
    assert machine.tick(**halt, could=300) < 100
    assert not machine.flood.now


def test_a_flood_that_lasts_is_one_for_some_seconds_in_turns(machine):
    flooded = [machine.flood.now for _ in range(1000) if machine.tick(600, 300) or True]
    assert flooded[2]
    turns = [len(list(turn)) * TICK_S for _, turn in itertools.groupby(flooded[2:])]
    assert len(turns) > 5
    assert turns[:5] == [pytest.approx(flood.LONGEST_S, abs=3 * TICK_S)] * 5


def test_after_a_flood_that_lasted_the_next_comes_when_nothing_waits(machine):
    while machine.tick(600, 300) >= 0 and (machine.flood.now or machine.waiting < 1000):
        pass
    machine.tick(600, 300)
    assert not machine.flood.now
    while machine.waiting:
        machine.tick(0, 100_000)
    machine.tick(0, 0)
    machine.tick(600, 300)
    assert machine.flood.now


def test_two_floods_in_a_row_are_both_floods_while_the_first_still_waits(machine):
    for _ in range(50):
        machine.tick(600, 300)
    for _ in range(50):
        machine.tick(0, 10)
    for _ in range(50):
        machine.tick(600, 300)
        assert machine.flood.now


def test_what_comes_in_does_not_keep_a_larger_backlog_from_running(machine):
    machine.received = 100_000
    machine.look(0, busy=False)
    for _ in range(50):
        machine.tick(120, 500, senders=3)
    assert not machine.flood.now
    assert machine.begun > 20_000


def test_what_was_saved_up_in_a_lull_does_not_begin_at_once(machine):
    machine.tick(600, 0)
    machine.tick(600, 0)
    assert machine.flood.now
    assert machine.tick(0, 1000, batch=1) <= flood.MOST


TICKS = some.tuples(
    some.integers(0, 2000),
    some.integers(0, 500),
    some.booleans(),
    some.sampled_from([0, 0.001, 0.3]),
    some.integers(0, 100),
)


@given(some.lists(TICKS, max_size=400))
def test_whatever_comes_some_begin_in_every_tick_and_no_flood_lasts(ticks):
    machine = Machine()
    lasted = took_before_s = 0.0
    for came, could, busy, took_s, senders in ticks:
        long, took_before_s = max(took_s, took_before_s) > flood.SHORT_S, took_s
        waited = machine.waiting
        held_back = machine.flood.now
        began = machine.tick(came, could, busy=busy, took_s=took_s, senders=senders)
        assert machine.flood.likely or not machine.flood.now
        assert began >= min(waited, could, 1 if long else flood.PER_LOOK - 1)
        if not held_back:
            assert began == min(waited + came, could)
        lasted = max(0.0, lasted + (TICK_S if held_back else -TICK_S)) if machine.waiting else 0.0
        assert lasted <= flood.LONGEST_S + 2 * TICK_S


@given(some.integers(1, 60), some.integers(1, 16))
def test_in_a_flood_each_of_many_functions_gets_its_turn_within_a_second(functions, batch):
    machine = Machine()
    machine.tick(400, 0)
    machine.tick(400, 0)
    assert machine.flood.now
    turns, seen = itertools.cycle(range(functions)), set()
    for _ in range(10):
        for _ in range(machine.tick(120, 1000, batch=batch)):
            seen.add(next(turns))
    assert len(seen) == functions
