"""The memory of large request bodies: one buffer for each, and limits on all of them.

A body is read straight into a buffer of its own, whose memory becomes real as it fills: a client that announces 70 MB
and sends nothing holds 64 KiB of ours. Two limits are on all bodies together, each as announced:

    Budget    bodies that are complete or will be, until they are answered: over it 503
    Room      bodies that are still coming in: over it a request waits its turn, unread. While one waits, those that
              come in have to come fast: who sends slowly, or stops, cannot keep the others out
"""

from collections import OrderedDict
from typing import Protocol

from runtime import buffers
from runtime.api import http

SMALL_BODY = 64 * 1024
"""Bytes of a body up to which it is bought in one piece, and not counted against what may be in flight."""

_DOUBLED = 256 * 1024
_MAPPED = 1024 * 1024
"""Bytes of a body from which on it ends up in memory of its own, which is cheaper than to double again and again."""


class Budget:
    """Bytes of large bodies that may be in flight, over all connections."""

    __slots__ = ("left",)

    def __init__(self, limit: int) -> None:
        self.left = limit

    def take(self, exchange: http.Exchange, size: int) -> None:
        """Charge an exchange, or refuse it with 503."""
        if size > self.left:
            raise http.Refused(503, "Too many large requests are in flight.")
        self.left -= size
        exchange.reserved += size

    def give_back(self, exchange: http.Exchange) -> None:
        """Return all that an exchange was charged."""
        self.left += exchange.reserved
        exchange.reserved = 0


class Receiver(Protocol):
    """Reads one body at a time."""

    def go_on(self) -> None:
        """Hear that there is room now for the body that waited."""

    def hurry(self) -> None:
        """Hear that others wait for the room that this body takes."""


class Room:
    """Bytes of large bodies that may be coming in, over all connections: first come, first served.

    A third is for bodies of up to a sixteenth: invocations do not wait for uploads of code.
    """

    __slots__ = ("_held", "_limit", "_queues", "left")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.left = limit
        self._held: dict[Receiver, int] = {}
        self._queues: tuple[OrderedDict[Receiver, int], ...] = (OrderedDict(), OrderedDict())
        """Of those who wait, and what for: bodies of up to a sixteenth, and larger ones."""

    @property
    def is_short(self) -> bool:
        """Whether a body waits."""
        return any(self._queues)

    def take(self, receiver: Receiver, size: int) -> bool:
        """Take room for a body, or queue for it; return whether it is there already."""
        queue = self._queues[self._is_upload(size)]
        if not queue and self._fits(size):
            self._take(receiver, size)
            return True
        first = not self.is_short
        queue[receiver] = size
        if first:
            for each in list(self._held):
                each.hurry()
        return False

    def give_back(self, receiver: Receiver) -> None:
        """Return what a receiver took, or take it out of the queue, and let the next ones go on."""
        self.left += self._held.pop(receiver, 0)
        for queue in self._queues:
            queue.pop(receiver, None)
        for queue in self._queues:
            while queue:
                following, size = next(iter(queue.items()))
                if not self._fits(size):
                    break
                del queue[following]
                self._take(following, size)
                following.go_on()

    def _is_upload(self, size: int) -> bool:
        return size > self._limit // 16

    def _fits(self, size: int) -> bool:
        # One that is larger than all there is must have its turn as well.
        return size <= self.left - (self._limit // 3 if self._is_upload(size) else 0) or not self._held

    def _take(self, receiver: Receiver, size: int) -> None:
        self.left -= size
        self._held[receiver] = size


class Buffer:
    """The body of one request, of known length."""

    __slots__ = ("_filled", "_length", "data")

    def __init__(self, length: int, start: bytes | bytearray) -> None:
        size = length
        while size > SMALL_BODY:
            size = (size + 1) // 2
        self.data: bytearray | memoryview = bytearray(max(size, len(start)))
        self.data[: len(start)] = start
        self._filled = len(start)
        self._length = length

    def __len__(self) -> int:
        return self._filled

    def room(self) -> memoryview:
        """Return where to put the next bytes, never empty; it must be released before this is called again."""
        if self._filled == len(self.data):
            self._grow()
        return memoryview(self.data)[self._filled :]

    def filled(self, count: int) -> bool:
        """Note that ``count`` bytes were put into the room; return whether the body is complete."""
        self._filled += count
        return self._filled == self._length

    def _grow(self) -> None:
        data = self.data
        assert isinstance(data, bytearray)
        if self._length >= _MAPPED and self._filled >= _DOUBLED:
            mapped = buffers.take(self._length)
            mapped[: self._filled] = data
            self.data = mapped
            return
        data *= 2
        if len(data) > self._length:
            del data[self._length :]
