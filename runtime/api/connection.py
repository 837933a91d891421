"""One client connection: asyncio's protocol, time-outs, and how it ends.

A client that half-closes cancels its open exchanges, like one that leaves: of the two meanings of an EOF, "no
more requests" and "gone", the second is by far the more frequent, and a function's time is worth more than the
answer to the few clients that mean the first. What was answered before the EOF is still sent. (While input is
``stalled`` an EOF waits with the rest of it.)

Time-outs cost no timer a request: there is one a connection, and when it rings it looks up what, if anything, is
due, and rings again then.
"""

import asyncio
import contextlib
import enum
import math
from typing import cast

from runtime.api import answers, http, reader

_BETWEEN = reader.Phase.BETWEEN
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _End(enum.Enum):
    NOT_YET = enum.auto()
    CLOSING = enum.auto()
    """Everything is written; the transport sends the rest of it."""
    LINGERING = enum.auto()
    """The same, and our direction is closed; what the client still sends is dropped."""
    LOST = enum.auto()


class Connection(answers.Answers, asyncio.BufferedProtocol):
    """The asyncio protocol."""

    __slots__ = (
        "_backlog",
        "_end",
        "_input",
        "_rings_at",
        "_since",
        "_timer",
        "_unsent",
    )

    def __init__(self, shared: answers.Shared) -> None:
        super().__init__(shared)
        self._input = shared.input
        self._backlog = b""
        """Input that came when no more was to be taken."""
        self._unsent = 0
        """Bytes of answers that were waiting for the client when we last looked."""
        self._end = _End.NOT_YET
        self._since = 0.0
        """When the present state began, in the loop's time: see ``_due``."""
        self._rings_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # From asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or turn the client away where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        shared = self._shared
        address = transport.get_extra_info("peername")
        self.peer = address[0] if isinstance(address, tuple) else None
        shared.connections.add(self)
        shared.empty.clear()
        self._since = shared.loop.time()
        self._ring_at(self._since + shared.limits.idle_timeout_s)
        if len(shared.connections) > shared.limits.connections:
            self.finished = True
            self.refuse(http.Refused(503, "Too many connections are open."), None)

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell the open exchanges, and let go of everything."""
        self._end = _End.LOST
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._cancel_open()
        self.forget()
        self._backlog = b""
        shared = self._shared
        shared.connections.discard(self)
        if not shared.connections:
            shared.empty.set()

    def eof_received(self) -> None:
        """Cancel what is open; the transport then closes, having sent what it was given."""
        self.close()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where to read to: the rest of a body, or the buffer shared by all."""
        return self._input if self._buffer is None else self._buffer.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        if self._buffer is None:
            self._take(self._input[:nbytes])
        else:
            self.filled(nbytes)

    def pause_writing(self) -> None:
        """Stop taking requests: the client does not read its answers."""
        self._congested = True
        self.stalled = True
        self._transport.pause_reading()
        self._unsent = self._transport.get_write_buffer_size()
        self._since = self._shared.loop.time()
        self._ring_at(self._since + self._limits.send_timeout_s)

    def resume_writing(self) -> None:
        """Go on."""
        self._congested = False
        self._plan_pump()
        if self._queue:
            self._tell_drained(self._queue[0])

    # Input.

    def _take(self, data: memoryview) -> None:
        taken = self.feed(data)
        if self.stalled:
            if taken < len(data):
                self._backlog = bytes(data[taken:])
            self._transport.pause_reading()
        if self.phase is not _BETWEEN:
            self._watch()
            if self.expecting:
                self._go_ahead()

    def _go_ahead(self) -> None:
        """Send "100 Continue", if it is the next thing that the client expects."""
        if not (self._queue or self.waits_for_room) and self._end is _End.NOT_YET:
            self.expecting = False
            self._transport.write(_CONTINUE)

    def take_again(self) -> None:
        """Take input again, beginning with what was put by."""
        if self._end is _End.LOST:
            return
        self.stalled = False
        self.timed = _BETWEEN  # the time during which we did not read is not the client's
        self._since = self._shared.loop.time()
        backlog, self._backlog = self._backlog, b""
        self._take(memoryview(backlog))
        if not self.stalled:
            self._transport.resume_reading()

    # The end.

    def settle(self) -> None:
        """Wait for the next request, or for the rest of it, or close when draining."""
        if self.phase is not _BETWEEN:
            if self.expecting:
                self._go_ahead()
        elif self.draining:
            self.close()
        else:
            self._since = self._shared.loop.time()

    def close(self) -> None:
        """Close when all is sent. What is still open is cancelled."""
        self.finished = True
        self._cancel_open()
        if self._end is not _End.NOT_YET:
            return
        transport = self._transport
        if self.unread:
            # To close with unread input is to reset, which can destroy the answer on its way (RFC 9112, 9.6).
            self._end = _End.LINGERING
            self.stalled = False
            self._backlog = b""
            with contextlib.suppress(OSError):  # asyncio's passes on that the client is gone
                transport.write_eof()
            transport.resume_reading()
        else:
            self._end = _End.CLOSING
            transport.close()
        self._unsent = transport.get_write_buffer_size()
        self._since = self._shared.loop.time()
        self._ring_at(self._due())

    # Time.

    def _watch(self) -> None:
        """Begin to count the time of a request that did not come in one piece."""
        if self.timed is not self.phase:
            self.timed = self.phase
            self._since = self._shared.loop.time()
            self._ring_at(self._due())

    def _due(self) -> float:
        """Return when the connection will have been in its present state for too long."""
        limits = self._limits
        if self._end is _End.LINGERING:
            return self._since + limits.linger_s
        if self._end is _End.CLOSING or self._congested:
            return self._since + limits.send_timeout_s
        if self.waits_for_room:
            return self._since + limits.body_timeout_s
        if self.stalled or self.finished or (self._queue and self.phase is _BETWEEN):
            return math.inf
        return self._since + self._patience()

    def _patience(self) -> float:
        """Return for how long the client may be in its present phase."""
        limits = self._limits
        if self.phase is reader.Phase.HEAD:
            return limits.header_timeout_s
        if self.phase is reader.Phase.BODY:
            if self._room.is_short:
                return limits.hurried_timeout_s + self.body_bytes / limits.hurried_rate
            return limits.body_timeout_s + self.body_bytes / limits.body_rate
        return limits.idle_timeout_s

    def hurry(self) -> None:
        """Look soon whether the body comes fast enough for one that others wait for."""
        self._ring_at(max(self._due(), self._shared.loop.time()))

    def _ring_at(self, when: float) -> None:
        if self._timer is not None:
            if self._rings_at <= when:
                return
            self._timer.cancel()
        self._rings_at = when
        self._timer = self._shared.loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._shared.loop.time()
        if self._due() <= now:
            self._expire(now)
        if self._end is not _End.LOST:
            self._ring_at(min(self._due(), now + self._limits.idle_timeout_s))

    def _expire(self, now: float) -> None:
        if self._end is _End.CLOSING or (self._congested and self._end is _End.NOT_YET):
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent:
                self._unsent = unsent
                self._since = now
            else:
                self._transport.abort()
        elif self._end is _End.LINGERING:
            self._transport.abort()
        elif self.waits_for_room:
            self.break_off(http.Refused(503, "Too many large requests are coming in."))
        elif self.phase is not _BETWEEN:
            self.break_off(http.Refused(408, "The request did not come in time."))
        else:
            self.close()
