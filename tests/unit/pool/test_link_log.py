"""The log pipe: a flood is read at a bounded rate, and nothing of it is lost."""

import asyncio
import contextlib
import gc
import os

import pytest

from runtime.pool import link

KB = 1024


class Loop:
    """An event loop whose time the test sets, and that turns when it is told."""

    def __init__(self):
        self.now = 100.0
        self.readers = {}
        self.timers = []

    def time(self):
        return self.now

    def add_reader(self, fd, callback):
        self.readers[fd] = callback

    def remove_reader(self, fd):
        return self.readers.pop(fd, None) is not None

    remove_writer = remove_reader

    def call_later(self, delay, callback):
        self.timers.append((self.now + delay, callback))

    def advance(self, seconds):
        self.now += seconds
        due = [one for one in self.timers if one[0] <= self.now]
        self.timers = [one for one in self.timers if one[0] > self.now]
        for _, callback in due:
            callback()


class Flood:
    """A link whose log pipe is always full."""

    def __init__(self, chunk):
        self.loop = Loop()
        ours, (self.requests, self.responses, self.log) = link.pipes()
        os.set_blocking(self.log, False)
        self.fd = ours[2]
        self.read = 0
        self.written = 0
        self.chunk = chunk
        self.link = link.Link(self.loop, ours, print, self.on_log, print)

    def on_log(self, data):
        self.read += len(data)

    def turn(self):
        """Write as much as goes in, up to the chunk, and let the loop read once; return whether it did."""
        with contextlib.suppress(BlockingIOError):
            self.written += os.write(self.log, b"x" * self.chunk)
        if self.fd not in self.loop.readers:
            return False
        self.loop.readers[self.fd]()
        return True

    def rest(self):
        """Go on until the link rests; return how often it read."""
        turns = 0
        while self.turn():
            turns += 1
            assert turns < 10**6, "it never rests"
        return turns

    def close(self):
        self.link.close()
        for fd in (self.requests, self.responses, self.log):
            os.close(fd)


@pytest.fixture
def flood(request):
    one = Flood(request.param)
    yield one
    one.close()


@pytest.mark.parametrize("flood", [64 * KB, 1], indirect=True)
def test_a_flood_is_read_no_faster_than_the_rate(flood):
    flood.rest()  # what it may write at once
    turns, before = 0, flood.read
    for _ in range(100):
        flood.loop.advance(0.1)
        turns += flood.rest()
    assert flood.read - before <= 11 * link.LOG_RATE
    assert turns <= 11 * link.LOG_RATE / link.LOG_READ_COST
    assert turns >= 100, "it goes on after each rest"


@pytest.mark.parametrize("flood", [64 * KB], indirect=True)
def test_nothing_of_it_is_lost(flood):
    for _ in range(20):
        flood.rest()
        flood.loop.advance(link.LOG_REST_S)
    flood.link.drain_log()
    assert flood.read == flood.written > link.LOG_BURST


@pytest.mark.parametrize("flood", [64 * KB], indirect=True)
def test_what_lies_in_the_pipe_is_read_at_the_end_of_a_call_all_the_same(flood):
    flood.rest()
    assert flood.read < flood.written
    flood.link.drain_log()
    assert flood.read == flood.written


@pytest.mark.parametrize("flood", [8 * KB], indirect=True)
def test_a_writer_within_the_rate_never_waits(flood):
    for _ in range(5000):
        assert flood.turn()
        flood.loop.now += 12 * KB / link.LOG_RATE


@pytest.mark.parametrize("flood", [64 * KB], indirect=True)
def test_a_link_that_is_closed_while_it_rests_stays_closed(flood):
    flood.rest()
    flood.link.close()
    flood.loop.advance(1)
    assert flood.loop.readers == {}


@pytest.mark.parametrize("flood", [64 * KB], indirect=True)
def test_whoever_listens_is_not_kept_by_a_link_that_is_closed(flood):
    assert any(getattr(one, "__self__", None) is flood for one in gc.get_referents(flood.link))
    flood.link.close()
    assert not any(getattr(one, "__self__", None) is flood for one in gc.get_referents(flood.link))


async def test_a_worker_that_floods_on_a_real_loop_is_read_to_its_end():
    ours, (requests, responses, log) = link.pipes()
    got = bytearray()
    one = link.Link(asyncio.get_running_loop(), ours, print, got.extend, print)
    size = link.LOG_BURST + 2 * 1024 * KB
    await asyncio.to_thread(_write, log, size)
    os.close(log)
    async with asyncio.timeout(20):
        while len(got) < size:
            await asyncio.sleep(0)
    assert len(got) == size
    one.close()
    os.close(requests)
    os.close(responses)


def _write(fd, size):
    while size:
        size -= os.write(fd, bytes(min(size, 64 * KB)))
