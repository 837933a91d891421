"""When code is removed that nobody needs any more."""

import asyncio
import contextlib

import pytest
import registry_fixtures as fixtures

from runtime.registry import functions, layers, sweeper

F = fixtures.F


class Loop:
    """Stands for the parts of the event loop that a sweeper uses."""

    def __init__(self):
        self.timers = []

    def call_later(self, delay, action):
        self.timers.append((delay, action))
        return contextlib.nullcontext()

    def fire(self):
        (delay, action), self.timers = self.timers[0], self.timers[1:]
        action()
        return delay


class Sweeping:
    def __init__(self, book, monkeypatch):
        self.book = book
        self.busy = []
        self.loop = Loop()
        self.work = []
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "get_running_loop", lambda: self.loop)
            self.sweeper = sweeper.Sweeper(book, lambda: self.busy, self.work.append, delay_s=1)

    async def sweep(self):
        """Let the next timer come true."""
        assert self.loop.fire() == 1
        await self.work.pop()


@pytest.fixture
def book(tmp_path):
    return fixtures.make(tmp_path)


@pytest.fixture
def sweeping(book, monkeypatch):
    return Sweeping(book, monkeypatch)


async def create(book, data=b"one"):
    await functions.create(book, "f", fixtures.SETTINGS, data)


async def test_once_after_many_changes(book, sweeping):
    await create(book)
    for number in range(5):
        await functions.update_code(book, F, b"%d" % number)
    assert len(sweeping.loop.timers) == 1
    assert len(book.code.known()) == 6
    await sweeping.sweep()
    assert book.code.known() == {book.resolve(F).code.sha256}
    assert sweeping.loop.timers == []


async def test_what_workers_run_from_is_looked_at_again(book, sweeping):
    await create(book)
    first = book.code.tree_of(book.resolve(F).code.sha256)
    sweeping.busy = [first]
    await functions.delete(book, F)
    await sweeping.sweep()
    assert first.exists()
    sweeping.busy = []
    await sweeping.sweep()
    assert not first.exists()
    assert sweeping.loop.timers == []


async def test_layers_too(book, sweeping):
    await layers.publish(book, "tools", b"zip")
    await layers.delete(book, "tools", 1)
    await sweeping.sweep()
    assert book.code.known() == set()


async def test_a_failure_is_logged_and_tried_again(book, sweeping, monkeypatch, caplog):
    await create(book)
    await functions.delete(book, F)

    def detach(packages):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(book.code, "detach", detach)
        await sweeping.sweep()
    assert "could not be removed" in caplog.text
    await sweeping.sweep()
    assert not list(book.code.known())


async def test_nothing_begins_after_the_end(book, sweeping):
    sweeping.sweeper.close()
    await create(book)
    await functions.delete(book, F)
    assert sweeping.loop.timers == []
