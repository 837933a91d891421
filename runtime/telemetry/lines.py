"""Log events, and how they stand in a file: one line each, fit for ``tail -f``, grep and cut. Pure.

    2026-11-21T19:00:00.123Z<TAB>2026/11/21/[$LATEST]0a1b...<TAB>F<TAB>the message

The third field tells who wrote the event: ``P`` the platform (START, END, REPORT ...), ``F`` the function. A function's
output cannot forge a platform line: its events begin where the output has a line break, each gets a line and an ``F``
of its own, and control characters (which could end a line, or move a terminal's cursor) are written as an escape:
U+241B and ``r``, ``n``, or ``x`` and two digits. Backslashes stay as they are, so a message of JSON is JSON in the
file. The carriage returns by which AWS's Python runtime joins a stack trace into one event survive that way.
"""

import dataclasses
import datetime as dt
import re

from runtime.pool import report

EVENT_LIMIT = 256 * 1024
"""Bytes of a function's output that become one event. CloudWatch Logs takes 1 MB since 2025, and took 256 KB before;
an output without line breaks is cut here, because so much is held in memory for every worker."""

_ESCAPE = "\u241b"
_HIDDEN = re.compile(f"[\x00-\x08\n-\x1f\x7f-\x9f{_ESCAPE}]")
_ESCAPED = re.compile(f"{_ESCAPE}(r|n|{_ESCAPE}|x[0-9a-f]{{2}})")
_SHORT = {"\r": f"{_ESCAPE}r", "\n": f"{_ESCAPE}n", _ESCAPE: _ESCAPE * 2}
_LONG = {"r": "\r", "n": "\n", _ESCAPE: _ESCAPE}
_FIELDS = 4
_CONTINUATION_MASK, _CONTINUATION = 0xC0, 0x80
_CHARACTER_LIMIT = 4
_PARTS_LIMIT = 64
"""Above it the parts of a line are joined: a million parts of a byte would weigh more than the line."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a log."""

    timestamp_ms: int
    """Unix time."""
    stream: str
    platform: bool
    """Whether the platform wrote it, and not the function."""
    message: str
    """Without the line break that ended it."""


def escape(text: str) -> str:
    """Return a text without control characters (tabs stay)."""
    return _HIDDEN.sub(_escaped, text) if _HIDDEN.search(text) else text


def unescape(text: str) -> str:
    """Return the text that was escaped."""
    return _ESCAPED.sub(_unescaped, text) if _ESCAPE in text else text


def head(now: float, stream: str, *, platform: bool) -> bytes:
    """Return what stands before the message in a line; the stream's name holds no tabs. ``now`` is Unix time."""
    return f"{report.timestamp(now)}\t{escape(stream)}\t{'P' if platform else 'F'}\t".encode()


def body(message: bytes) -> bytes:
    """Return the message as it stands in a line; what is not UTF-8 becomes U+FFFD."""
    return escape(message.decode(errors="replace")).encode()


def parse(line: bytes) -> Event | None:
    """Return the event in a line (without its line break), or None where it is none: cut off by a crash, or foreign."""
    fields = line.split(b"\t", _FIELDS - 1)
    if len(fields) != _FIELDS or fields[2] not in (b"P", b"F"):
        return None
    try:
        time = dt.datetime.fromisoformat(fields[0].decode("ascii"))
        return Event(
            timestamp_ms=round(time.timestamp() * 1000),
            stream=unescape(fields[1].decode()),
            platform=fields[2] == b"P",
            message=unescape(fields[3].decode()),
        )
    except ValueError:
        return None


class Splitter:
    """Cuts one stream's output into events at line breaks; holds at most ``EVENT_LIMIT`` bytes of a line."""

    __slots__ = ("_held", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of a line that has not ended."""
        return self._held

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that ``data`` completes."""
        first, *rest = data.split(b"\n")
        self._parts.append(first)
        self._held += len(first)
        events: list[bytes] = []
        for piece in rest:
            self._end(events)
            self._parts.append(piece)
            self._held = len(piece)
        if self._held > EVENT_LIMIT or len(self._parts) > _PARTS_LIMIT:
            line = _cut(b"".join(self._parts), events)
            self._parts, self._held = [line], len(line)
        return events

    def flush(self) -> list[bytes]:
        """Return the line that has not ended, if there is one, as an event."""
        events: list[bytes] = []
        if self._held:
            self._end(events)
        return events

    def _end(self, events: list[bytes]) -> None:
        events.append(_cut(b"".join(self._parts), events))
        self._parts.clear()
        self._held = 0


def _cut(line: bytes, events: list[bytes]) -> bytes:
    """Cut off a line's beginning, event by event, until what is left, and returned, fits into one."""
    while len(line) > EVENT_LIMIT:
        end = _whole_characters(line, EVENT_LIMIT)
        events.append(line[:end])
        line = line[end:]
    return line


def _whole_characters(data: bytes, limit: int) -> int:
    """Return the end of the last UTF-8 character that ends within ``limit``; ``data`` is longer than that."""
    for back in range(_CHARACTER_LIMIT):
        if data[limit - back] & _CONTINUATION_MASK != _CONTINUATION:
            return limit - back
    return limit


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return _SHORT.get(character) or f"{_ESCAPE}x{ord(character):02x}"


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    return _LONG.get(code) or chr(int(code[1:], 16))
