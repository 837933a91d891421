"""Which idle workers are kept, on a clock that the test turns."""

import dataclasses
import heapq
import itertools

import pytest
import scripted

from runtime.pool import group as groups
from runtime.pool import idle


class Loop:
    """What of an event loop is used here."""

    def __init__(self):
        self.now = 0.0
        self._timers = []
        self._order = itertools.count()

    def time(self):
        return self.now

    def call_later(self, delay, call):
        timer = Timer(call)
        heapq.heappush(self._timers, (self.now + delay, next(self._order), timer))
        return timer

    def run_until(self, when):
        while self._timers and self._timers[0][0] <= when:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.call is not None:
                timer.call()
        self.now = when

    @property
    def asleep(self):
        return not any(timer.call for _, _, timer in self._timers)


class Timer:
    def __init__(self, call):
        self.call = call

    def cancel(self):
        self.call = None


class Policy:
    def __init__(self, prewarm, keep):
        self.answer = (prewarm, keep)

    def gap(self, length):
        pass

    def windows(self):
        return self.answer


class Worker:
    provisioned = False

    def __init__(self):
        self.drained = self.frozen = False
        self.old = False
        self.moves = False
        self.looks = 0

    def drain(self):
        self.drained = True

    def freeze(self):
        self.frozen = True
        self.looks += 1
        return not self.moves

    def outlived(self, grace_s):
        return self.old


class Stage:
    def __init__(self, monkeypatch, **options):
        self.loop = Loop()
        monkeypatch.setattr(idle.asyncio, "get_running_loop", lambda: self.loop)
        self.prewarmed = []
        self.idle = idle.Idle(ttl_s=600, prewarm=self.prewarmed.append, **options)

    def group(self, prewarm=0.0, keep=10.0, name="f"):
        version = dataclasses.replace(scripted.VERSION, function_name=name)
        return groups.Group(version.key, version, groups.Lane(Policy(prewarm, keep)))

    def rest(self, group, *workers):
        """Let workers end their calls now."""
        for one in workers:
            self.idle.put(group, one)
        group.lane.quiet_since = self.loop.now


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


def test_the_last_worker_is_kept_for_its_window_and_then_nothing_is_looked_at_any_more(stage):
    group, one = stage.group(keep=10), Worker()
    stage.rest(group, one)
    stage.loop.run_until(599)
    assert not one.drained
    stage.loop.run_until(610)
    assert one.drained
    assert group.idle == []
    stage.loop.run_until(1000)
    assert stage.loop.asleep


def test_others_than_the_last_are_kept_for_the_fixed_time(stage):
    group, first, last = stage.group(keep=30), Worker(), Worker()
    stage.rest(group, first, last)
    stage.loop.run_until(610)
    assert (first.drained, last.drained) == (True, False)
    stage.loop.run_until(1810)
    assert last.drained


def test_while_the_function_is_called_all_idle_ones_are_surplus(stage):
    group, one = stage.group(keep=1), Worker()
    group.busy = 1
    stage.rest(group, one)
    stage.loop.run_until(500)
    assert not one.drained
    stage.loop.run_until(610)
    assert one.drained


def test_a_worker_is_let_go_and_started_again_when_the_call_is_due(stage):
    group, one = stage.group(prewarm=30, keep=5), Worker()
    stage.rest(group, one)
    stage.loop.run_until(59)
    assert not one.drained
    stage.loop.run_until(70)
    assert one.drained
    stage.loop.run_until(1799)
    assert stage.prewarmed == []
    stage.loop.run_until(1810)
    assert stage.prewarmed == [group]
    spare = Worker()
    stage.idle.put(group, spare)
    stage.loop.run_until(2095)
    assert not spare.drained
    stage.loop.run_until(2110)
    assert spare.drained
    stage.loop.run_until(9999)
    assert stage.prewarmed == [group]


def test_what_is_due_can_be_called_off(stage):
    one, other = stage.group(prewarm=30, name="one"), stage.group(prewarm=30, name="other")
    for group in (one, other):
        stage.rest(group, Worker())
    stage.loop.run_until(100)
    stage.idle.undue(one.key)
    stage.idle.undue_all(lambda key: key.function_name == "other")
    stage.loop.run_until(9999)
    assert stage.prewarmed == []


def test_a_short_pause_is_never_worth_a_start(stage):
    group, one = stage.group(prewarm=0.5, keep=0.0), Worker()
    stage.rest(group, one)
    stage.loop.run_until(59)
    assert not one.drained
    stage.loop.run_until(70)
    assert one.drained
    assert stage.prewarmed == []


def test_a_worker_that_is_too_old_goes_whatever_it_is_worth(stage):
    group, one = stage.group(keep=1000), Worker()
    stage.rest(group, one)
    one.old = True
    stage.loop.run_until(idle.LOOK_S)
    assert one.drained


def test_the_one_that_is_worth_least_is_evicted_first(stage):
    dear, cheap, rare = (stage.group(name=name) for name in ("dear", "cheap", "rare"))
    workers = {}
    for group, calls, start_s in ((dear, 10, 1.0), (cheap, 10, 0.01), (rare, 1, 0.1)):
        group.lane.calls = calls
        group.lane.start_time.add(start_s)
        group.lane.size_bytes = 1000
        workers[group.key.function_name] = Worker()
        stage.rest(group, workers[group.key.function_name])
    order = []
    while stage.idle.evict():
        order += [name for name, one in workers.items() if one.drained and name not in order]
    assert order in (["cheap", "rare", "dear"], ["rare", "cheap", "dear"])


def test_who_is_called_after_an_eviction_outlives_who_was_called_much_before(stage):
    busy, fresh, victim = (stage.group(name=name) for name in ("busy", "fresh", "victim"))
    for group, calls in ((busy, 10), (victim, 9), (fresh, 2)):
        group.lane.calls = calls
        group.lane.start_time.add(1.0)
        group.lane.size_bytes = 1
    of_busy, of_fresh, of_victim = Worker(), Worker(), Worker()
    stage.rest(busy, of_busy)
    stage.rest(victim, of_victim)
    assert stage.idle.evict()
    assert of_victim.drained
    stage.rest(fresh, of_fresh)
    assert stage.idle.take(fresh) is of_fresh
    stage.rest(fresh, of_fresh)
    assert stage.idle.evict()
    assert of_busy.drained
    assert not of_fresh.drained


def test_with_none_idle_nothing_is_evicted(stage):
    assert not stage.idle.evict()


def test_a_worker_that_dies_or_is_taken_is_not_looked_at_any_more(stage):
    group, one, other = stage.group(), Worker(), Worker()
    stage.rest(group, one, other)
    assert stage.idle.take(group) is other
    stage.idle.forget(one)
    stage.idle.forget(one)
    stage.loop.run_until(9999)
    assert not one.drained
    assert not other.drained
    assert not stage.idle.evict()


def test_who_idles_a_moment_is_frozen_once(stage):
    group, one, other = stage.group(), Worker(), Worker()
    stage.rest(group, one)
    stage.loop.run_until(0.03)
    stage.rest(group, other)
    stage.idle.take(group)
    stage.loop.run_until(1)
    assert one.frozen
    assert not other.frozen


def test_gaps_of_a_minute_and_more_are_learned_from():
    class Ears(Policy):
        def gap(self, length):
            heard.append(length)

    heard = []
    lane = groups.Lane(Ears(0, 10))
    lane.called(0.0)
    for quiet_since, called in ((10.0, 20.0), (100.0, 221.0), (300.0, 361.0)):
        lane.quiet_since = quiet_since
        lane.called(called)
    assert heard == [2, 1]
    assert lane.calls == 4
    assert lane.quiet_since is None


def test_lanes_are_kept_across_generations_and_bounded(monkeypatch):
    monkeypatch.setattr(groups, "_REMEMBERED", 2)
    lanes = groups.Lanes(lambda: Policy(0, 1))
    version = scripted.VERSION
    lane = lanes.of(version.key)
    assert lanes.of(dataclasses.replace(version, generation="g2", code_sha256="two").key) is lane
    assert lanes.of(dataclasses.replace(version, version="1").key) is not lane
    lanes.of(dataclasses.replace(version, version="2").key)
    assert lanes.of(version.key) is not lane


def test_of_many_workers_it_freezes_some_in_a_turn_of_the_loop_and_all_in_the_end(stage):
    group, many = stage.group(), [Worker() for _ in range(50)]
    stage.rest(group, *many)
    stage.loop.run_until(idle.FREEZE_AFTER_S)
    assert 0 < sum(one.frozen for one in many) < 50
    stage.loop.run_until(2 * idle.FREEZE_AFTER_S)
    assert all(one.frozen for one in many)


def test_of_many_that_do_not_stand_still_yet_each_has_its_time_before_it_is_looked_at_again(stage):
    group, many = stage.group(), [Worker() for _ in range(50)]
    for one in many:
        one.moves = True
    stage.rest(group, *many)
    stage.loop.run_until(1.9 * idle.FREEZE_AFTER_S)
    assert {one.looks for one in many} == {1}
    stage.loop.run_until(2.9 * idle.FREEZE_AFTER_S)
    assert {one.looks for one in many} == {2}
    for one in many:
        one.moves = False
    stage.loop.run_until(1.0)
    assert {one.looks for one in many} == {3}


def test_of_many_workers_that_are_retired_some_go_in_a_turn_and_nobody_gets_the_others(stage):
    group, many = stage.group(), [Worker() for _ in range(50)]
    stage.rest(group, *many)
    stage.idle.retire(group)
    assert not group.idle
    assert 0 < sum(one.drained for one in many) < 50
    dead = next(one for one in many if not one.drained)
    stage.idle.forget(dead)
    stage.loop.run_until(1.0)
    assert all(one.drained for one in many if one is not dead)
    assert not dead.drained


def test_of_many_workers_whose_time_is_up_some_go_in_a_turn_and_all_in_one_round(stage):
    group, many = stage.group(), [Worker() for _ in range(50)]
    stage.rest(group, *many)
    for one in many:
        one.old = True
    stage.loop.run_until(idle.LOOK_S)
    assert 0 < sum(one.drained for one in many) < 50
    stage.loop.run_until(idle.LOOK_S + 0.1)
    assert all(one.drained for one in many)
