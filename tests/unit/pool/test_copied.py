"""A copy that waits for its turn to be ordered, and one that ends before it was looked at."""

import asyncio
import os
import select
import signal
import subprocess
import sys

import pytest
import scripted

from runtime.pool import copied


class Parent:
    pid = filters = 0

    def __init__(self):
        self.ordered, self.distrusted = [], []
        self.ended = False
        self.words = []
        """What it says when it is listened to."""

    def order(self, order, fds):
        if self.ended:
            raise OSError("the template is ended")
        self.ordered.append(order)

    def forget(self, number):
        """Forget it."""

    def distrust(self, reason):
        self.distrusted.append(reason)

    def listen(self):
        for word in self.words:
            word()


class Listener:
    def __init__(self):
        self.heard = []

    def process_forked(self):
        """Hear that it exists."""

    def process_doomed(self, reason):
        self.heard.append(f"doomed: {reason}")

    def process_exited(self, status):
        self.heard.append(status)

    def process_failed(self, step, reason):
        self.heard.append(reason)


class Stage:
    def __init__(self):
        self.parent, self.listener, self.made = Parent(), Listener(), []
        self.copy = copied.Copied(1, self.parent, scripted.Held(), self.listener, skip={}, born=0.0)
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


@pytest.fixture
def child(monkeypatch):
    """Yield a process that passes for a copy."""
    monkeypatch.setattr(copied, "_is_copy", lambda _pid, _template: True)
    one = subprocess.Popen(["sleep", "60"])
    yield one
    one.kill()
    one.wait()


def end(child):
    """Kill a process, and return when it is a zombie."""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


EXIT_65 = 65 << 8


async def exited(stage):
    stage.copy.exited(EXIT_65)
    async with asyncio.timeout(10):
        while not stage.listener.heard:
            await asyncio.sleep(0)
    assert (stage.listener.heard, stage.made, stage.parent.distrusted) == ([EXIT_65], [True], [])


@pytest.mark.asyncio
async def test_one_that_lives_is_looked_at(stage, child):
    """The control of those below."""
    await stage.turn()
    stage.copy.spawned(child.pid)
    assert stage.copy.flaw(), "it did not seal itself"
    end(child)
    await exited(stage)


@pytest.mark.asyncio
async def test_one_that_ended_before_it_was_looked_at_has_no_flaw_but_nobody_can_tell(stage, child):
    await stage.turn()
    stage.copy.spawned(child.pid)
    end(child)
    assert stage.copy.flaw() is None
    child.wait()
    assert stage.copy.flaw() is None
    await exited(stage)


@pytest.mark.asyncio
async def test_one_that_was_gone_before_it_was_heard_who_it_is_is_waited_for(stage, child):
    await stage.turn()
    end(child)
    child.wait()
    stage.parent.words = [lambda: stage.copy.spawned(child.pid)]
    assert stage.copy.flaw() is None
    assert not stage.listener.heard, "how it ended is still to be told"
    await exited(stage)


@pytest.mark.asyncio
async def test_one_that_ends_while_it_is_looked_for_ends_after_that(stage, child):
    await stage.turn()
    end(child)
    child.wait()
    stage.parent.words = [lambda: stage.copy.spawned(child.pid), lambda: stage.copy.exited(EXIT_65)]
    assert stage.copy.flaw() is None
    assert not stage.listener.heard, "whoever looked would end it twice"
    stage.copy.kill()
    assert stage.copy._timer is None, "nothing is to be born that its template could be blamed for"
    await asyncio.sleep(0)
    assert (stage.listener.heard, stage.made, stage.parent.distrusted) == ([EXIT_65], [True], [])


@pytest.mark.asyncio
async def test_what_is_no_copy_and_gone_is_not_waited_for_twice(stage, child, monkeypatch):
    monkeypatch.setattr(copied, "_is_copy", lambda _pid, _template: False)
    await stage.turn()
    end(child)
    stage.copy.spawned(child.pid)
    assert stage.parent.distrusted == []
    stage.copy.spawned(child.pid)
    assert stage.parent.distrusted == ["a copy was born twice"]


@pytest.mark.asyncio
async def test_one_that_did_not_say_who_it_is_has_a_flaw(stage):
    await stage.turn()
    assert stage.copy.flaw() == "a copy did not say who it is"


@pytest.mark.asyncio
async def test_one_hears_that_its_template_is_to_end(stage, child):
    await stage.turn()
    stage.copy.doom()
    assert not stage.listener.heard, "one that is not born hears of the end itself"
    stage.copy.spawned(child.pid)
    stage.copy.doom()
    assert stage.listener.heard == ["doomed: its template ended"]
    stage.listener.heard.clear()
    stage.copy.kill()
    assert child.wait() == -signal.SIGKILL
    await exited(stage)


@pytest.mark.asyncio
async def test_one_that_was_made_ahead_tells_the_rest_to_whoever_takes_it(stage, child):
    await stage.turn()
    taker = Listener()
    stage.copy.spawned(child.pid)
    assert stage.copy.adopt(taker)
    before, stage.listener = stage.listener, taker
    end(child)
    await exited(stage)
    assert not before.heard


@pytest.mark.asyncio
async def test_one_that_is_not_born_yet_can_be_taken(stage):
    await stage.turn()
    taker = Listener()
    assert stage.copy.adopt(taker)
    stage.copy.failed("clone: no memory")
    assert (taker.heard, stage.listener.heard) == (["clone: no memory"], [])


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["killed", "orphaned", "exits", "zombie"])
async def test_one_that_ends_or_is_to_end_is_not_taken(stage, child, how):
    await stage.turn()
    stage.copy.spawned(child.pid)
    match how:
        case "killed":
            stage.copy.kill()
        case "orphaned":
            stage.copy.orphaned()
        case "exits":
            stage.copy.exited(EXIT_65)
        case "zombie":
            end(child)
    taker = Listener()
    assert not stage.copy.adopt(taker)
    child.kill()
    stage.listener.heard.clear()
    await exited(stage)
    assert not taker.heard


LEADER = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall(60, 0)  # exit, of this thread alone
"""


@pytest.mark.asyncio
async def test_one_that_exits_has_no_flaw_though_it_is_not_gone_yet(stage, monkeypatch):
    """As long as its memory is taken down, a process that exits can be seen: here other threads hold it up."""
    monkeypatch.setattr(copied, "_is_copy", lambda _pid, _template: True)
    one = subprocess.Popen([sys.executable, "-c", LEADER])  # noqa: ASYNC220 - it is not waited for
    try:
        await stage.turn()
        stage.copy.spawned(one.pid)
        async with asyncio.timeout(10):
            while stage.copy.flaw():
                await asyncio.sleep(0)
        assert stage.copy.flaw() is None
        assert not select.select([stage.copy._pidfd], [], [], 0)[0]
    finally:
        one.kill()
        one.wait()
    await exited(stage)
