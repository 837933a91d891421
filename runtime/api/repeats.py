"""Knows a request's head again that stands, byte for byte, as that of the one before it on the same connection. Pure.

Clients that keep a connection and do not sign send the same head with each request of one kind. The same bytes say the
same, so what they said is taken from memory, which costs a tenth of parsing them. Whoever signs never repeats a head
(its date is in it): of those nothing is kept.
"""

from runtime.api import http

_END = b"\r\n\r\n"
_METHOD = "POST"
_START = b"POST "
_NEVER = frozenset(("authorization", "expect", "transfer-encoding", "upgrade"))
"""Headers of requests that are not repeated as a whole, or that say more than the request."""


class Head:
    """A head, and what it said."""

    __slots__ = ("_headers", "_length", "_octets", "_path", "_query", "_size")

    def __init__(self, octets: bytes, exchange: http.Exchange) -> None:
        """``exchange`` came of these ``octets``."""
        self._octets = octets
        self._length = len(octets)
        self._size = len(octets) + len(exchange.body)
        self._path, self._query, self._headers = exchange.path, exchange.query, exchange.headers

    def again(self, channel: http.Channel, data: memoryview) -> http.Exchange | None:
        """Return the exchange of ``data`` where that is one request with this head, and nothing else; else None."""
        if len(data) != self._size:
            return None
        octets = bytes(data)  # whose comparison is a tenth of the price of a view's
        if not octets.startswith(self._octets):
            return None
        exchange = http.Exchange(channel, _METHOD, self._path, self._query, self._headers, True, False)
        exchange.body = octets[self._length :]
        return exchange


def remember(piece: memoryview, exchange: http.Exchange) -> Head | None:
    """Return the head of ``piece`` where that is a whole request, and nothing else; else None.

    The parser stood between two requests when it was given ``piece``, and the last request that it found in it is
    ``exchange``.
    """
    headers = exchange.headers
    if not exchange.keep_alive or exchange.method != _METHOD or not _NEVER.isdisjoint(headers):
        return None
    octets = bytes(piece)
    # The method stands at the start, so that no blank line can stand before it: the first one ends the head.
    end = octets.find(_END) + len(_END)
    if not octets.startswith(_START) or end + len(exchange.body) != len(octets) or exchange.http10:
        return None
    return Head(octets[:end], exchange)
