"""One HTTP request and its one response, and the limits they are held to.

An Exchange is what the application sees. It puts the response into bytes and gives them to its Channel (the
connection), which keeps answers in the order of their requests. Nothing here reads, waits or knows of Lambda.
"""

import dataclasses
import enum
import json
from collections.abc import Callable
from typing import TypeAlias

from runtime.api import heads

Headers: TypeAlias = heads.Headers
Body: TypeAlias = bytes | bytearray | memoryview
Application: TypeAlias = Callable[["Exchange"], None]
Refusal: TypeAlias = Callable[[int, str, str, str], tuple[Headers, bytes]]
"""Makes the headers and the body of an answer that the server gives by itself, from status, message, method and
path; the last two are empty where the request broke off before them."""

JOINED_WRITE = 64 * 1024
"""Bytes of a body up to which it is copied behind its head, to be written at once."""


class Refused(Exception):
    """A request that the server answers by itself, closing the connection after it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, and all of them, may ask for."""

    header_bytes: int = 64 * 1024
    """Names and values, 4 bytes more for each; over it 431."""
    target_bytes: int = 16 * 1024
    """The request line's path and query; over it 414."""
    body_bytes: int = 70_167_211
    """Over it 413. The default is what AWS Lambda's CreateFunction takes."""
    body_limit: Callable[[str, str], int] | None = None
    """From method and path, the limit of this one request; asked only about bodies of more than 64 KiB."""
    bytes_in_flight: int = 1 << 30
    """Bodies of more than 64 KiB, as announced, of all open exchanges together; over it 503."""
    unfinished_bytes: int = 192 << 20
    """Those of them that are still coming in; over it a request waits, and after ``body_timeout_s`` gets 503."""
    header_timeout_s: float = 15.0
    """From a request's first bytes to the end of its headers; over it 408."""
    body_timeout_s: float = 30.0
    """For a body, and one second more for each ``body_rate`` bytes that came; over it 408."""
    body_rate: int = 8192
    hurried_timeout_s: float = 5.0
    """The same while another body waits for room."""
    hurried_rate: int = 8 << 20
    idle_timeout_s: float = 75.0
    """How long a connection is kept between requests."""
    send_timeout_s: float = 60.0
    """How long a client may read nothing of an answer that is waiting for it."""
    linger_s: float = 30.0
    """How long the rest of a refused request is read and dropped, so that its client gets to see the answer."""
    connections: int = 8192
    """Open at once; one more gets 503."""
    pipelined: int = 16
    """Requests of one connection that are with the application; then reading pauses."""


def plain_refusal(_status: int, message: str, _method: str, _path: str) -> tuple[Headers, bytes]:
    """Return a JSON document with the message."""
    return (("Content-Type", "application/json"),), json.dumps({"message": message}).encode()


class Channel:
    """What an Exchange needs of its connection."""

    __slots__ = ("dates", "draining", "peer")

    def __init__(self, dates: heads.Dates) -> None:
        self.dates = dates
        self.peer: str | None = None
        self.draining = False

    def send(self, exchange: "Exchange", data: Body, last: bool) -> None:
        """Write, or hold until it is the exchange's turn."""
        raise NotImplementedError

    def cut(self, exchange: "Exchange") -> None:
        """End the connection in the middle of the exchange's response, when it is its turn."""
        raise NotImplementedError

    def closes_after(self, exchange: "Exchange") -> bool:
        """Tell, while draining, whether this response is to be the connection's last."""
        raise NotImplementedError

    def may_write(self, exchange: "Exchange") -> bool:
        """Tell whether a write would go to the socket rather than into memory."""
        raise NotImplementedError


class _State(enum.Enum):
    OPEN = enum.auto()
    STREAMING = enum.auto()
    DONE = enum.auto()
    CUT = enum.auto()


_OPEN, _STREAMING, _DONE, _CUT = _State


class Exchange:
    """One request and its one response: either ``respond``, or ``start``, any ``write`` and ``finish``.

    They may be called inside the application or any time later, in the event loop's thread. Content-Length,
    Transfer-Encoding, Connection and Date are set here and are not for the application to send. Once
    ``disconnected`` is set, answering does nothing.
    """

    __slots__ = (
        "_channel",
        "_silent",
        "_state",
        "body",
        "chunked",
        "disconnected",
        "headers",
        "held",
        "http10",
        "keep_alive",
        "method",
        "on_disconnect",
        "on_drain",
        "path",
        "query",
        "reserved",
    )

    def __init__(
        self,
        channel: Channel,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        keep_alive: bool,
        http10: bool,
    ) -> None:
        self.method = method
        self.path = path
        """As it came, percent-encoded, without the query."""
        self.query = query
        """As it came, without the question mark."""
        self.headers = headers
        """Names in lower case; the values of a repeated one are joined by a comma and a space. Not to be changed: they
        may be those of the next request, too."""
        self.body: Body = b""
        self.disconnected = False
        """Whether the client left, or half-closed, before its response was complete."""
        self.on_disconnect: Callable[[], None] | None = None
        """Called once, when ``disconnected`` is set."""
        self.on_drain: Callable[[], None] | None = None
        """Called when ``writable`` turns true again."""
        # The rest is between the exchange and its connection.
        self.keep_alive = keep_alive
        self.held: list[Body] | None = None
        self.reserved = 0
        self.chunked = False
        self.http10 = http10
        self._channel = channel
        self._state = _OPEN
        self._silent = False

    @property
    def peer(self) -> str | None:
        """The client's IP address; None on a unix socket."""
        return self._channel.peer

    @property
    def done(self) -> bool:
        """Whether the response is complete."""
        return self._state is _DONE

    @property
    def untouched(self) -> bool:
        """Whether nothing of the response was given yet."""
        return self._state is _OPEN

    @property
    def is_cut(self) -> bool:
        """Whether the response was given up in the middle."""
        return self._state is _CUT

    @property
    def writable(self) -> bool:
        """Whether a streamed response should go on; if not, ``on_drain`` tells when."""
        return self._state is not _CUT and self._channel.may_write(self)

    def respond(self, status: int, headers: Headers, body: Body) -> None:
        """Give the whole response; raise ValueError on a header that cannot be sent, and then nothing is."""
        if self._state is not _OPEN:
            raise RuntimeError(f"{self.method} {self.path} has been answered")
        if self.disconnected:
            self._state = _DONE
            return
        channel = self._channel
        framing = "" if status in heads.BODILESS else f"Content-Length: {len(body)}\r\n"
        if self.http10 or not self.keep_alive or channel.draining:
            framing += self._connection_line()
        data = heads.head(status, headers, channel.dates.line(), framing)
        self._state = _DONE
        if self.method == "HEAD" or status in heads.BODILESS:
            channel.send(self, data, True)
        elif len(body) <= JOINED_WRITE:
            channel.send(self, data + body, True)
        else:
            channel.send(self, data, False)
            channel.send(self, body, True)

    def start(self, status: int, headers: Headers) -> None:
        """Begin a streamed response: chunked, or ended by the connection's end for HTTP/1.0."""
        if self._state is not _OPEN:
            raise RuntimeError(f"{self.method} {self.path} has been answered")
        if self.disconnected:
            self._state = _STREAMING
            return
        self._silent = self.method == "HEAD" or status in heads.BODILESS
        framing = ""
        if self.http10:
            self.keep_alive = False
        elif status not in heads.BODILESS:
            framing = "Transfer-Encoding: chunked\r\n"
            self.chunked = not self._silent
        if not self.keep_alive or self._channel.draining:
            framing += self._connection_line()
        data = heads.head(status, headers, self._channel.dates.line(), framing)
        self._state = _STREAMING
        self._channel.send(self, data, False)

    def write(self, chunk: bytes) -> None:
        """Add to a streamed response. It is sent or kept: ask ``writable`` in order not to fill the memory."""
        if self._state is _CUT:
            return
        if self._state is not _STREAMING:
            raise RuntimeError(f"{self.method} {self.path} is not being streamed")
        if chunk and not self._silent and not self.disconnected:
            data = b"%x\r\n%b\r\n" % (len(chunk), chunk) if self.chunked else chunk
            self._channel.send(self, data, False)

    def finish(self) -> None:
        """End a streamed response."""
        if self._state is _CUT:
            return
        if self._state is not _STREAMING:
            raise RuntimeError(f"{self.method} {self.path} is not being streamed")
        self._state = _DONE
        if not self.disconnected:
            self._channel.send(self, b"0\r\n\r\n" if self.chunked else b"", True)

    def abort(self) -> None:
        """Give up in the middle: the connection ends in a way that the client cannot take for a whole response."""
        if self._state in (_DONE, _CUT):
            return
        self._state = _CUT
        if not self.disconnected:
            self._channel.cut(self)

    def _connection_line(self) -> str:
        if self._channel.draining and self._channel.closes_after(self):
            self.keep_alive = False
        if not self.keep_alive:
            return "Connection: close\r\n"
        return "Connection: keep-alive\r\n" if self.http10 else ""
