"""A copy that waits for its turn to be ordered: what ends it then, and that its descriptors go with it."""

import asyncio
import os

import pytest

from runtime.pool import copied


class Parent:
    pid = filters = 0

    def __init__(self):
        self.ordered, self.distrusted = [], []
        self.ended = False

    def order(self, order, fds):
        if self.ended:
            raise OSError("the template is ended")
        self.ordered.append(order)

    def forget(self, number):
        """Forget it."""

    def distrust(self, reason):
        self.distrusted.append(reason)

    def listen(self):
        """Hear nothing."""


class Group:
    join_fds = ()


class Held:
    image, tmp_mb, group = None, 512, Group

    def furnish(self, then):
        then()

    def settle(self):
        """Let go."""

    def kill(self):
        """Kill nobody."""


class Listener:
    def __init__(self):
        self.heard = []

    def process_exited(self, status):
        self.heard.append(status)

    def process_failed(self, step, reason):
        self.heard.append(reason)


class Stage:
    def __init__(self):
        self.parent, self.listener, self.made = Parent(), Listener(), []
        self.copy = copied.Copied(1, self.parent, Held(), self.listener, skip={}, born=0.0)
        self.copy.on_made = lambda: self.made.append(True)

    async def turn(self):
        self.copy.furnish()
        assert not self.listener.heard, "whoever launched it does not have it yet"
        await asyncio.sleep(0)


@pytest.fixture
async def stage():
    stage = Stage()
    yield stage
    for fd in stage.copy.fds:
        os.close(fd)
    for fd in stage.copy._child_fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.asyncio
async def test_one_that_is_wanted_is_ordered(stage):
    await stage.turn()
    assert stage.copy.placed
    assert len(stage.parent.ordered) == 1
    assert not stage.made


@pytest.mark.asyncio
async def test_one_that_was_killed_before_its_turn_is_never_ordered_and_its_template_not_blamed(stage):
    stage.copy.kill()
    await stage.turn()
    assert (stage.parent.ordered, stage.parent.distrusted) == ([], [])
    assert stage.listener.heard == [9]
    assert stage.made == [True]


@pytest.mark.asyncio
async def test_one_whose_template_ended_before_its_turn_hears_so_once(stage):
    stage.parent.ended = True
    stage.copy.orphaned()
    await stage.turn()
    assert stage.listener.heard == ["its template ended"]
    assert stage.made == [True]


@pytest.mark.asyncio
async def test_one_whose_template_ends_as_it_is_ordered_hears_so_once(stage):
    stage.parent.ended = True
    stage.copy.furnish()
    stage.copy.orphaned()
    await asyncio.sleep(0)
    assert stage.listener.heard == ["the template is ended"]
    assert stage.made == [True]
