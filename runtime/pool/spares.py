"""A few things kept ready that take milliseconds to make: made in threads, taken on the event loop.

    spares = Spares(make, discard, ready=8, makers=threads, breakers=threads)
    spares.take(use)        # use(item) at once where one is ready, else as soon as one is made; use(OSError) if not
    spares.discard(item)    # in a thread

Who asked but does not want it any more discards what it is given.
"""

import asyncio
import concurrent.futures
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Spares(Generic[T]):
    """Keeps ``ready`` items made ahead. Use from one event loop."""

    def __init__(
        self,
        make: Callable[[], T],
        discard: Callable[[T], None],
        *,
        ready: int,
        makers: concurrent.futures.Executor,
        breakers: concurrent.futures.Executor,
    ) -> None:
        """``make`` runs in threads of ``makers`` and may raise OSError, ``discard`` in those of ``breakers``."""
        self._make = make
        self._discard = discard
        self._wanted = ready
        self._makers = makers
        self._breakers = breakers
        self._loop = asyncio.get_running_loop()
        self._ready: deque[T] = deque()
        self._waiting: deque[Callable[[T | OSError], None]] = deque()
        self._under_way = 0
        self._closed = False

    @property
    def ready(self) -> int:
        """Return how many can be taken at once."""
        return len(self._ready)

    def fill(self) -> None:
        """Start to make what is lacking."""
        while not self._closed and self._under_way < self._wanted + len(self._waiting) - len(self._ready):
            self._under_way += 1
            self._makers.submit(self._make).add_done_callback(self._done)

    def take(self, use: Callable[[T | OSError], None]) -> None:
        """Give an item to ``use``: now, where one is ready, else later."""
        if self._ready:
            use(self._ready.popleft())
        else:
            self._waiting.append(use)
        self.fill()

    def take_nowait(self) -> T | None:
        """Return an item, or None where none is ready."""
        item = self._ready.popleft() if self._ready else None
        self.fill()
        return item

    def keep(self, item: T) -> None:
        """Take in an item that is new, or as good as that."""
        if self._closed:
            self.discard(item)
        elif self._waiting:
            self._waiting.popleft()(item)
        else:
            self._ready.append(item)

    def discard(self, item: T) -> None:
        """Destroy an item: in a thread, or here where the threads have ended."""
        try:
            self._breakers.submit(self._discard, item)
        except RuntimeError:
            self._discard(item)

    def close(self) -> None:
        """Destroy what is ready, and what will be; who still waits is told that there will be none."""
        self._closed = True
        while self._ready:
            self.discard(self._ready.popleft())
        self._refuse(OSError("closed"))

    def _done(self, made: concurrent.futures.Future[T]) -> None:
        # In a thread. Where the loop is gone already, so is everybody who could want the item.
        try:
            self._loop.call_soon_threadsafe(self._take_in, made)
        except RuntimeError:
            if made.exception() is None:
                self._discard(made.result())

    def _take_in(self, made: concurrent.futures.Future[T]) -> None:
        self._under_way -= 1
        error = made.exception()
        if error is None:
            self.keep(made.result())
        elif isinstance(error, OSError):
            # The next who asks tries again; nobody waits for what cannot be made.
            self._refuse(error)
        else:
            raise error

    def _refuse(self, error: OSError) -> None:
        while self._waiting:
            self._waiting.popleft()(error)
