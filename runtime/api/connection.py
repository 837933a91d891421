"""One client connection: answers in the order of the requests, time-outs, back-pressure, and how it ends.

Each request goes to the application when it is complete, whether or not the ones before it are answered; what is
answered out of turn is held. An exchange is open from then until its last byte is written:

    queue     all open exchanges, oldest first; only the first may write
    waiting   those at its end that the application has not seen, because ``Limits.pipelined`` are with it already
              or because the client does not read its answers; then no input is taken either (``stalled``)

A client that half-closes cancels its open exchanges, like one that leaves: of the two meanings of an EOF, "no
more requests" and "gone", the second is by far the more frequent, and a function's time is worth more than the
answer to the few clients that mean the first. What was answered before the EOF is still sent.

Time-outs cost no timer a request: there is one a connection, and when it rings it looks up what, if anything, is
due, and rings again then.
"""

import asyncio
import collections
import enum
import logging
import math
import socket
import struct
from collections.abc import Callable
from typing import cast

from runtime.api import http, reader

_BETWEEN = reader.Phase.BETWEEN
READ_SIZE = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

log = logging.getLogger(__name__)


class Shared:
    """What the connections of one server share."""

    __slots__ = ("application", "budget", "connections", "dates", "empty", "input", "limits", "loop", "refusal")

    def __init__(
        self,
        application: http.Application,
        limits: http.Limits,
        refusal: http.Refusal,
        dates: http.Dates,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.application = application
        self.limits = limits
        self.refusal = refusal
        self.dates = dates
        self.loop = loop
        self.budget = reader.Budget(limits.bytes_in_flight)
        self.connections: set[Connection] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        # One buffer for all: the loop fills it and calls buffer_updated before it asks anyone for the next.
        self.input = memoryview(bytearray(READ_SIZE))


class _End(enum.Enum):
    NOT_YET = enum.auto()
    CLOSING = enum.auto()
    """Everything is written; the transport sends the rest of it."""
    LINGERING = enum.auto()
    """The same, and our direction is closed; what the client still sends is dropped."""
    LOST = enum.auto()


class Connection(reader.Reader, asyncio.BufferedProtocol):
    """The asyncio protocol. All its methods but ``drain`` and ``abort`` are called by asyncio or by exchanges."""

    __slots__ = (
        "_backlog",
        "_congested",
        "_end",
        "_input",
        "_pump_due",
        "_queue",
        "_rings_at",
        "_shared",
        "_since",
        "_since_phase",
        "_timer",
        "_transport",
        "_unsent",
        "_waiting",
    )

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared.limits, shared.budget, shared.dates)
        self._shared = shared
        self._input = shared.input
        self._queue: collections.deque[http.Exchange] = collections.deque()
        self._waiting: collections.deque[http.Exchange] = collections.deque()
        self._backlog = b""
        self._congested = False
        self._unsent = 0
        self._pump_due = False
        self._end = _End.NOT_YET
        self._since = 0.0
        self._since_phase = _BETWEEN
        self._rings_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # From the server.

    def drain(self) -> None:
        """Close when idle, at once or after the answer to what was begun."""
        self.draining = True
        if not self._queue and self.phase is _BETWEEN:
            self._close()

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

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
        self.finished = True
        self._cancel_open()
        self._close()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where to read to: the rest of a body, or the buffer shared by all."""
        return self._input if self._buffer is None else self.room()

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

    # From the reader.

    def accept(self, exchange: http.Exchange) -> None:
        """Queue a request and give it to the application, unless that has enough of this connection's."""
        queue = self._queue
        queue.append(exchange)
        self._since_phase = _BETWEEN
        if not exchange.keep_alive:
            self.finished = True
        if self._congested or len(queue) > self._limits.pipelined:
            self.stalled = True
            self._waiting.append(exchange)
        else:
            self._dispatch(exchange)

    def refuse(self, refused: http.Refused, exchange: http.Exchange | None) -> None:
        """Answer in turn, then close."""
        if exchange is None:
            exchange = http.Exchange(self, "", "", "", {}, False, False)
        exchange.keep_alive = False
        headers, body = self._shared.refusal(refused.status, refused.message, exchange.method, exchange.path)
        self._queue.append(exchange)
        exchange.respond(refused.status, headers, body)

    # From the exchanges.

    def send(self, exchange: http.Exchange, data: bytes, last: bool) -> None:
        """Write, or hold until it is the exchange's turn."""
        if self._queue[0] is not exchange:
            if exchange.held is None:
                exchange.held = []
            exchange.held.append(data)
            return
        self._transport.write(data)
        if last:
            self._advance()

    def cut(self, exchange: http.Exchange) -> None:
        """End the connection in the middle of a response, when it is its turn."""
        if self._queue[0] is not exchange:
            return
        self._release(self._queue.popleft())
        if exchange.chunked:
            self._close()
            return
        # Without chunks only a reset tells a broken response from a whole one (socket(7), SO_LINGER).
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.finished = True
        self._cancel_open()
        self._transport.abort()

    def closes_after(self, exchange: http.Exchange) -> bool:
        """Tell, while draining, whether this response is the last: nothing is behind it or being read."""
        if self._queue[-1] is not exchange or self.phase is not _BETWEEN:
            return False
        self.finished = True
        return True

    def may_write(self, exchange: http.Exchange) -> bool:
        """Tell whether the exchange is the first in the queue, and the client reads."""
        queue = self._queue
        return not self._congested and len(queue) > 0 and queue[0] is exchange

    # Requests.

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
        if not self._queue and self._end is _End.NOT_YET:
            self.expecting = False
            self._transport.write(_CONTINUE)

    def _dispatch(self, exchange: http.Exchange) -> None:
        try:
            self._shared.application(exchange)
        except Exception:
            log.exception("the application failed on %s %s", exchange.method, exchange.path)
            if exchange.untouched:
                headers, body = self._shared.refusal(500, "Internal server error", exchange.method, exchange.path)
                exchange.respond(500, headers, body)
            else:
                exchange.abort()

    def _plan_pump(self) -> None:
        # Soon, not now: an application that answers at once would otherwise be entered from its own answer.
        if not self._pump_due:
            self._pump_due = True
            self._shared.loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Go on with what was put off while ``stalled``."""
        self._pump_due = False
        if self._end is _End.LOST:
            return
        queue, waiting, most = self._queue, self._waiting, self._limits.pipelined
        while waiting and not self._congested and len(queue) - len(waiting) < most:
            self._dispatch(waiting.popleft())
        if waiting or self._congested or len(queue) >= most:
            return
        self.stalled = False
        backlog, self._backlog = self._backlog, b""
        if backlog:
            self._take(memoryview(backlog))
        if not self.stalled:
            self._since_phase = _BETWEEN
            self._since = self._shared.loop.time()
            if self.phase is not _BETWEEN:
                self._watch()
            self._transport.resume_reading()

    # Responses.

    def _advance(self) -> None:
        """Leave the exchange that was just finished, and write what was held of those behind it."""
        queue = self._queue
        while True:
            exchange = queue.popleft()
            # The callbacks are dropped because they often hold the exchange, which would keep it from being freed.
            exchange.on_disconnect = exchange.on_drain = None
            if exchange.reserved:
                self._budget.give_back(exchange)
            if not exchange.keep_alive:
                self._close()
                return
            if not queue:
                break
            if not self._bring_forward(queue[0]):
                break
        if self.stalled:
            self._plan_pump()
        if not queue and self.phase is _BETWEEN:
            self._since = self._shared.loop.time()
            if self.draining:
                self._close()
        elif self.expecting:
            self._go_ahead()

    def _bring_forward(self, front: http.Exchange) -> bool:
        """Write what was held of the exchange whose turn it is; return whether it is complete."""
        held, front.held = front.held, None
        for data in held or ():
            self._transport.write(data)
        if front.is_cut:
            self.cut(front)
        elif not front.done:
            self._tell_drained(front)
        return front.done

    def _release(self, exchange: http.Exchange) -> None:
        # The callbacks are dropped because they often hold the exchange, and so would keep it from being freed.
        exchange.on_disconnect = exchange.on_drain = None
        if exchange.reserved:
            self._budget.give_back(exchange)

    def _tell_drained(self, exchange: http.Exchange) -> None:
        callback = exchange.on_drain
        if callback is not None and not self._congested:
            self._call(callback)

    def _cancel_open(self) -> None:
        gone = list(self._queue)
        self._queue.clear()
        self._waiting.clear()
        for exchange in gone:
            exchange.disconnected = True
        for exchange in gone:
            callback = exchange.on_disconnect
            self._release(exchange)
            if callback is not None:
                self._call(callback)

    @staticmethod
    def _call(callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            log.exception("a callback of an exchange failed")

    # The end, and time.

    def _close(self) -> None:
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
            transport.write_eof()
            transport.resume_reading()
        else:
            self._end = _End.CLOSING
            transport.close()
        self._unsent = transport.get_write_buffer_size()
        self._since = self._shared.loop.time()
        self._ring_at(self._due())

    def _watch(self) -> None:
        """Begin to count the time of a request that did not come in one piece."""
        if self._since_phase is not self.phase:
            self._since_phase = self.phase
            self._since = self._shared.loop.time()
            self._ring_at(self._due())

    def _due(self) -> float:
        """Return when the connection will have been in its present state for too long."""
        limits = self._limits
        if self._end is _End.LINGERING:
            return self._since + limits.linger_s
        if self._end is _End.CLOSING or self._congested:
            return self._since + limits.send_timeout_s
        if self.stalled or (self._queue and self.phase is _BETWEEN):
            return math.inf
        if self.phase is reader.Phase.HEAD:
            return self._since + limits.header_timeout_s
        if self.phase is reader.Phase.BODY:
            return self._since + limits.body_timeout_s + self.body_bytes / limits.body_rate
        return self._since + limits.idle_timeout_s

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
        elif self.phase is not _BETWEEN:
            self.break_off(http.Refused(408, "The request did not come in time."))
        else:
            self._close()
