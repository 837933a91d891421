"""A place for one request in flight, its socket, and the request that is sent on it."""

import contextlib
import select
import socket
from typing import Any, TypeAlias

from bench import http1, plan

READS, WRITES = select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT

Address: TypeAlias = tuple[int, int, int, str, Any]
"""An entry of getaddrinfo(3)."""


def find(host: str, port: int) -> Address:
    """Return the first address of a host; raise OSError where it has none."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]


class Call:
    """A call, ready to be sent."""

    __slots__ = ("contains", "equals", "index", "leave", "request")

    def __init__(self, call: plan.Call, index: int, host: str, port: int) -> None:
        self.index = index
        name = f"[{host}]" if ":" in host else host
        self.request = http1.request(f"{name}:{port}", call.method, call.path, call.headers, call.body.encode())
        self.equals = None if call.equals is None else call.equals.encode()
        self.contains = None if call.contains is None else call.contains.encode()
        self.leave = None if call.leave_s is None else int(call.leave_s * 1e9)
        """Nanoseconds after which the caller leaves."""

    def outcome(self, parser: http1.Parser) -> str | bytes:
        """Return what a complete answer counts as."""
        status = parser.status
        if status[:1] == b"2":
            if parser.marked:
                return "function-error"
            if self.equals is not None and parser.body != self.equals:
                return "wrong"
            if self.contains is not None and self.contains not in parser.body:
                return "wrong"
        return status


class Connection:
    """A place for one request in flight, and its socket while there is one."""

    __slots__ = ("_address", "_by_fd", "_epoll", "_mark", "busy", "call", "due", "parser", "rest", "sent", "socket")

    def __init__(self, address: Address, mark: str, epoll: select.epoll, by_fd: "dict[int, Connection]") -> None:
        """``mark`` is the header that the parser looks for; ``by_fd`` is kept true about the open sockets."""
        self._address = address
        self._mark = mark.encode()
        self._epoll = epoll
        self._by_fd = by_fd
        self.socket: socket.socket | None = None
        self.parser = http1.Parser(self._mark)
        self.busy = False
        self.call: Call
        self.due = 0
        self.sent = 0
        self.rest: memoryview | None = None
        """What of the request could not be sent yet."""

    def is_left(self, now: int) -> bool:
        """Return whether its caller has waited for as long as it does."""
        return self.busy and self.call.leave is not None and now >= self.sent + self.call.leave

    def open(self, *, blocking: bool) -> None:
        """Connect, or begin to; raise OSError where that fails at once."""
        family, kind, protocol, _, address = self._address
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(blocking)
            with contextlib.suppress(BlockingIOError):
                opened.connect(address)
        except OSError:
            opened.close()
            raise
        opened.setblocking(False)
        self.socket = opened
        self.parser = http1.Parser(self._mark)
        self._by_fd[opened.fileno()] = self
        self._epoll.register(opened, READS if blocking else WRITES)

    def close(self) -> None:
        """Close the socket, if there is one."""
        self.rest = None
        if self.socket is not None:
            del self._by_fd[self.socket.fileno()]
            self.socket.close()
            self.socket = None
