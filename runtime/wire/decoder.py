"""The decoder of a byte stream: it does no I/O, bytes go in and messages come out."""

from collections.abc import Iterator
from typing import Any

from runtime import buffers
from runtime.wire.frames import FRAME_LIMIT, LARGE, LENGTH, LENGTH_SIZE, WireError, parse, parse_usual, size_of
from runtime.wire.messages import Response


class Decoder:
    """Cuts a byte stream into messages. After a WireError the stream is lost: close it."""

    __slots__ = ("_accepted", "_buffer", "_filled", "_hears_responses", "_is_split", "_large")

    def __init__(self, accepted: dict[int, type]) -> None:
        self._accepted = accepted
        self._hears_responses = Response.TAG in accepted
        self._buffer = bytearray()
        """What came of a frame, less than is known how long it is, or less than LARGE."""
        self._large: memoryview | None = None
        """A large frame without its length, of which ``_filled`` bytes came."""
        self._filled = 0
        self._is_split = False

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self._buffer) if self._large is None else self._filled + LENGTH_SIZE

    def whole(self, data: bytes) -> Any:
        """Return the message that ``data`` is, where it is one frame and nothing else is pending; else None.

        The common case: nothing is copied, and no generator is made.
        """
        if not self._buffer and self._large is None and len(data) > LENGTH_SIZE:
            (length,) = LENGTH.unpack_from(data)
            if length == len(data) - LENGTH_SIZE <= FRAME_LIMIT:
                usual = parse_usual(data) if self._hears_responses else None
                return parse(memoryview(data)[LENGTH_SIZE:], self._accepted) if usual is None else usual
        return None

    def room(self) -> memoryview | None:
        """Return where the rest of a large frame is to be read to; None where none is under way."""
        return None if self._large is None else self._large[self._filled :]

    def filled(self, count: int) -> Any:
        """Note that ``count`` bytes were read into the room; return the message if it is complete, else None."""
        large = self._large
        assert large is not None
        self._filled += count
        if self._filled < len(large):
            return None
        self._large = None
        return self._parse(large, self._is_split)

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the messages that ``data`` completes; raise WireError on the first that is none."""
        rest: bytes | bytearray = data
        if self._large is not None:
            rest, message = self._fill(data)
            if message is None:
                return
            yield message
        held = self._buffer
        held += rest
        while len(held) >= LENGTH_SIZE:
            size, is_split = size_of(LENGTH.unpack_from(held)[0])
            needed = size + LENGTH_SIZE
            if len(held) < needed:
                if needed > LARGE:
                    self._begin_large(size, is_split)
                return
            with memoryview(held) as view, view[LENGTH_SIZE:needed] as body:
                message = self._parse(body, is_split)
                if is_split:
                    message.payload = bytes(message.payload)
            del held[:needed]
            yield message

    def _begin_large(self, size: int, is_split: bool) -> None:
        start = self._buffer[LENGTH_SIZE:]
        self._large = buffers.take(size)
        self._large[: len(start)] = start
        self._filled = len(start)
        self._is_split = is_split
        self._buffer.clear()

    def _fill(self, data: bytes) -> tuple[bytes, Any]:
        """Add to a large frame; return what lies behind it, and its message if it is complete."""
        room = self.room()
        assert room is not None
        count = min(len(room), len(data))
        room[:count] = data[:count]
        return data[count:], self.filled(count)

    def _parse(self, body: memoryview, is_split: bool) -> Any:
        if not is_split:
            return parse(body, self._accepted)
        start = LENGTH_SIZE + (LENGTH.unpack_from(body)[0] if len(body) >= LENGTH_SIZE else len(body))
        if start > len(body):
            raise WireError("a frame is shorter than what it begins with")
        return parse(body[LENGTH_SIZE:start], self._accepted, body[start:])
