"""The stock of blanks, on blanks that the test makes."""

import asyncio
import dataclasses
import os

import pytest
import scripted

from runtime import errors, model
from runtime.pool import blanks, demand, memory_class

pytestmark = pytest.mark.usefixtures("no_leaks")

SMALL, LARGE = memory_class.make((128, 1769))[0], memory_class.make((128, 1769))[1]


class Blank:
    def __init__(self, kind, listener):
        self.kind = kind
        self.listener = listener
        self.fds = tuple(os.open("/dev/null", os.O_RDONLY) for _ in range(3))
        self.on_placed = None
        self.adopted = self.error = None
        self.killed = self.released = False
        self.is_sealed = False

    def adopt(self, version, listener):
        if self.error is not None:
            raise self.error
        self.adopted = (version, listener)

    def placed(self):
        done, self.on_placed = self.on_placed, None
        done()

    def kill(self):
        self.killed = True

    def release(self):
        assert not self.released
        self.released = True

    def die(self):
        self.listener.process_exited(9)

    def close(self):
        for fd in self.fds:
            os.close(fd)


class Maker:
    """Makes blanks, and holds them."""

    def __init__(self, **options):
        self.made = []
        self.room = True
        self.error = None
        options = {"most": 32, **options}
        self.stock = blanks.Blanks(self.make, (SMALL, LARGE), has_room=lambda: self.room, **options)

    def make(self, kind, listener):
        if self.error is not None:
            raise self.error
        self.made.append(Blank(kind, listener))
        return self.made[-1]

    async def filled(self, count):
        """Play the zygote until so many were made."""
        async with asyncio.timeout(10):
            while len(self.made) < count or any(blank.on_placed for blank in self.made):
                await asyncio.sleep(0)
                for blank in self.made:
                    if blank.on_placed is not None:
                        blank.placed()
        await asyncio.sleep(0)

    async def settled(self):
        """Let what is due after a start happen."""
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(2 * blanks.REFILL_DELAY_S, done.set_result, None)
        await done


def version(memory_mb=128, **changes):
    return dataclasses.replace(scripted.VERSION, memory_mb=memory_mb, **changes)


def end(maker):
    maker.stock.close()
    for blank in maker.made:
        if blank.adopted is None and not blank.released:
            assert blank.killed
            blank.die()
        elif blank.adopted is not None:
            blank.close()
    assert all(blank.released for blank in maker.made if blank.adopted is None)
    assert not any(maker.stock.counts().values())


async def test_the_first_start_finds_none_and_the_next_ones_do():
    maker = Maker()
    assert maker.stock.take(version(), "python3.11", "a") is None
    assert not maker.stock.available("python3.11")
    await maker.filled(SMALL.blanks)
    assert [blank.kind for blank in maker.made] == [blanks.Kind("python3.11", 128)] * SMALL.blanks
    assert maker.stock.available("python3.11")
    assert maker.stock.take(version(), "python3.11", "b") is maker.made[0]
    assert maker.made[0].adopted == (version(), "b")
    await maker.filled(SMALL.blanks + 1)
    end(maker)


async def test_they_are_made_one_after_the_other():
    maker = Maker()
    for _ in range(5):
        maker.stock.take(version(), "python3.11", "a")
    await maker.settled()
    assert len(maker.made) == 1
    await maker.filled(5)
    end(maker)


async def test_a_start_takes_a_blank_of_another_class_where_its_own_has_none_but_none_of_another_interpreter():
    maker = Maker()
    maker.stock.take(version(), "python3.11", "a")
    await maker.filled(SMALL.blanks)
    assert maker.stock.take(version(1000), "python3.11", "b") is maker.made[0]
    assert maker.stock.take(version(runtime="python3.12"), "python3.12", "c") is None
    assert maker.stock.take(version(ephemeral_storage_mb=1024), "python3.11", "d") is None
    end(maker)


async def test_there_are_never_more_than_the_most():
    maker = Maker(most=3)
    for _ in range(10):
        maker.stock.take(version(), "python3.11", "a")
    await maker.filled(3)
    await maker.settled()
    assert len(maker.made) == 3
    end(maker)


async def test_none_are_made_where_there_are_to_be_none_or_where_memory_is_short():
    never = Maker(most=0)
    short = Maker()
    short.room = False
    for maker in (never, short):
        assert maker.stock.take(version(), "python3.11", "a") is None
        await maker.settled()
        assert maker.made == []
        end(maker)


async def test_one_that_dies_is_forgotten_and_none_is_made_until_the_next_start():
    maker = Maker()
    maker.stock.take(version(), "python3.11", "a")
    await maker.filled(SMALL.blanks)
    for blank in list(maker.made):
        blank.die()
    await maker.settled()
    assert len(maker.made) == SMALL.blanks
    assert maker.stock.take(version(), "python3.11", "b") is None
    await maker.filled(2 * SMALL.blanks)
    end(maker)


async def test_one_that_cannot_be_made_the_versions_is_killed_and_the_error_told():
    maker = Maker()
    maker.stock.take(version(), "python3.11", "a")
    await maker.filled(SMALL.blanks)
    maker.made[0].error = errors.WorkerLost("no uid is left")
    with pytest.raises(errors.WorkerLost, match="no uid"):
        maker.stock.take(version(), "python3.11", "b")
    assert maker.made[0].killed
    end(maker)


async def test_a_making_that_fails_is_tried_again_with_the_next_start():
    maker = Maker()
    maker.error = OSError(28, "no cgroup")
    maker.stock.take(version(), "python3.11", "a")
    await maker.settled()
    maker.error = None
    maker.stock.take(version(), "python3.11", "b")
    await maker.filled(SMALL.blanks)
    end(maker)


async def test_all_go_where_memory_is_wanted():
    maker = Maker()
    maker.stock.take(version(), "python3.11", "a")
    await maker.filled(SMALL.blanks)
    assert maker.stock.drop()
    assert all(blank.killed for blank in maker.made)
    assert not maker.stock.drop()
    assert maker.stock.take(version(), "python3.11", "b") is None
    end(maker)


async def test_those_that_are_sealed_go_with_the_mounter_of_their_zygote_and_others_are_made():
    maker = Maker()
    for zygote in ("python3.11", "python3.12"):
        maker.stock.take(version(runtime=zygote), zygote, "a")
    await maker.filled(2 * SMALL.blanks)
    sealed = [blank for blank in maker.made if blank.kind.zygote == "python3.11"][:1]
    sealed[0].is_sealed = True
    maker.stock.let_go("python3.12")
    assert not any(blank.killed for blank in maker.made)
    maker.stock.let_go("python3.11")
    assert [blank for blank in maker.made if blank.killed] == sealed
    sealed[0].die()
    await maker.filled(2 * SMALL.blanks + 1)
    end(maker)


async def test_too_many_go_when_the_demand_has_faded(monkeypatch):
    monkeypatch.setattr(blanks, "LOOK_S", 0.001)
    monkeypatch.setattr(demand, "LINGER_S", 0.0)
    maker = Maker()
    monkeypatch.setattr(demand.Demand, "wanted", lambda self, now, least: 3)
    maker.stock.take(version(), "python3.11", "a")
    await maker.filled(3)
    monkeypatch.setattr(demand.Demand, "wanted", lambda self, now, least: 0)
    await scripted.until(lambda: all(blank.killed for blank in maker.made))
    end(maker)


async def test_an_interpreter_can_be_warmed_before_its_first_start():
    maker = Maker()
    maker.stock.warm("python3.12")
    await maker.filled(SMALL.blanks)
    assert maker.stock.take(version(runtime="python3.12"), "python3.12", "a") is maker.made[0]
    end(maker)


def test_a_blank_is_a_way_to_start():
    assert model.StartKind.BLANK.value == "blank"


async def test_a_blank_that_died_while_it_waited_is_not_given_to_anyone():
    maker = Maker()
    maker.stock.take(version(), "python3.11", "a")
    await maker.filled(SMALL.blanks)
    maker.made[0].error = BrokenPipeError()
    assert maker.stock.take(version(), "python3.11", "b") is None
    assert maker.made[0].killed
    assert maker.made[0].adopted is None
    maker.made[0].die()
    await maker.filled(SMALL.blanks + 1)
    end(maker)
