"""Copies of templates that are forked and confined before there is a call for them: the stocks of all templates.

Of a template of which copies were started lately, as many as ``demand`` wants, made one after the other when nobody
waits for it, and never more than ``most`` in all. Such a copy belongs to no worker yet: what has to be new when an
environment begins (its variables, the function's hooks) is made so when it is taken. It ends with its template.

Its template's code ran in it before its sandbox stood. So it is looked at from outside as soon as it speaks, as one
that is made for a call is: nothing unconfined waits here for as long as a stock is kept. Whoever takes it looks once
more, for what it may have done since; and one that uses the processor while it waits ends together with its template.
"""

import asyncio
import itertools
import os
from collections import OrderedDict, deque
from collections.abc import Callable

from runtime import errors
from runtime.pool import copied, demand, link, process, template

REFILL_DELAY_S = 0.01
"""After a copy was taken: the start that took it comes first."""

LOOK_S = 5.0
"""How often is looked whether there are too many, and what those that wait do; never while there are none."""

LEAST = 1
"""Copies of a template that are kept where copies were started lately."""

SEAL_LIMIT_S = 60.0
"""Until its sandbox must stand, and it must have said so."""

_WAITING_S = 0.1
"""Processor time at the most of a copy that waits: it has nothing to do."""


Make = Callable[[template.Template, process.Listener], copied.Copied | None]
"""Makes a copy whose order is on its way, or None where there can be none; raises WorkerLost or OSError."""


class _Stock:
    """The copies of one template."""

    __slots__ = ("broken", "demand", "making", "parent", "ready")

    def __init__(self, parent: template.Template, most: int) -> None:
        self.parent = parent
        self.demand = demand.Demand(most)
        self.making: _Waiting | None = None
        """The one of them whose sandbox does not stand yet."""
        self.broken = False
        """One died by itself: no more before somebody asks."""
        self.ready: deque[_Waiting] = deque()


class _Waiting:
    """A copy that nobody took yet: hears what becomes of it, and what it says first."""

    __slots__ = ("_cpu_s", "_loop", "_owner", "_timer", "copy", "stock")

    def __init__(self, owner: "Ahead", stock: _Stock, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self.stock = stock
        self.copy: copied.Copied
        self._timer: asyncio.TimerHandle | None = None
        self._cpu_s = 0.0
        """What it had used when its sandbox stood."""

    def watch(self, copy: copied.Copied) -> None:
        """Wait for the word of a copy, which stays in its pipe for whoever takes it."""
        self.copy = copy
        self._timer = self._loop.call_later(SEAL_LIMIT_S, self._late)
        self._loop.add_reader(copy.fds[1], self._spoken)

    def unwatch(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._loop.remove_reader(self.copy.fds[1])

    def strays(self) -> bool:
        """Return whether it used the processor although there is nothing to do."""
        return self._timer is None and self.copy.cpu_s() - self._cpu_s > _WAITING_S

    def _spoken(self) -> None:
        copy = self.copy
        self.unwatch()
        if link.is_empty(copy.fds[1]):
            self._owner.discard(self, broken=True)  # it ended without a word
            return
        flaw = copy.flaw()
        if flaw == "":
            self._cpu_s = copy.cpu_s()
            copy.confined()
            copy.waits()
            self._owner.stands(self)
            return
        if flaw is not None:
            self.stock.parent.distrust(flaw)
        self._owner.discard(self, broken=True)

    def _late(self) -> None:
        self.unwatch()
        self.stock.parent.distrust(f"the sandbox of a copy did not stand within {SEAL_LIMIT_S:.0f} seconds")
        self._owner.discard(self)

    # process.Listener

    def process_forked(self) -> None:
        """Hear that it exists."""

    def process_doomed(self, _reason: str) -> None:
        """Hear that its template is to end."""
        self._owner.discard(self)

    def process_exited(self, _wait_status: int) -> None:
        """Hear that it died, or was let go."""
        self._owner.lost(self)

    def process_failed(self, _step: str, _reason: str) -> None:
        """Hear that it could not be made; the next start without one will say why to somebody who asked."""
        self._owner.lost(self)


class Ahead:
    """All copies of a supervisor that nobody took yet. Use from one event loop."""

    def __init__(self, make: Make, *, most: int, has_room: Callable[[], bool]) -> None:
        self._make = make
        self._most = most
        self._has_room = has_room
        self._loop = asyncio.get_running_loop()
        self._stocks: OrderedDict[template.Template, _Stock] = OrderedDict()
        """Of which a copy was started last comes last."""
        self._lacking: dict[template.Template, None] = {}
        """Those that may lack some."""
        self._count = 0
        self._living: set[_Waiting] = set()
        """Those that were let go and are not gone yet included."""
        self._refill: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._closed = False
        self._gone: asyncio.Future[None] | None = None

    def take(self, parent: template.Template, listener: process.Listener) -> copied.Copied | None:
        """Return a copy of a template, or None; either way the start counts.

        It may be one that is not made yet: whoever started another would wait for both.
        """
        if not self._most or self._closed:
            return None
        stock = self._stocks.get(parent)
        if stock is None:
            stock = self._stocks[parent] = _Stock(parent, self._most)
        self._stocks.move_to_end(parent)
        stock.demand.started(self._loop.time())
        stock.broken = False
        self._lacking[parent] = None
        if self._refill is None:
            self._refill = self._loop.call_later(REFILL_DELAY_S, self._fill)
        while stock.ready:
            waiting = stock.ready[0]
            self._part(waiting)
            if waiting.copy.adopt(listener):
                self._living.discard(waiting)
                return waiting.copy
            waiting.copy.kill()  # it died while it waited, and the news are still on their way
        return None

    def held(self, parent: template.Template) -> int:
        """Return how many are held of a template."""
        stock = self._stocks.get(parent)
        return len(stock.ready) if stock is not None else 0

    def count(self) -> float:
        """Return how many are held."""
        return self._count

    def release(self, parent: template.Template) -> None:
        """Let go of all of a template, and hold none any more."""
        stock = self._stocks.pop(parent, None)
        if stock is not None:
            self._lacking.pop(parent, None)
            self._shrink(stock, 0)

    def drop(self) -> bool:
        """Let every one go, for the memory; return whether there was one."""
        had = self._count > 0
        for stock in self._stocks.values():
            self._shrink(stock, 0)
        return had

    async def close(self) -> None:
        """Let every one go and make no more; return when they are gone. Their templates must be about to end."""
        self._closed = True
        for timer in (self._refill, self._look):
            if timer is not None:
                timer.cancel()
        self.drop()
        if self._living:
            self._gone = self._loop.create_future()
            await self._gone

    # What those that wait tell

    def stands(self, waiting: _Waiting) -> None:
        """Hear that the sandbox of one stands: make the next."""
        stock = waiting.stock
        stock.making = None
        self._lacking[stock.parent] = None
        if self._refill is None and not self._closed:
            self._refill = self._loop.call_later(0, self._fill)

    def discard(self, waiting: _Waiting, *, broken: bool = False) -> None:
        """Let go of one; ``broken``: it is not what it should be."""
        if waiting in waiting.stock.ready:
            waiting.stock.broken |= broken
            self._part(waiting)
            waiting.copy.kill()

    def lost(self, waiting: _Waiting) -> None:
        """Forget one that is gone."""
        if waiting in waiting.stock.ready:
            waiting.stock.broken = True
            self._part(waiting)
        self._living.discard(waiting)
        for fd in waiting.copy.fds:
            os.close(fd)
        waiting.copy.release()
        if self._gone is not None and not self._living:
            self._gone.set_result(None)

    # How

    def _part(self, waiting: _Waiting) -> None:
        """Let one be somebody else's, or nobody's."""
        stock = waiting.stock
        stock.ready.remove(waiting)
        waiting.unwatch()
        self._count -= 1
        if stock.making is waiting:
            stock.making = None

    def _fill(self) -> None:
        """Order one copy of each template that lacks some; the next is ordered when its sandbox stands."""
        self._refill = None
        now = self._loop.time()
        lacking, self._lacking = self._lacking, {}
        for parent in reversed(lacking):
            stock = self._stocks.get(parent)
            if stock is None or stock.making is not None or stock.broken or self._closed:
                continue
            if len(stock.ready) < stock.demand.wanted(now, LEAST) and self._has_room() and self._has_place(stock):
                self._add(stock)
        if self._look is None and self._count:
            self._look = self._loop.call_later(LOOK_S, self._look_around)

    def _has_place(self, stock: _Stock) -> bool:
        """Return whether there may be one more: of many templates those have one that were started from last."""
        if self._count < self._most:
            return True
        older = itertools.takewhile(lambda other: other is not stock, self._stocks.values())
        other = next((each for each in older if each.ready), None)
        if stock.ready or other is None:
            return False
        self._shrink(other, len(other.ready) - 1)
        return True

    def _add(self, stock: _Stock) -> None:
        waiting = _Waiting(self, stock, self._loop)
        try:
            copy = self._make(stock.parent, waiting)
        except (errors.WorkerLost, OSError):
            return  # tried again with the next start, which will say why
        if copy is not None:
            waiting.watch(copy)
            stock.making = waiting
            stock.ready.append(waiting)
            self._living.add(waiting)
            self._count += 1

    def _look_around(self) -> None:
        self._look = None
        now = self._loop.time()
        room = self._has_room()
        for parent, stock in list(self._stocks.items()):
            wanted = stock.demand.wanted(now, LEAST)
            self._shrink(stock, wanted if room else 0)
            if any(waiting.strays() for waiting in stock.ready):
                parent.distrust("a copy of it runs although nothing is asked of it")
            if not wanted and not stock.ready:
                del self._stocks[parent]
        if self._count:
            self._look = self._loop.call_later(LOOK_S, self._look_around)

    def _shrink(self, stock: _Stock, wanted: int) -> None:
        while len(stock.ready) > wanted:
            self.discard(stock.ready[-1])
