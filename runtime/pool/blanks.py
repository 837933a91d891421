"""The stock of blanks: workers forked and prepared before anybody knows for which function.

Per zygote and memory class, as many as ``demand`` wants, made one after the other when nobody waits for it, and
never more than ``most`` in all. A function takes a blank of its class, else one of any: the exact limits are set when
it is taken. None are kept where the host is short of memory, and none when nothing was started for some minutes.
"""

import asyncio
import dataclasses
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from runtime import errors, model
from runtime.pool import demand, forked, memory_class, process

REFILL_DELAY_S = 0.01
"""After a blank was taken: the start that took it comes first."""

LOOK_S = 5.0
"""How often a stock looks whether it is too large; an empty one does not look."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What a blank is prepared for."""

    zygote: str
    memory_mb: int
    """Of its class."""


Make = Callable[[Kind, process.Listener], forked.Forked]
"""Makes a blank whose order is on its way; raises WorkerLost or OSError."""


class _Stock:
    """The blanks of one kind."""

    __slots__ = ("broken", "demand", "least", "making", "ready")

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.demand = demand.Demand(most)
        self.making: forked.Forked | None = None
        """The one of them that is not forked yet."""
        self.broken = False
        """One died by itself: no more before somebody asks."""
        self.ready: deque[forked.Forked] = deque()


class _Waiting:
    """Hears what becomes of a blank that nobody took."""

    __slots__ = ("_owner", "blank", "stock")

    def __init__(self, owner: "Blanks", stock: _Stock) -> None:
        self._owner = owner
        self.stock = stock
        self.blank: forked.Forked

    def process_forked(self) -> None:
        """Hear that it exists."""

    def process_doomed(self, _reason: str) -> None:
        """Hear nothing: it is no copy."""

    def process_exited(self, _wait_status: int) -> None:
        """Hear that it died, or was let go."""
        self._owner.lost(self.stock, self.blank)

    def process_failed(self, _step: str, _reason: str) -> None:
        """Hear that it could not be made; the next start without a blank will say why to somebody who asked."""
        self._owner.lost(self.stock, self.blank)


class Blanks:
    """All blanks of a supervisor. Use from one event loop."""

    def __init__(
        self,
        make: Make,
        classes: Sequence[memory_class.MemoryClass],
        *,
        most: int,
        has_room: Callable[[], bool],
    ) -> None:
        self._make = make
        self._classes = classes
        self._most = most
        self._has_room = has_room
        self._loop = asyncio.get_running_loop()
        self._stocks: dict[Kind, _Stock] = {}
        self._count = 0
        self._refill: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, version: model.Version, zygote: str, listener: process.Listener) -> forked.Forked | None:
        """Return a blank of a zygote that is now the version's, or None; either way the start counts.

        Raises WorkerLost or OSError where what the version needs cannot be had.
        """
        kind = Kind(zygote, memory_class.of(self._classes, version.memory_mb).memory_mb)
        stock = self._stock(kind)
        stock.demand.started(self._loop.time())
        stock.broken = False
        try:
            return self._take(version, stock, zygote, listener)
        finally:
            self._refill_soon()  # behind the start, which is on its way by then

    def _take(
        self, version: model.Version, stock: _Stock, zygote: str, listener: process.Listener
    ) -> forked.Forked | None:
        if version.ephemeral_storage_mb != memory_class.TMP_MB:
            return None
        if not stock.ready:
            others = (other for key, other in self._stocks.items() if key.zygote == zygote)
            stock = max(others, key=lambda other: len(other.ready))
        if not stock.ready:
            return None
        blank = stock.ready.popleft()
        self._count -= 1
        try:
            blank.adopt(version, listener)
        except BrokenPipeError:
            blank.kill()  # it or its mounter died while it waited, and the news are still on their way
            return None
        except BaseException:
            blank.kill()
            raise
        return blank

    def available(self, zygote: str) -> bool:
        """Return whether one is there to be taken."""
        return any(stock.ready for kind, stock in self._stocks.items() if kind.zygote == zygote)

    def warm(self, zygote: str) -> None:
        """Make the first blanks of a zygote, as if a small function had been started."""
        self._stock(Kind(zygote, self._classes[0].memory_mb)).demand.started(self._loop.time())
        self._refill_soon()

    def counts(self) -> Mapping[str, float]:
        """Return how many are held, by the size of their class in MB."""
        counts: dict[str, float] = {}
        for kind, stock in self._stocks.items():
            name = str(kind.memory_mb)
            counts[name] = counts.get(name, 0) + len(stock.ready)
        return counts

    def let_go(self, zygote: str) -> None:
        """Let a zygote's blanks go that are sealed: its mounter is gone, so that they can be nobody's."""
        for kind, stock in self._stocks.items():
            if kind.zygote == zygote:
                for blank in [one for one in stock.ready if one.is_sealed]:
                    stock.ready.remove(blank)
                    self._count -= 1
                    blank.kill()
        self._refill_soon()

    def drop(self) -> bool:
        """Let every blank go, for the memory; return whether there was one."""
        had = self._count > 0
        for stock in self._stocks.values():
            self._shrink(stock, 0)
        return had

    def close(self) -> None:
        """Let every blank go and make no more."""
        self._closed = True
        for timer in (self._refill, self._look):
            if timer is not None:
                timer.cancel()
        self.drop()

    def lost(self, stock: _Stock, blank: forked.Forked) -> None:
        """Forget a blank that is gone."""
        if blank in stock.ready:
            stock.ready.remove(blank)
            stock.broken = True
            self._count -= 1
        for fd in blank.fds:
            os.close(fd)
        blank.release()

    def _stock(self, kind: Kind) -> _Stock:
        stock = self._stocks.get(kind)
        if stock is None:
            least = memory_class.of(self._classes, kind.memory_mb).blanks
            stock = self._stocks[kind] = _Stock(least, self._most or 1)
        return stock

    def _refill_soon(self) -> None:
        if self._refill is None and self._most and not self._closed:
            self._refill = self._loop.call_later(REFILL_DELAY_S, self._fill)

    def _fill(self) -> None:
        """Order one blank of each kind that lacks some; the next is ordered when it is forked."""
        self._refill = None
        now = self._loop.time()
        for kind, stock in self._stocks.items():
            if self._count >= self._most or self._closed or not self._has_room():
                return
            if stock.making is None and not stock.broken and len(stock.ready) < stock.demand.wanted(now, stock.least):
                self._add(kind, stock)
        if self._look is None and self._count:
            self._look = self._loop.call_later(LOOK_S, self._look_around)

    def _add(self, kind: Kind, stock: _Stock) -> None:
        waiting = _Waiting(self, stock)
        try:
            blank = self._make(kind, waiting)
        except (errors.WorkerLost, OSError):
            return  # tried again with the next start, which will say why
        waiting.blank = stock.making = blank
        stock.ready.append(blank)
        self._count += 1

        def next_one() -> None:
            stock.making = None
            self._loop.call_soon(self._fill)

        blank.on_placed = next_one

    def _look_around(self) -> None:
        self._look = None
        now = self._loop.time()
        room = self._has_room()
        for stock in self._stocks.values():
            self._shrink(stock, stock.demand.wanted(now, stock.least) if room else 0)
        if self._count:
            self._look = self._loop.call_later(LOOK_S, self._look_around)

    def _shrink(self, stock: _Stock, wanted: int) -> None:
        while len(stock.ready) > wanted:
            self._count -= 1
            stock.ready.pop().kill()
