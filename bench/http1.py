"""The least of HTTP/1.1 that a load generator needs: prebuilt requests, and a parser for the responses. Pure.

The parser reads the status, the framing (Content-Length, chunked, or up to the end of the connection) and whether the
connection stays open; other headers only where asked. A response that came whole in one read is not copied.
"""

from collections.abc import Mapping

_END = b"\r\n\r\n"
_HEAD_LIMIT = 64 * 1024
_BODILESS = frozenset((b"204", b"304"))


class BadResponse(Exception):
    """What came is no HTTP/1.1 response."""


def request(host: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a request; ``host`` as it stands in the Host header."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: hotfork-bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in {"POST", "PUT"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Parser:
    """Reads one response after the other from a connection.

    ``feed`` returns True when a response is complete; ``status``, ``body``, ``marked`` and ``closing`` then describe
    it. Bytes beyond it are an error: nothing is pipelined.
    """

    __slots__ = ("_chunked", "_held", "_mark", "_missing", "body", "closing", "marked", "status")

    def __init__(self, mark: bytes = b"") -> None:
        """``mark`` is the name of a header whose presence sets ``marked``; b"" for none."""
        self._mark = b"\r\n" + mark.lower() + b":" if mark else b""
        self._held = bytearray()
        self._missing = -2
        """Bytes of the body still to come; -1: until the connection ends; -2: the head is not complete."""
        self._chunked: _Chunks | None = None
        self.status = b""
        self.body: bytes | bytearray = b""
        self.marked = False
        self.closing = False

    @property
    def missing(self) -> int:
        """Bytes of the body that are known to be still to come; 0 where that is not known."""
        return max(self._missing, 0)

    @property
    def idle(self) -> bool:
        """Whether nothing of a response has come."""
        return self._missing == -2 and not self._held  # noqa: PLR2004 - see __init__

    def feed(self, data: bytes) -> bool:
        """Take bytes; raise BadResponse where they are none of a response."""
        if self._missing == -2:  # noqa: PLR2004 - see __init__
            if self._held:
                data = bytes(self._held + data)
            end = data.find(_END)
            if end < 0:
                if len(data) > _HEAD_LIMIT:
                    raise BadResponse("a head without end")
                self._held = bytearray(data)
                return False
            length = self._read_head(data[: end + 2])
            body = data[end + 4 :]
            if length == len(body) and self._chunked is None:
                self._held = bytearray() if self._held else self._held
                self.body = body
                return True
            self._held = bytearray()
            self._missing = length
            data = body
        return self._take(data)

    def end(self) -> bool:
        """Hear that the connection ended; return whether that completed a response."""
        if self._missing == -1 and self._chunked is None:
            self.body, self._held, self._missing = self._held, bytearray(), -2
            self.closing = True
            return True
        return False

    def _take(self, data: bytes) -> bool:
        if self._chunked is not None:
            if not self._chunked.feed(data):
                return False
            self.body = self._chunked.body
        else:
            self._held += data
            if self._missing == -1:
                return False
            self._missing -= len(data)
            if self._missing < 0:
                raise BadResponse("more bytes than announced")
            if self._missing:
                return False
            self.body = self._held
        self._chunked, self._held, self._missing = None, bytearray(), -2
        return True

    def _read_head(self, head: bytes) -> int:
        """Return the length of the body, or -1 where it is not announced."""
        if not head.startswith(b"HTTP/1."):
            raise BadResponse(f"not HTTP: {head[:40]!r}")
        self.status = head[9:12]
        lower = head.lower()
        self.marked = bool(self._mark) and self._mark in lower
        self.closing = b"\r\nconnection: close\r\n" in lower or head.startswith(b"HTTP/1.0")
        if self.status in _BODILESS:
            return 0
        at = lower.find(b"\r\ncontent-length:")
        if at >= 0:
            try:
                return int(lower[at + 17 : lower.index(b"\r\n", at + 17)])
            except ValueError:
                raise BadResponse("a Content-Length that is no number") from None
        if b"\r\ntransfer-encoding: chunked\r\n" in lower:
            self._chunked = _Chunks()
        else:
            self.closing = True
        return -1


class _Chunks:
    """Takes a chunked body apart (RFC 9112, section 7.1)."""

    __slots__ = ("_held", "_missing", "_trailer", "body")

    def __init__(self) -> None:
        self._held = bytearray()
        self._missing = 0
        self._trailer = False
        self.body = bytearray()

    def feed(self, data: bytes) -> bool:
        held = self._held
        held += data
        while True:
            if self._missing:
                # The chunk and the line break behind it.
                if len(held) < self._missing:
                    return False
                self.body += held[: self._missing - 2]
                del held[: self._missing]
                self._missing = 0
            end = held.find(b"\r\n")
            if end < 0:
                return False
            line = bytes(held[:end])
            del held[: end + 2]
            if self._trailer:
                if not line:
                    if held:
                        raise BadResponse("bytes behind the last chunk")
                    return True
                continue
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise BadResponse(f"not a chunk's size: {line[:20]!r}") from None
            if size:
                self._missing = size + 2
            else:
                self._trailer = True
