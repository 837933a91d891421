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
import functools
import re
from collections.abc import Sequence

from runtime.pool import report

EVENT_LIMIT = 256 * 1024
"""Bytes of a function's output that become one event. CloudWatch Logs takes 1 MB since 2025, and took 256 KB before;
an output without line breaks is cut here, because so much is held in memory for every worker."""

_ESCAPE = "\u241b"
_NAMES = {"\n": "n", "\r": "r", _ESCAPE: _ESCAPE} | {
    chr(code): f"x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\r"
}
"""What stands after the escape, by hidden character."""
_HIDDEN = {name: character for character, name in _NAMES.items()}
_ESCAPED = re.compile(f"{_ESCAPE}(r|n|{_ESCAPE}|x[0-9a-f]{{2}})")

# The same in UTF-8.
_CODES = {character.encode(): (_ESCAPE + name).encode() for character, name in _NAMES.items()}
_ESCAPE_CODE, _BREAK_CODE = _CODES[_ESCAPE.encode()], _CODES[b"\n"]
_PAIRS = [character for character in _CODES if len(character) == len("\x80".encode())]
_PAIR_START = _PAIRS[0][:1]
_VISIBLE = bytes(byte for byte in range(256) if byte == ord("\n") or bytes((byte,)) not in _CODES)

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


def function_lines(now: float, stream: str, block: bytes) -> bytes:
    """Return the lines for events of a function, of one time and stream; in ``block`` each ends in a line break.

    ``now`` is Unix time; what is not UTF-8 becomes U+FFFD. Works on the block as a whole, because it runs in a thread
    beside the event loop: a step of Python for each line of a flood would keep the loop from its turn.
    """
    return _lines(_head(int(now * 1000), stream, b"F"), block)


def platform_lines(now: float, stream: str, block: bytes) -> bytes:
    """Return the lines for events of the platform's; in ``block`` each ends in a line break."""
    return _lines(_head(int(now * 1000), stream, b"P"), block)


def platform_runs(chunks: Sequence[tuple[float, str, bytes]]) -> list[bytes]:
    """Return ``platform_lines`` of each chunk: its time, stream and block.

    Whether there is anything to escape is asked once for all of them, which is half of the work.
    """
    if not _is_clean(b"".join([block for _, _, block in chunks])):
        return [platform_lines(*chunk) for chunk in chunks]
    written = []
    for now, stream, block in chunks:
        head = _head(int(now * 1000), stream, b"P")
        written.append(head + block[:-1].replace(b"\n", b"\n" + head) + b"\n")
    return written


def platform_event(now: float, stream: str, message: bytes) -> bytes:
    """Return the line for one event of the platform's."""
    return _head(int(now * 1000), stream, b"P") + escape(message.rstrip(b"\n")).replace(b"\n", _BREAK_CODE) + b"\n"


def _lines(head: bytes, block: bytes) -> bytes:
    return head + escape(block)[:-1].replace(b"\n", b"\n" + head) + b"\n"


def _head(now_ms: int, stream: str, mark: bytes) -> bytes:
    return b"%b.%03dZ\t%b\t%b\t" % (_second(now_ms // 1000), now_ms % 1000, _name(stream), mark)


@functools.lru_cache(maxsize=16)
def _second(now: int) -> bytes:
    return report.timestamp(now).partition(".")[0].encode()


@functools.lru_cache(maxsize=512)
def _name(stream: str) -> bytes:
    return escape(stream.encode().translate(None, b"\t\n"))


def _is_clean(text: bytes) -> bool:
    return text.isascii() and not text.translate(None, _VISIBLE)


def escape(text: bytes) -> bytes:
    """Return UTF-8 text without control characters, but for tabs and line breaks."""
    if _is_clean(text):
        return text  # as nearly all text is
    try:
        text.decode()
    except UnicodeDecodeError:
        text = text.decode(errors="replace").encode()
    text = text.replace(_ESCAPE.encode(), _ESCAPE_CODE)
    for byte in set(text.translate(None, _VISIBLE)):
        character = bytes((byte,))
        text = text.replace(character, _CODES[character])
    if _PAIR_START in text:
        for character in _PAIRS:
            text = text.replace(character, _CODES[character])
    return text


def unescape(text: str) -> str:
    """Return the text that was escaped."""
    return _ESCAPED.sub(lambda match: _HIDDEN[match.group(1)], text) if _ESCAPE in text else text


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
    """Cuts one stream's output at line breaks; holds at most ``EVENT_LIMIT`` bytes of a line."""

    __slots__ = ("_held", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of a line that has not ended."""
        return self._held

    def feed(self, data: bytes) -> bytes:
        """Return the lines that ``data`` completes, each with its line break."""
        end = data.rfind(b"\n") + 1
        block = b""
        if end:
            block = b"".join([*self._parts, data[:end]])
            self._parts, self._held = [], 0
            if len(block) > EVENT_LIMIT:
                block = b"".join(_cut(line) + b"\n" for line in block[:-1].split(b"\n"))
            data = data[end:]
        if data:
            self._parts.append(data)
            self._held += len(data)
        if self._held > EVENT_LIMIT or len(self._parts) > _PARTS_LIMIT:
            done, last = _cut(b"".join(self._parts)).rpartition(b"\n")[::2]
            self._parts, self._held = [last], len(last)
            block += done + b"\n" if done else b""
        return block

    def flush(self) -> bytes:
        """Return the line that has not ended, if there is one, with a line break."""
        line = b"".join(self._parts)
        self._parts, self._held = [], 0
        return _cut(line) + b"\n" if line else b""


def _cut(line: bytes) -> bytes:
    """Return a line with line breaks put in, so that every part of it fits into an event."""
    parts = []
    while len(line) > EVENT_LIMIT:
        end = _whole_characters(line, EVENT_LIMIT)
        parts.append(line[:end])
        line = line[end:]
    return b"\n".join([*parts, line])


def _whole_characters(data: bytes, limit: int) -> int:
    """Return the end of the last UTF-8 character that ends within ``limit``; ``data`` is longer than that."""
    for back in range(_CHARACTER_LIMIT):
        if data[limit - back] & _CONTINUATION_MASK != _CONTINUATION:
            return limit - back
    return limit
