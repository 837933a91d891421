"""Reads requests off a byte stream: bytes in, Exchanges out, no I/O. httptools (llhttp) does the parsing.

Three things that a parser alone does not give are done here:

- Input is fed to it in slices, and between two slices ``stalled`` is looked at. httptools cannot be stopped in
  the middle, so this bounds how many pipelined requests one read turns into objects.
- A body with a Content-Length that is not all there when its headers are is not parsed at all: it is read
  straight into one buffer (``body``), and a new parser takes over behind it.
- What llhttp passes on or keeps without bound is refused: see ``on_headers_complete`` and ``_look_at_the_rest``.

llhttp is left strict, so that of the ways to smuggle a request it refuses: bare LF, folded headers, blanks before
a colon, repeated or odd Content-Length, Content-Length beside Transfer-Encoding, data after ``close``.
"""

import enum
import logging
import re

import httptools

from runtime.api import body, heads, http, repeats

SLICE = 4096
"""Bytes that are parsed at a time."""

_REPEATS = 100
"""Repeated headers in one request; joining them is quadratic."""

_METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")}
_ONCE = frozenset(("host", "content-length"))
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]+)(.*)")
_MALFORMED = "The request is malformed."

log = logging.getLogger(__name__)


class _Names(dict[bytes, str]):
    """Header names as text, remembered: decoding and lowering each anew would cost a fifth of a request."""

    def __missing__(self, raw: bytes) -> str:
        name = raw.decode("latin-1").lower()
        if len(self) < 1024 and len(raw) <= 64:  # noqa: PLR2004 - names come from outside, so both are bounded
            self[raw] = name
        return name


_NAMES = _Names()


class Phase(enum.Enum):
    """Where in a request the input stands."""

    BETWEEN = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()


_BETWEEN, _HEAD, _BODY = Phase


class Reader(http.Channel):
    """The reading half of a connection. Its subclass says what becomes of a request (``accept``, ``refuse``)."""

    __slots__ = (
        "_body",
        "_budget",
        "_buffer",
        "_counted",
        "_fed",
        "_headers",
        "_incoming",
        "_known",
        "_last",
        "_length",
        "_limit",
        "_limits",
        "_parse",
        "_parser",
        "_refused",
        "_repeats",
        "_room",
        "_upgrading",
        "_url",
        "expecting",
        "finished",
        "phase",
        "stalled",
        "timed",
        "unread",
        "waits_for_room",
    )

    def __init__(self, limits: http.Limits, budget: body.Budget, room: body.Room, dates: heads.Dates) -> None:
        super().__init__(dates)
        self._limits = limits
        self._budget = budget
        self._room = room
        self.waits_for_room = False
        """The body that is to come next finds no room yet; ``stalled`` is set."""
        self._counted = False
        """Whether the present body takes room, or waits for it."""
        self.finished = False
        """No further request will be taken: input is dropped."""
        self.unread = False
        """There may be more input, of a request that was refused before its end."""
        self.stalled = False
        """No input is taken for now."""
        self.expecting = False
        """The client may be waiting for "100 Continue"."""
        self.phase = self.timed = _BETWEEN
        """Where the input stands, and the phase of this request whose time is being counted."""
        self._refused: http.Refused | None = None
        self._body: http.Body = b""
        self._length = 0
        self._limit = 0
        self._buffer: body.Buffer | None = None
        self._known: repeats.Head | None = None
        """That of the request before; only while the parser stands right behind that."""
        self._last: http.Exchange | None = None
        """What the parser found last in the piece that it is given."""
        self._renew()
        self._reset()

    # What the subclass does.

    def accept(self, exchange: http.Exchange) -> None:
        """Take a complete request."""
        raise NotImplementedError

    def refuse(self, refused: http.Refused, exchange: http.Exchange | None) -> None:
        """Answer a bad request; ``finished`` is set."""
        raise NotImplementedError

    def hurry(self) -> None:
        """Hear that others wait for the room that the present body takes."""
        raise NotImplementedError

    # Input.

    def go_on(self) -> None:
        """Hear that there is room for the body that waited; the subclass takes input again."""
        self.waits_for_room = False
        if self._length > 0:
            self._begin_body()

    def feed(self, data: memoryview) -> int:
        """Take in bytes until they end or ``stalled`` is set; return how many were taken."""
        position, end = 0, len(data)
        if self._known is not None and not (self.stalled or self.finished):
            exchange = self._known.again(self, data)
            if exchange is not None:
                self.accept(exchange)
                return end
        while position < end and not self.stalled:
            if self.finished:
                return end
            if self._buffer is not None:
                room = self._buffer.room()
                count = min(len(room), end - position)
                room[:count] = data[position : position + count]
                room.release()
                position += count
                self.filled(count)
                continue
            piece = data if end <= SLICE and not position else data[position : position + SLICE]
            position += self._feed_parser(piece)
            if self.phase is not _BETWEEN and not self.finished:
                self._look_at_the_rest()
        return position

    def filled(self, count: int) -> None:
        """Note that ``count`` bytes were put into the buffer's room."""
        buffer = self._buffer
        assert buffer is not None
        self.expecting = False
        if buffer.filled(count):
            self._body = buffer.data
            self._buffer = None
            self._leave_room()
            self._renew()
            self._complete()

    @property
    def body_bytes(self) -> int:
        """Bytes of the present request's body so far."""
        return len(self._body if self._buffer is None else self._buffer)

    def break_off(self, refused: http.Refused) -> None:
        """Refuse the request that is being read."""
        exchange = self._incoming
        self.finished = self.unread = True
        self._buffer = None
        self._leave_room()
        self._reset()
        self.refuse(refused, exchange)

    def forget(self) -> None:
        """Let go of the parser, which holds us, and of what came of a request that will not be completed."""
        self.finished = True
        if self._incoming is not None:
            self._budget.give_back(self._incoming)
        self._buffer = None
        self._leave_room()
        self._reset()
        del self._parser, self._parse

    # The parser's callbacks. What they raise comes out of feed_data as another error, so it is noted.

    def on_url(self, url: bytes) -> None:
        """Collect the request target, which may come in pieces."""
        self.phase = _HEAD
        self._url += url
        if len(self._url) > self._limits.target_bytes:
            self._refused = http.Refused(414, "The request target is too long.")
            raise self._refused

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; what comes behind a chunked body lands in a dictionary that nobody reads."""
        text = value.rstrip().decode("latin-1")
        key = _NAMES[name]
        headers = self._headers
        if key in headers:
            self._repeat(key, text)
        else:
            headers[key] = text

    def on_headers_complete(self) -> None:
        """Make the exchange, or refuse it."""
        if self.finished:
            return
        try:
            self._begin()
        except http.Refused as refused:
            self._refused = refused
            raise

    def on_body(self, data: bytes) -> None:
        """Collect a piece of body."""
        self.expecting = False
        got = self._body
        if not got:
            self._body = data
        elif isinstance(got, bytearray):
            got += data
        else:
            self._body = bytearray(got) + data
        if len(self._body) > self._limit:
            self._refused = http.Refused(413, "The request body is too large.")
            raise self._refused

    def on_message_complete(self) -> None:
        """Hand the request on."""
        if not (self.finished or self._upgrading):
            if self._counted:
                self._leave_room()
            self._last = self._incoming
            self._complete()

    # In parts.

    def _renew(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._parse = self._parser.feed_data

    def _reset(self) -> None:
        self.phase = self.timed = _BETWEEN
        self._incoming: http.Exchange | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = b""
        self._length = 0
        self.expecting = False
        self._upgrading = False
        self._repeats = 0
        # An upper bound of the raw bytes of this request: a slice may hold the end of the one before.
        self._fed = SLICE

    def _complete(self) -> None:
        exchange = self._incoming
        assert exchange is not None
        exchange.body = self._body
        self._reset()
        self.accept(exchange)

    def _feed_parser(self, piece: memoryview) -> int:
        size = len(piece)
        is_new = self.phase is _BETWEEN and self._fed == SLICE
        self._fed += size
        self._known = self._last = None
        try:
            self._parse(piece)
        except httptools.HttpParserUpgrade as upgrade:
            # The client offers another protocol, as Java's HttpClient does with HTTP/2. Not taking it up is to
            # answer as if it had not (RFC 9110, 7.8); but llhttp has left the body, if any, to us.
            self._renew()
            taken: int = upgrade.args[0]
            return taken
        except httptools.HttpParserError as error:
            if not self.finished:
                self.break_off(self._why(error))
        last, self._last = self._last, None
        if last is not None and is_new:
            self._known = repeats.remember(piece, last)
        return size

    def _why(self, error: Exception) -> http.Refused:
        if self._refused is not None:
            return self._refused
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("a request could not be taken in", exc_info=error.__context__)
            return http.Refused(500, "Internal server error")
        return http.Refused(400, _MALFORMED)

    def _repeat(self, key: str, text: str) -> None:
        self._repeats += 1
        if key in _ONCE:
            self._refused = http.Refused(400, f"The header {key} may not be repeated.")
        elif self._repeats > _REPEATS:
            self._refused = http.Refused(431, "Too many headers are repeated.")
        else:
            self._headers[key] = f"{self._headers[key]}, {text}"
            return
        raise self._refused

    def _begin(self) -> None:
        headers = self._headers
        parser = self._parser
        keep_alive = parser.should_keep_alive()
        # Unless we ask: of the versions that llhttp lets pass, none but 1.1 is kept alive without this header.
        http10 = (not keep_alive or "connection" in headers) and self._is_http10()
        if self._fed > self._limits.header_bytes:
            self._measure()
        target = self._url.decode("latin-1")
        method = _METHODS.get(parser.get_method())
        if method is None:
            raise http.Refused(501, "The method is not known.")
        if "host" not in headers and not http10:
            raise http.Refused(400, "The Host header is missing.")
        path, _, query = (target if target[0] == "/" else self._absolute(target)).partition("?")
        exchange = http.Exchange(self, method, path, query, headers, keep_alive, http10)
        self._incoming = exchange
        self.phase = _BODY
        if "content-length" in headers:
            self._announced(exchange, int(headers["content-length"]))
        elif "transfer-encoding" in headers:
            self._chunked(exchange, http10)
        if "expect" in headers and not http10:
            self._expect(headers["expect"])
        if parser.should_upgrade():
            self._upgrade()

    def _is_http10(self) -> bool:
        version = self._parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise http.Refused(505, "HTTP/1.0 and HTTP/1.1 are spoken here.")
        return version == "1.0"

    def _upgrade(self) -> None:
        if self._length < 0:
            raise http.Refused(501, "A chunked body cannot go with an upgrade.")
        self._upgrading = self._length > 0

    def _absolute(self, target: str) -> str:
        """Return the path and query of a target with a host, which then is the Host (RFC 9112, 3.2.2)."""
        if target == "*":
            return target
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise http.Refused(400, _MALFORMED)
        self._headers["host"] = match[1]
        return match[2] if match[2].startswith("/") else f"/{match[2]}"

    def _measure(self) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in self._headers.items())
        if size > self._limits.header_bytes:
            raise http.Refused(431, "The request headers are too large.")

    def _announced(self, exchange: http.Exchange, length: int) -> None:
        self._limit = self._limit_of(exchange) if length > body.SMALL_BODY else self._limits.body_bytes
        if length > self._limit:
            raise http.Refused(413, "The request body is too large.")
        self._length = length

    def _chunked(self, exchange: http.Exchange, http10: bool) -> None:
        if http10:
            raise http.Refused(400, "HTTP/1.0 has no Transfer-Encoding.")
        if exchange.headers["transfer-encoding"].lower() != "chunked":
            raise http.Refused(501, "The only Transfer-Encoding known here is chunked.")
        self._limit = self._limit_of(exchange)
        self._length = -1
        self._headers = {}

    def _limit_of(self, exchange: http.Exchange) -> int:
        limits = self._limits
        if limits.body_limit is None:
            return limits.body_bytes
        return min(limits.body_bytes, limits.body_limit(exchange.method, exchange.path))

    def _expect(self, value: str) -> None:
        if value.lower() != "100-continue":
            raise http.Refused(417, "The only expectation known here is 100-continue.")
        self.expecting = True  # until body comes, or the end of the request: it may have none

    def _look_at_the_rest(self) -> None:
        """Decide on a request that a slice left incomplete."""
        limits = self._limits
        if self.phase is _HEAD:
            # httptools keeps a header until it is complete, however long; _measure is exact, but comes later.
            if self._fed > limits.header_bytes + limits.target_bytes + 2 * SLICE:
                self.break_off(http.Refused(431, "The request headers are too large."))
        elif self._length > 0:
            if self._length <= body.SMALL_BODY or self._has_room(self._length):
                self._begin_body()
        else:
            self._look_at_chunks(len(self._body))

    def _look_at_chunks(self, size: int) -> None:
        exchange = self._incoming
        assert exchange is not None
        # Chunk extensions and trailers have no other limit. One byte a chunk takes five more.
        if self._fed - size > 2 * self._limits.header_bytes + 16 * size:
            self.break_off(http.Refused(400, _MALFORMED))
        elif size > body.SMALL_BODY:
            try:
                self._budget.take(exchange, size - exchange.reserved)
            except http.Refused as refused:
                self.break_off(refused)
                return
            if not self._counted:
                self._has_room(self._limit)

    def _begin_body(self) -> None:
        exchange = self._incoming
        assert exchange is not None
        if self._length > body.SMALL_BODY:
            try:
                self._budget.take(exchange, self._length)
            except http.Refused as refused:
                self.break_off(refused)
                return
        self._buffer = body.Buffer(self._length, bytes(self._body))
        self._body = b""

    def _has_room(self, size: int) -> bool:
        """Take room for the body that is coming in, or stall until there is some; return which."""
        self._counted = True
        if self._room.take(self, size):
            return True
        self.waits_for_room = self.stalled = True
        return False

    def _leave_room(self) -> None:
        if self._counted:
            self._counted = self.waits_for_room = False
            self._room.give_back(self)
