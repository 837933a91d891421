import asyncio
import concurrent.futures
import itertools

import pytest

from runtime.pool import spares


class Inline(concurrent.futures.Executor):
    """Runs work when it is told to, in the calling thread."""

    def __init__(self):
        self.work = []
        self.ended = False

    def submit(self, function, /, *arguments):
        if self.ended:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = concurrent.futures.Future()
        self.work.append((future, function, arguments))
        return future

    async def run(self):
        while self.work:
            future, function, arguments = self.work.pop(0)
            try:
                future.set_result(function(*arguments))
            except OSError as error:
                future.set_exception(error)
            await asyncio.sleep(0)  # the loop hears of it


class Bench:
    def __init__(self, ready):
        self.executor = Inline()
        self.numbers = itertools.count(1)
        self.discarded = []
        self.given = []
        self.fault = None
        self.spares = spares.Spares(
            self.make, self.discarded.append, ready=ready, makers=self.executor, breakers=self.executor
        )

    def make(self):
        if self.fault:
            raise self.fault
        return next(self.numbers)


@pytest.fixture
async def bench():
    return Bench(ready=2)


async def test_spares_are_made_ahead_and_given_at_once(bench):
    bench.spares.fill()
    await bench.executor.run()
    assert bench.spares.ready == 2
    bench.spares.take(bench.given.append)
    assert bench.given == [1]
    await bench.executor.run()
    assert bench.spares.ready == 2


async def test_who_comes_when_there_is_none_gets_one_as_soon_as_it_is_made(bench):
    for _ in range(5):
        bench.spares.take(bench.given.append)
    assert bench.given == []
    assert len(bench.executor.work) == 7, "five that are waited for, two spares"
    await bench.executor.run()
    assert bench.given == [1, 2, 3, 4, 5]
    assert bench.spares.ready == 2


async def test_who_does_not_wait_gets_none_or_a_spare(bench):
    assert bench.spares.take_nowait() is None
    await bench.executor.run()
    assert bench.spares.take_nowait() == 1
    await bench.executor.run()
    assert bench.spares.ready == 2


async def test_a_failure_is_told_to_all_who_wait_and_the_next_tries_again(bench):
    bench.fault = OSError(28, "No space left on device")
    for _ in range(2):
        bench.spares.take(bench.given.append)
    await bench.executor.run()
    assert bench.given == [bench.fault, bench.fault]
    bench.fault = None
    bench.given.clear()
    bench.spares.take(bench.given.append)
    await bench.executor.run()
    assert bench.given == [1]


async def test_at_the_end_nothing_is_kept_and_nobody_waits(bench):
    bench.spares.fill()
    await bench.executor.run()
    for _ in range(3):
        bench.spares.take(bench.given.append)
    bench.spares.close()
    await bench.executor.run()
    assert bench.given[:2] == [1, 2]
    assert isinstance(bench.given[2], OSError)
    assert bench.discarded == [3, 4, 5], "what was being made is destroyed too"
    assert bench.spares.ready == 0


async def test_what_comes_back_after_the_end_is_destroyed_here_and_now(bench):
    bench.executor.ended = True
    bench.spares.discard(7)
    assert bench.discarded == [7]
