"""The load generator, a process of its own: ``python -m bench.generator < plan.json > result.json``.

One thread and one epoll, prebuilt requests, no objects per request: it must cost less than what it measures, with
which it shares the machine. Its own CPU time stands in the result, so that this can be checked.

    closed loop   each connection sends its next request as soon as it has its answer
    open loop     requests are due at moments fixed in advance (see ``pace``) and take an idle connection, or the
                  first that becomes idle; their latency counts from the moment they were due

The time of an answer is when epoll reported it, so that answers which wait for the generator do not look late.
A connection that the server closed is opened anew when it is needed, at the expense of that request.
"""

import gc
import os
import random
import resource
import select
import sys
import time
from collections.abc import Iterator

import msgspec

from bench import http1, pace, plan, records, timer
from bench.connection import READS, WRITES, Call, Connection, find

_NS = 1_000_000_000
_TICK_S = 0.05
_READ = 64 * 1024
_LARGE_READ = 1024 * 1024
clock = time.monotonic_ns


class Engine:
    """Runs one plan."""

    def __init__(self, load: plan.Plan) -> None:
        chance = random.Random(load.seed)  # noqa: S311 - reproducible on purpose
        self._plan = load
        self._calls = [Call(call, index, load.host, load.port) for index, call in enumerate(load.calls)]
        self._choices = pace.choices(load, chance)
        self._left = sys.maxsize if load.count is None else load.count
        self._dues: Iterator[int] | None = None
        if load.open is not None:
            self._dues = pace.due_times(load.open, load.duration_s, load.count, chance)
        self._due: int | None = None
        """Open loop: when the next request is due."""
        self._blocked = False
        """Open loop: whether the next request was due when all connections were busy."""
        self._freed = 0
        self._epoll = select.epoll()
        self._timer = timer.Timer()
        self._epoll.register(self._timer.fd, select.EPOLLIN | select.EPOLLET)
        self._by_fd: dict[int, Connection] = {}
        address = find(load.host, load.port)
        self._all = [Connection(address, load.error_header, self._epoll, self._by_fd) for _ in range(load.connections)]
        self._idle = list(self._all)
        self._resting: list[Connection] = []
        """Closed loop: could not connect; tried again at the next tick."""
        self._in_flight = 0
        self._records = records.Records(load.duration_s, list_times=load.list_times)
        self._start = self._end = 0

    def run(self) -> plan.Result:
        """Run the plan to its end. Raises OSError where there is no server at all."""
        if not self._plan.reconnect:
            for connection in self._all:
                connection.open(blocking=True)
        gc.collect()
        gc.freeze()
        gc.disable()
        started_at, cpu_s = time.time(), time.process_time()
        self._start = clock()
        self._end = self._start + int(self._plan.duration_s * _NS)
        self._records.begin(self._start)
        if self._dues is None:
            idle, self._idle = self._idle, []
            for connection in idle:
                self._next(connection)
        else:
            self._advance()
            self._send_due()
        self._loop()
        self._give_up()
        result = self._records.result(started_at=started_at, cpu_s=time.process_time() - cpu_s)
        return msgspec.structs.replace(result, good_calls=self._records.good_calls if self._plan.list_good else None)

    # The loop

    def _loop(self) -> None:
        poll, by_fd = self._epoll.poll, self._by_fd
        last = self._start
        tick_at = last + int(_TICK_S * _NS)
        limit = self._end + int(self._plan.drain_s * _NS)
        while last < limit and not self._is_over(last):
            events = poll(_TICK_S)
            now = last = clock()
            for fd, mask in events:
                connection = by_fd.get(fd)
                if connection is not None:
                    self._on_event(connection, mask, now)
            if self._dues is not None:
                self._send_due()
            if now >= tick_at:
                tick_at = now + int(_TICK_S * _NS)
                self._tick(now)

    def _is_over(self, now: int) -> bool:
        if self._in_flight:
            return False
        if self._dues is not None:
            return self._due is None
        return now >= self._end or not (self._resting or self._idle) or self._left <= 0

    def _on_event(self, connection: Connection, mask: int, now: int) -> None:
        if connection.is_left(now):
            # What came since the caller left, nobody reads.
            self._fail(connection, "left", now)
        elif connection.rest is not None and mask & select.EPOLLOUT:
            self._send(connection)
        elif mask & ~select.EPOLLOUT:
            self._receive(connection, now)

    def _tick(self, now: int) -> None:
        limit = now - int(self._plan.timeout_s * _NS)
        for connection in self._all:
            if connection.busy and connection.sent < limit:
                self._fail(connection, "timeout", now)
            elif connection.is_left(now):
                self._fail(connection, "left", now)
        resting, self._resting = self._resting, []
        for connection in resting:
            self._next(connection)

    def _give_up(self) -> None:
        """Account for what is not over at the end."""
        now = clock()
        for connection in self._all:
            if connection.busy:
                self._records.ended("unfinished", now - connection.due, now)
        while self._due is not None:
            self._records.unsent += 1
            self._advance()

    # Which request is next

    def _next(self, connection: Connection) -> None:
        """Send the next request of a closed loop, if there is one."""
        now = clock()
        index = next(self._choices, None) if self._left > 0 and now < self._end else None
        if index is None:
            self._left = 0
            self._idle.append(connection)
            return
        self._left -= 1
        self._begin(connection, self._calls[index], now)

    def _advance(self) -> None:
        due = next(self._dues, None) if self._dues is not None else None
        self._due = None if due is None else self._start + due

    def _send_due(self) -> None:
        """Send what is due in an open loop, and have the timer wake us for the next."""
        while self._due is not None:
            now = clock()
            if self._due > now:
                self._blocked = False
                self._timer.wake_at(self._due)
                return
            if not self._idle:
                self._blocked = True
                return
            index = next(self._choices, None)
            if index is None:
                self._due = None
                return
            if self._blocked and self._due <= self._freed:
                self._records.waited += 1
            else:
                self._records.sent_late(now - self._due)
            self._begin(self._idle.pop(), self._calls[index], self._due)
            self._advance()

    # One request

    def _begin(self, connection: Connection, call: Call, due: int) -> None:
        connection.call = call
        connection.busy = True
        connection.due = due
        self._in_flight += 1
        connection.sent = clock()
        if connection.socket is None:
            connection.rest = memoryview(call.request)
            try:
                connection.open(blocking=False)
            except OSError:
                self._fail(connection, "broken", clock(), refused=True)
            return
        try:
            size = connection.socket.send(call.request)
        except BlockingIOError:
            size = 0
        except OSError:
            self._fail(connection, "broken", clock())
            return
        if size < len(call.request):
            connection.rest = memoryview(call.request)[size:]
            self._epoll.modify(connection.socket, WRITES)

    def _send(self, connection: Connection) -> None:
        """Send more of a request, on a connection that has become writable."""
        assert connection.socket is not None
        assert connection.rest is not None
        try:
            connection.rest = connection.rest[connection.socket.send(connection.rest) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(connection, "broken", clock(), refused=isinstance(error, ConnectionRefusedError))
            return
        if not connection.rest:
            connection.rest = None
            self._epoll.modify(connection.socket, READS)

    def _receive(self, connection: Connection, now: int) -> None:
        parser = connection.parser
        while connection.socket is not None:
            size = _LARGE_READ if parser.missing > _READ else _READ
            try:
                data = connection.socket.recv(size)
                if not connection.busy:
                    connection.close()
                    return
                if parser.feed(data) if data else parser.end():
                    break
            except BlockingIOError:
                return
            except (OSError, http1.BadResponse):
                data = b""
            if not data:
                self._fail(connection, "broken", now)
                return
            if len(data) < size and parser.missing <= _READ:
                return
            now = clock()
        self._finish(connection, now)

    def _finish(self, connection: Connection, now: int) -> None:
        """Take note of a complete answer, and go on."""
        seen = self._records
        outcome = connection.call.outcome(connection.parser)
        seen.ended(outcome, now - connection.due, now)
        if self._plan.list_good and outcome[:1] in {b"2", "2"}:
            seen.good_calls.append(connection.call.index)
        connection.busy = False
        self._in_flight -= 1
        if connection.parser.closing or self._plan.reconnect or connection.rest is not None:
            connection.close()
        if self._dues is None:
            self._next(connection)
        else:
            seen.served(now - connection.sent)
            self._freed = now
            self._idle.append(connection)

    def _fail(self, connection: Connection, outcome: str, now: int, *, refused: bool = False) -> None:
        """Take note of a request that has no answer, and go on with a new connection."""
        self._records.ended(outcome, now - connection.due, now)
        self._records.refused += refused
        connection.busy = False
        self._in_flight -= 1
        connection.close()
        if self._dues is not None:
            self._freed = now
            self._idle.append(connection)
        else:
            self._resting.append(connection)


def main() -> None:
    """Read a plan from stdin, run it, write the result to stdout."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        load = msgspec.json.decode(sys.stdin.buffer.read(), type=plan.Plan)
        result = Engine(load).run()
    except (OSError, msgspec.MsgspecError) as error:
        sys.exit(f"bench.generator: {error}")
    with os.fdopen(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
