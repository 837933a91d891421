"""The order of one connection's answers, and how many requests it may have with the application.

Each request goes to the application when it is complete, whether or not the ones before it are answered; what is
answered out of turn is held. An exchange is open from then until its last byte is written:

    queue     all open exchanges, oldest first; only the first may write
    waiting   those at its end that the application has not seen, because ``Limits.pipelined`` are with it already
              or because the client does not read its answers; then no input is taken either (``stalled``)
"""

import asyncio
import collections
import logging
import socket
import struct
from collections.abc import Callable

from runtime.api import body, heads, http, reader

_BETWEEN = reader.Phase.BETWEEN
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_INPUT_SIZE = 64 * 1024

log = logging.getLogger(__name__)


class Shared:
    """What the connections of one server share."""

    __slots__ = ("application", "budget", "connections", "dates", "empty", "input", "limits", "loop", "refusal", "room")

    def __init__(
        self,
        application: http.Application,
        limits: http.Limits,
        refusal: http.Refusal,
        dates: heads.Dates,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.application = application
        self.limits = limits
        self.refusal = refusal
        self.dates = dates
        self.loop = loop
        self.budget = body.Budget(limits.bytes_in_flight)
        self.room = body.Room(limits.unfinished_bytes)
        self.connections: set[Answers] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        # One buffer for all: the loop fills it and says so before it asks anyone for the next.
        self.input = memoryview(bytearray(_INPUT_SIZE))


class Answers(reader.Reader):
    """The part of a connection between its reader and its exchanges. Its subclass ends it (``close``)."""

    __slots__ = ("_congested", "_pump_due", "_queue", "_shared", "_transport", "_waiting")

    _transport: asyncio.Transport

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared.limits, shared.budget, shared.room, shared.dates)
        self._shared = shared
        self._queue: collections.deque[http.Exchange] = collections.deque()
        self._waiting: collections.deque[http.Exchange] = collections.deque()
        self._congested = False
        """The client does not read its answers."""
        self._pump_due = False

    # What the subclass does.

    def close(self) -> None:
        """Close when all is sent. What is still open is cancelled."""
        raise NotImplementedError

    def take_again(self) -> None:
        """Take input again, beginning with what was put by."""
        raise NotImplementedError

    def settle(self) -> None:
        """Note that nothing is open any more."""
        raise NotImplementedError

    # From the server.

    def drain(self) -> None:
        """Close when idle, at once or after the answer to what was begun."""
        self.draining = True
        if not self._queue and self.phase is _BETWEEN:
            self.close()

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    # From the reader.

    def accept(self, exchange: http.Exchange) -> None:
        """Queue a request and give it to the application, unless that has enough of this connection's."""
        queue = self._queue
        queue.append(exchange)
        if not exchange.keep_alive:
            self.finished = True
        if self._congested or len(queue) > self._limits.pipelined:
            self.stalled = True
            self._waiting.append(exchange)
        else:
            self._dispatch(exchange)

    def go_on(self) -> None:
        """Read the body that waited for room."""
        super().go_on()
        self._plan_pump()

    def refuse(self, refused: http.Refused, exchange: http.Exchange | None) -> None:
        """Answer in turn, then close."""
        if exchange is None:
            exchange = http.Exchange(self, "", "", "", {}, False, False)
        exchange.keep_alive = False
        self._queue.append(exchange)
        self._answer_with(exchange, refused.status, refused.message)

    # From the exchanges.

    def send(self, exchange: http.Exchange, data: http.Body, last: bool) -> None:
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
            self.close()
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

    # In parts.

    def _dispatch(self, exchange: http.Exchange) -> None:
        try:
            self._shared.application(exchange)
        except Exception:
            log.exception("the application failed on %s %s", exchange.method, exchange.path)
            if exchange.untouched:
                self._answer_with(exchange, 500, "Internal server error")
            else:
                exchange.abort()

    def _answer_with(self, exchange: http.Exchange, status: int, message: str) -> None:
        try:
            headers, document = self._shared.refusal(status, message, exchange.method, exchange.path)
        except Exception:
            log.exception("a refusal could not be worded")
            headers, document = http.plain_refusal(status, message, exchange.method, exchange.path)
        exchange.respond(status, headers, document)

    def _plan_pump(self) -> None:
        # Soon, not now: an application that answers at once would otherwise be entered from its own answer.
        if not self._pump_due:
            self._pump_due = True
            self._shared.loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Go on with what was put off while ``stalled``."""
        self._pump_due = False
        queue, waiting, most = self._queue, self._waiting, self._limits.pipelined
        while waiting and not self._congested and len(queue) - len(waiting) < most:
            self._dispatch(waiting.popleft())
        if not (waiting or self._congested or self.waits_for_room) and len(queue) < most:
            self.take_again()

    def _advance(self) -> None:
        """Leave the exchange that was just finished, and write what was held of those behind it."""
        queue = self._queue
        while True:
            exchange = queue.popleft()
            # As _release, but a call here would cost each request.
            exchange.on_disconnect = exchange.on_drain = None
            if exchange.reserved:
                self._budget.give_back(exchange)
            if not exchange.keep_alive:
                self.close()
                return
            if not queue:
                self.settle()
                break
            if not self._bring_forward(queue[0]):
                break
        if self.stalled:
            self._plan_pump()

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
        self._budget.give_back(exchange)

    def _tell_drained(self, exchange: http.Exchange) -> None:
        if exchange.on_drain is not None and not self._congested:
            self._call(exchange.on_drain)

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
