"""Workers that are held ready: on scripted processes, and under any order of events."""

import dataclasses
import random

import pytest
import scripted

from runtime import errors, model, wire
from runtime.pool import provisioned, slot

VERSION = dataclasses.replace(scripted.VERSION, version="1")
OTHER = dataclasses.replace(scripted.VERSION, version="2")


def wanted(*pairs, asked="now"):
    return {version.key: provisioned.Wanted(version, count, asked) for version, count in pairs}


@pytest.fixture
async def stage():
    one = scripted.Stage()
    yield one
    await one.close()


async def ready(stage, count):
    for actor in stage.actors[-count:]:
        await stage.ready(actor)
    held = stage.pool.provisioned.stand(VERSION.key)
    await scripted.until(lambda: held.ready == held.wanted)
    return held


async def test_they_are_there_before_the_first_call_and_serve_it_warm(stage):
    stage.pool.provide("f", wanted((VERSION, 2)))
    held = await ready(stage, 2)
    assert stage.launcher.starts == [model.StartKind.PROVISIONED] * 2
    call = stage.submit(VERSION)
    assert held.busy == 1
    for actor in stage.actors:
        if any(isinstance(message, wire.Invoke) for message in actor.hear()):
            await stage.answer(actor)
    outcome = await call
    assert (outcome.start, outcome.init_s) == (model.StartKind.WARM, None)
    assert len(stage.actors) == 2


async def test_what_exceeds_them_spills_over_and_they_are_taken_first_again(stage):
    stage.pool.provide("f", wanted((VERSION, 1)))
    held = await ready(stage, 1)
    calls = [stage.submit(VERSION), stage.submit(VERSION)]
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[0])
    await stage.answer(stage.actors[1])
    assert [(await call).start.value for call in calls] == ["warm", "plain"]
    assert (held.invocations, held.spilled) == (1, 1)
    third = stage.submit(VERSION)
    await stage.answer(stage.actors[0])
    await third
    assert (held.invocations, held.spilled) == (2, 1)
    assert stage.pool.provisioned.invocations() == {"f": 2}
    assert stage.pool.provisioned.spilled() == {"f": 1}
    assert stage.pool.provisioned.utilization() == {"f": 0.0}


async def test_they_are_neither_reaped_nor_evicted():
    stage = scripted.Stage(idle_ttl_s=0.01)
    stage.pool.provide("f", wanted((VERSION, 1)))
    held = await ready(stage, 1)
    stage.submit(OTHER)
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1])
    await scripted.until(lambda: stage.actors[1].killed)
    stage.launcher.room = False
    with pytest.raises(errors.TooManyRequests):
        await stage.submit(OTHER)
    assert held.ready == 1
    assert not stage.actors[0].killed
    await stage.close()


async def test_one_that_dies_is_replaced(stage):
    stage.pool.provide("f", wanted((VERSION, 1)))
    held = await ready(stage, 1)
    stage.actors[0].exit(9)
    assert (held.ready, len(stage.actors)) == (0, 2)
    assert (await ready(stage, 1)).ready == 1


async def test_code_that_cannot_stand_is_started_ever_less_often(stage):
    stage.pool.provide("f", wanted((VERSION, 3)))
    for actor in list(stage.actors):
        await stage.ready(actor)
    held = stage.pool.provisioned.stand(VERSION.key)
    await scripted.until(lambda: held.ready == 3)
    stage.actors[-1].exit(9)
    assert len(stage.actors) == 4
    await stage.ready(stage.actors[-1])
    await scripted.until(lambda: held.ready == 3)
    stage.actors[-1].exit(9)
    assert len(stage.actors) == 4
    assert held.not_before > stage.pool.provisioned._loop.time()


async def test_init_that_fails_is_told_and_tried_one_at_a_time(stage):
    stage.pool.provide("f", wanted((VERSION, 2)))
    for actor in list(stage.actors):
        actor.say(wire.Confined({}))
        await scripted.until(lambda actor=actor: any(isinstance(m, wire.Assign) for m in actor.hear()))
        actor.say(wire.InitError("ValueError", b"{}"))
    held = stage.pool.provisioned.stand(VERSION.key)
    await scripted.until(lambda: held.failure)
    assert held.failure == "FUNCTION_ERROR_INIT_FAILURE"
    await scripted.until(lambda: held.starting <= 1)
    stage.pool.provide("f", wanted((VERSION, 2), asked="later"))
    assert held.failure == ""
    assert held.starting == 2


async def test_a_call_waits_for_none_that_is_on_its_way_but_takes_it_where_it_comes_first(stage):
    stage.pool.provide("f", wanted((VERSION, 1)))
    call = stage.submit(VERSION)
    assert len(stage.actors) == 2
    await stage.ready(stage.actors[0])
    await stage.answer(stage.actors[0], b'"held"')
    outcome = await call
    assert (outcome.payload, outcome.start, outcome.init_s) == (b'"held"', model.StartKind.PROVISIONED, None)
    await stage.ready(stage.actors[1])


async def test_init_that_fails_where_it_is_held_fails_no_call(stage):
    stage.pool.provide("f", wanted((VERSION, 1)))
    call = stage.submit(VERSION)
    stage.actors[0].say(wire.Confined({}))
    await scripted.until(lambda: any(isinstance(m, wire.Assign) for m in stage.actors[0].hear()))
    stage.actors[0].say(wire.InitError("ValueError", b"{}"))
    await stage.ready(stage.actors[1])
    await stage.answer(stage.actors[1], b'"own"')
    assert (await call).payload == b'"own"'


async def test_fewer_let_the_idle_go_and_the_busy_finish(stage):
    stage.pool.provide("f", wanted((VERSION, 2)))
    await ready(stage, 2)
    call = stage.submit(VERSION)
    (busy,) = [actor for actor in stage.actors if any(isinstance(m, wire.Invoke) for m in actor.hear())]
    stage.pool.provide("f", wanted((VERSION, 1)))
    assert [actor.killed for actor in stage.actors if actor is not busy] == [True]
    stage.pool.provide("f", {})
    await stage.answer(busy)
    assert (await call).payload == b"1"
    assert busy.killed
    assert stage.pool.provisioned.stand(VERSION.key) is None


async def test_without_room_they_come_later(stage):
    stage.launcher.room = False
    stage.pool.provide("f", wanted((VERSION, 1)))
    held = stage.pool.provisioned.stand(VERSION.key)
    assert (held.starting, held.failure) == (0, "")
    stage.launcher.room = True
    held.not_before = 0.0
    stage.pool.provisioned._fill()
    assert held.starting == 1


class Loop:
    """A clock with timers."""

    def __init__(self):
        self.now = 0.0
        self.timers = []

    def time(self):
        return self.now

    def call_at(self, when, call):
        timer = Timer(self, when, call)
        self.timers.append(timer)
        return timer

    def call_later(self, delay, call):
        return self.call_at(self.now + delay, call)

    def advance(self, seconds):
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.when <= end]:
            first = min(due, key=lambda timer: timer.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.call()
        self.now = end


class Timer:
    def __init__(self, loop, when, call):
        self.loop, self.when, self.call = loop, when, call

    def cancel(self):
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class FakeWorker:
    provisioned = True

    def __init__(self, number, version):
        self.slot = slot.Slot(number)
        self.key = version.key
        self.served = 0
        self.old = False

    def outlived(self, grace_s):
        return self.old


class World:
    """A pool of which only what is held is looked at; everything happens to it that can."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.loop = Loop()
        self.room = True
        self.workers = []
        self.wanted = {}
        self.let = set()
        self.held = provisioned.Provisioned(self.loop, self)

    def start_provisioned(self, version, init_limit_s):
        assert init_limit_s == 130
        if not self.room:
            return None
        one = FakeWorker(len(self.workers), version)
        self.workers.append(one)
        return one

    def let_go(self, one):
        self.let.add(one)
        one.slot.apply(slot.Event.DRAIN)

    def living(self, *states):
        return [one for one in self.workers if one.slot.state in states]

    def step(self):
        kinds = ["want", "ready", "fail", "die", "assign", "finish", "age", "wait", "toggle"]
        getattr(self, self.random.choices(kinds, [2, 30, 4, 6, 10, 10, 1, 10, 1])[0])()
        self.check()

    def pick(self, *states):
        found = self.living(*states)
        return self.random.choice(found) if found else None

    def want(self):
        counts = [(version, self.random.choice([0, 1, 3, 20])) for version in (VERSION, OTHER)]
        self.wanted = {version.key: count for version, count in counts if count}
        self.held.provide("f", wanted(*((version, count) for version, count in counts if count)))

    def ready(self):
        if one := self.pick(slot.State.STARTING):
            one.slot.apply(slot.Event.READY)
            self.held.ready(one)

    def fail(self):
        if one := self.pick(slot.State.STARTING):
            one.slot.apply(slot.Event.KILL)
            self.held.unstarted(one, Failed(self.random.choice([None, errors.WorkerLost("x")])))

    def die(self):
        if one := self.pick(*slot.ALIVE):
            if one.slot.state is slot.State.STARTING:
                one.slot.apply(slot.Event.EXIT)
                self.held.unstarted(one, Failed(None))
            else:
                one.slot.apply(slot.Event.EXIT)
            self.held.dead(one)

    def assign(self):
        if one := self.pick(slot.State.IDLE):
            one.served += 1
            one.slot.apply(slot.Event.ASSIGN)

    def finish(self):
        if one := self.pick(slot.State.BUSY, slot.State.DRAINING):
            one.slot.apply(slot.Event.FINISH)

    def age(self):
        if one := self.pick(slot.State.IDLE, slot.State.BUSY):
            one.old = True

    def wait(self):
        self.loop.advance(self.random.choice([0.01, 1.0, 70.0]))

    def toggle(self):
        self.room = not self.room

    def check(self):
        for version in (VERSION, OTHER):
            stand = self.held.stand(version.key)
            own = [one for one in self.workers if one.key == version.key]
            serving = [one for one in own if one.slot.state in {slot.State.IDLE, slot.State.BUSY}]
            unborn = [one for one in own if one.slot.state is slot.State.STARTING]
            count = self.wanted.get(version.key, 0)
            assert (stand is None) == (count == 0)
            # Never more than were asked for, and the count is that of the living.
            assert len(serving) + len(unborn) <= count
            if stand is not None:
                assert (stand.ready, stand.starting) == (len(serving), len(unborn))
        assert len(self.living(slot.State.STARTING)) <= provisioned.AT_ONCE

    def settle(self):
        """Let everything that starts succeed: what was asked for is there in the end."""
        self.room = True
        for _ in range(200):
            while one := self.pick(slot.State.STARTING):
                one.slot.apply(slot.Event.READY)
                self.held.ready(one)
            for one in self.living(slot.State.STOPPING, slot.State.DRAINING):
                one.slot.apply(slot.Event.EXIT)
                self.held.dead(one)
            self.loop.advance(1.0)
        for version in (VERSION, OTHER):
            stand = self.held.stand(version.key)
            assert (stand.ready if stand else 0) == self.wanted.get(version.key, 0)


@dataclasses.dataclass
class Failed:
    error: Exception | None


@pytest.mark.parametrize("seed", range(40))
def test_any_history_holds_what_was_asked_for(seed):
    world = World(seed)
    for _ in range(300):
        world.step()
    world.settle()
