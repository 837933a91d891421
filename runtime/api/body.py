"""The memory of large request bodies: one buffer for each, and a limit on all of them.

A body is read straight into a buffer of its own. A bytearray's memory is real from the start, so the buffer starts
small and doubles as it fills: a client that announces 70 MB and sends nothing holds 64 KiB of ours. (Memory that
is mapped but not touched would do as well, were it not given back after each request: to fault it in again costs
ten times what doubling does.)
"""

from runtime.api import http

SMALL_BODY = 64 * 1024
"""Bytes of a body up to which it is bought in one piece, and not counted against what may be in flight."""


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


class Buffer:
    """The body of one request, of known length."""

    __slots__ = ("_filled", "_length", "data")

    def __init__(self, length: int, start: bytes | bytearray) -> None:
        size = length
        while size > SMALL_BODY:
            size = (size + 1) // 2
        self.data = bytearray(max(size, len(start)))
        self.data[: len(start)] = start
        self._filled = len(start)
        self._length = length

    def __len__(self) -> int:
        return self._filled

    def room(self) -> memoryview:
        """Return where to put the next bytes, never empty; it must be released before this is called again."""
        data = self.data
        if self._filled == len(data):
            data *= 2
            if len(data) > self._length:
                del data[self._length :]
        return memoryview(data)[self._filled :]

    def filled(self, count: int) -> bool:
        """Note that ``count`` bytes were put into the room; return whether the body is complete."""
        self._filled += count
        return self._filled == self._length
