"""Puts response heads into bytes. Pure, but for the clock that is passed in."""

import email.utils
import http
from collections.abc import Callable, Sequence
from typing import TypeAlias

Headers: TypeAlias = Sequence[tuple[str, str]]


class Dates:
    """The Date header, made once a second (RFC 9110, 6.6.1)."""

    __slots__ = ("_line", "_now", "_second")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = -1
        self._line = ""

    def line(self) -> str:
        """Return the whole header line."""
        second = int(self._now())
        if second != self._second:
            self._second = second
            self._line = f"Date: {email.utils.formatdate(second, usegmt=True)}\r\n"
        return self._line


class _StatusLines(dict[int, str]):
    def __missing__(self, status: int) -> str:
        if not 200 <= status <= 999:  # noqa: PLR2004 - interim answers are the server's own business
            raise ValueError(f"{status} is no status of a final response")
        return f"HTTP/1.1 {status} \r\n"


_STATUS_LINES = _StatusLines({status: f"HTTP/1.1 {status} {status.phrase}\r\n" for status in http.HTTPStatus})
for _interim in [status for status in _STATUS_LINES if status < 200]:  # noqa: PLR2004
    del _STATUS_LINES[_interim]
BODILESS = frozenset((204, 304))
"""Statuses whose responses end with their head, and say no length."""


def head(status: int, headers: Headers, date: str, framing: str) -> bytes:
    """Return a response's head; raise ValueError where a header would break out of its line or off Latin-1."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    count = len(headers)
    if lines.count("\n") != count or lines.count("\r") != count or "\0" in lines:
        raise ValueError("a response header holds a line break or a NUL")
    return f"{_STATUS_LINES[status]}{date}{lines}{framing}\r\n".encode("latin-1")
