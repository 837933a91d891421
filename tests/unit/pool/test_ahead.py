"""The stocks of copies made ahead, on copies and templates that the test plays."""

import asyncio
import itertools
import os

import pytest
import scripted

from runtime import errors
from runtime.pool import ahead, demand, link

pytestmark = pytest.mark.usefixtures("no_leaks")


class Template:
    def __init__(self):
        self.distrusted = []

    def distrust(self, reason):
        self.distrusted.append(reason)


class Copy:
    """A copy: real pipes, no process."""

    def __init__(self, template, listener):
        self.template = template
        self.listener = listener
        self.fds, self.far = link.pipes()
        self.lacks = ""
        self.used_s = 0.0
        self.gone = self.killed = self.released = self.waiting = False
        self.confinements = self.looks = 0
        self.on_seal = lambda: None

    def adopt(self, listener):
        if self.gone:
            return False
        self.listener = listener
        return True

    def flaw(self):
        self.looks += 1
        return self.lacks

    def confined(self):
        self.confinements += 1

    def waits(self):
        self.waiting = True

    def cpu_s(self):
        return self.used_s

    def kill(self):
        self.killed = True

    def release(self):
        assert not self.released
        self.released = True

    # what the test makes it do

    def seal(self):
        os.write(self.far[1], b"confined")

    def end(self):
        """End, as the kernel and the template tell it."""
        for fd in self.far:
            os.close(fd)
        self.far = ()
        self.listener.process_exited(9)


class Worker:
    """Who takes a copy, and closes its pipes."""

    def __init__(self):
        self.exits = []

    def process_exited(self, status):
        self.exits.append(status)


class Maker:
    def __init__(self, **options):
        self.made = []
        self.room = True
        self.error = None
        self.refuses = False
        self.taken = []
        self.stock = ahead.Ahead(self.make, **{"most": 32, "has_room": lambda: self.room, **options})

    def make(self, template, listener):
        if self.error is not None:
            raise self.error
        if self.refuses:
            return None
        self.made.append(Copy(template, listener))
        return self.made[-1]

    def take(self, template):
        copy = self.stock.take(template, Worker())
        if copy is not None:
            self.taken.append(copy)
        return copy

    async def standing(self, count):
        """Let so many be made, and their sandboxes stand."""
        for number in range(count):
            await scripted.until(lambda number=number: len(self.made) > number)
            copy = self.made[number]
            if copy not in self.taken and not copy.looks:
                copy.seal()
                await scripted.until(lambda copy=copy: copy.looks)

    async def settled(self):
        """Let what is due after a start happen."""
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(2 * ahead.REFILL_DELAY_S, done.set_result, None)
        await done

    async def end(self):
        """Close; every copy must be let go or taken, and nothing of it be left."""
        closing = asyncio.get_running_loop().create_task(self.stock.close())
        await asyncio.sleep(0)
        for copy in self.made:
            if copy in self.taken:
                for fd in (*copy.fds, *copy.far):
                    os.close(fd)
            elif not copy.released:
                assert copy.killed
                assert not closing.done()
                copy.end()
        await closing
        assert all(copy.released for copy in self.made if copy not in self.taken)
        assert not self.stock.count()


@pytest.fixture
async def maker():
    one = Maker()
    yield one
    await one.end()


async def test_none_is_made_before_the_first_start_which_finds_none_and_the_next_finds_one(maker):
    template = Template()
    await maker.settled()
    assert maker.made == []
    assert maker.take(template) is None
    await maker.standing(1)
    assert (maker.stock.held(template), maker.stock.count()) == (1, 1)
    assert maker.take(template) is maker.made[0]
    assert type(maker.made[0].listener) is Worker
    assert not maker.stock.held(template)
    await maker.standing(2)


async def test_one_is_looked_at_when_it_speaks_and_what_it_said_stays_for_whoever_takes_it(maker):
    template = Template()
    maker.take(template)
    await scripted.until(lambda: maker.made)
    (copy,) = maker.made
    assert not copy.looks
    await maker.standing(1)
    assert (copy.looks, copy.confinements, copy.waiting) == (1, 1, True)
    assert maker.take(template) is copy
    assert os.read(copy.fds[1], 100) == b"confined"


async def test_as_many_are_made_as_came_at_once_one_after_the_other(maker):
    template = Template()
    for _ in range(3):
        maker.take(template)
    await maker.settled()
    assert len(maker.made) == 1, "the next waits until the sandbox of the one before stands"
    await maker.standing(3)
    await maker.settled()
    assert len(maker.made) == 3


async def test_one_that_is_still_being_made_is_taken_too(maker):
    template = Template()
    maker.take(template)
    await scripted.until(lambda: maker.made)
    assert maker.take(template) is maker.made[0]
    assert not maker.made[0].looks
    maker.made[0].seal()
    await maker.standing(2)
    assert not maker.made[0].looks, "that is its worker's"


async def test_one_template_gets_none_of_another(maker):
    first, second = Template(), Template()
    maker.take(first)
    await maker.standing(1)
    assert maker.take(second) is None
    assert maker.take(first) is maker.made[0]


@pytest.mark.parametrize("most", [0, 2])
async def test_there_are_never_more_than_the_most(most):
    maker = Maker(most=most)
    templates = [Template() for _ in range(5)]
    for template in templates:
        maker.take(template)
    await maker.settled()
    await maker.standing(most)
    await maker.settled()
    assert maker.stock.count() == len(maker.made) == most
    assert {copy.template for copy in maker.made} == set(templates[5 - most :])
    await maker.end()


async def test_where_there_are_many_templates_those_have_one_that_were_started_from_last():
    maker = Maker(most=2)
    first, second, third = Template(), Template(), Template()
    for number, template in enumerate((first, second), 1):
        maker.take(template)
        await maker.standing(number)
    maker.take(third)
    await maker.standing(3)
    assert [maker.stock.held(each) for each in (first, second, third)] == [0, 1, 1]
    assert maker.made[0].killed
    for _ in range(2):  # of which the first takes what it has: for a second, others lose none
        maker.take(third)
    await maker.settled()
    await maker.standing(len(maker.made))
    await maker.settled()
    assert [maker.stock.held(each) for each in (first, second, third)] == [0, 1, 1]
    await maker.end()


async def test_none_is_made_where_memory_is_short_and_all_go_where_it_is_wanted(maker):
    template = Template()
    maker.room = False
    maker.take(template)
    await maker.settled()
    assert maker.made == []
    assert not maker.stock.drop()
    maker.room = True
    maker.take(template)
    await maker.standing(1)
    assert maker.stock.drop()
    assert maker.made[0].killed
    assert not maker.stock.drop()
    assert maker.take(template) is None


async def test_a_template_that_is_let_go_holds_none_and_is_forgotten(maker):
    template, other = Template(), Template()
    maker.take(template)
    maker.take(other)
    await maker.standing(2)
    maker.stock.release(template)
    mine, others = maker.made if maker.made[0].template is template else reversed(maker.made)
    assert (mine.killed, others.killed) == (True, False)
    maker.stock.release(template)
    await maker.settled()
    assert len(maker.made) == 2


async def test_one_whose_template_is_to_end_is_given_to_nobody(maker):
    template = Template()
    maker.take(template)
    await maker.standing(1)
    maker.made[0].listener.process_doomed("its template ended")
    assert maker.made[0].killed
    assert maker.take(template) is None


async def test_one_that_died_is_given_to_nobody_and_no_other_made_before_the_next_start(maker):
    template = Template()
    maker.take(template)
    await maker.standing(1)
    maker.made[0].end()
    await maker.settled()
    assert (len(maker.made), maker.stock.count()) == (1, 0)
    assert maker.take(template) is None
    await maker.standing(2)


async def test_one_that_is_about_to_end_is_not_given_to_anyone(maker):
    template = Template()
    maker.take(template)
    await maker.standing(1)
    maker.made[0].gone = True
    assert maker.take(template) is None
    assert maker.made[0].killed


async def test_one_that_did_not_seal_itself_takes_its_template_with_it(maker):
    template = Template()
    maker.take(template)
    await scripted.until(lambda: maker.made)
    maker.made[0].lacks = "a copy has capabilities"
    await maker.standing(1)
    assert template.distrusted == ["a copy has capabilities"]
    assert maker.made[0].killed
    await maker.settled()
    assert len(maker.made) == 1


@pytest.mark.parametrize("looked", [True, False])
async def test_one_that_ends_before_its_sandbox_stands_is_not_made_again_and_again(maker, looked):
    template = Template()
    maker.take(template)
    await scripted.until(lambda: maker.made)
    (copy,) = maker.made
    copy.lacks = None
    if looked:
        copy.seal()
    else:
        os.close(copy.far[1])
        copy.far = (copy.far[0], copy.far[2])
    await scripted.until(lambda: copy.killed)
    await maker.settled()
    assert (len(maker.made), template.distrusted) == (1, [])
    assert copy.looks == looked


async def test_one_whose_sandbox_does_not_stand_in_time_takes_its_template_with_it(maker, monkeypatch):
    monkeypatch.setattr(ahead, "SEAL_LIMIT_S", 0.0)
    template = Template()
    maker.take(template)
    await scripted.until(lambda: template.distrusted)
    assert "did not stand within" in template.distrusted[0]
    assert maker.made[0].killed


async def test_one_that_runs_while_it_waits_takes_its_template_with_it(maker, monkeypatch):
    monkeypatch.setattr(ahead, "LOOK_S", 0.001)
    idle, busy = Template(), Template()
    maker.take(idle)
    maker.take(busy)
    await maker.standing(2)
    next(copy for copy in maker.made if copy.template is busy).used_s = 1.0
    await scripted.until(lambda: busy.distrusted)
    assert "runs although" in busy.distrusted[0]
    assert idle.distrusted == []


async def test_what_it_takes_to_be_made_is_not_held_against_it(maker, monkeypatch):
    monkeypatch.setattr(ahead, "LOOK_S", 0.001)
    template = Template()
    maker.take(template)
    await scripted.until(lambda: maker.made)
    maker.made[0].used_s = 1.0
    await maker.standing(1)
    looked = []
    monkeypatch.setattr(demand.Demand, "wanted", lambda _self, _now, _least: looked.append(True) or 1)
    await scripted.until(lambda: looked)
    assert template.distrusted == []


async def test_all_go_when_nothing_was_started_for_long(maker, monkeypatch):
    monkeypatch.setattr(ahead, "LOOK_S", 0.001)
    template = Template()
    maker.take(template)
    await maker.standing(1)
    monkeypatch.setattr(demand, "LINGER_S", -1.0)
    await scripted.until(lambda: maker.made[0].killed)
    await scripted.until(lambda: maker.stock._look is None)
    assert not maker.stock._stocks


async def test_a_making_that_fails_is_tried_again_with_the_next_start(maker):
    template = Template()
    errors_ = itertools.chain([errors.WorkerLost("no uid"), OSError(24, "no descriptors")])
    for error in errors_:
        maker.error = error
        assert maker.take(template) is None
        await maker.settled()
    maker.error, maker.refuses = None, True
    maker.take(template)
    await maker.settled()
    maker.refuses = False
    maker.take(template)
    await maker.standing(1)


async def test_the_close_waits_for_those_that_are_not_gone_yet(maker):
    template = Template()
    maker.take(template)
    await maker.standing(1)
    maker.stock.release(template)
    assert not maker.stock.count()
    # the fixture ends it, and looks that the close waited
