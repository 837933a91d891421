"""Reads log events from a group's files, page by page. Blocking.

A cursor is the name of a file and an offset in it. It outlives restarts and rotation: where its file is gone, reading
goes on with the oldest file that is younger.
"""

import dataclasses
import os
import re
import time
from pathlib import Path

from runtime.telemetry import folders, lines

BUDGET = 4 * 1024 * 1024
"""Bytes looked through for one page."""
_CHUNK = 256 * 1024
_YIELD = 100

_CURSOR = re.compile(r"(\d{1,16})-(\d{1,16})")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events in the order in which they were written."""

    events: list[lines.Event]
    """May be fewer than the limit, or none, before the end: a page looks through a bounded amount of log."""
    cursor: str
    """Where the next page begins."""
    at_end: bool
    """Whether there was nothing more to read."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events are wanted; times are Unix milliseconds, ``end_ms`` is excluded."""

    stream: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None

    def wants(self, event: lines.Event) -> bool:
        """Return whether an event is wanted."""
        return (
            (self.stream is None or event.stream == self.stream)
            and (self.start_ms is None or event.timestamp_ms >= self.start_ms)
            and (self.end_ms is None or event.timestamp_ms < self.end_ms)
        )


ANY = Filter()


def read(folder: Path, after: str | None, limit: int, wanted: Filter = ANY) -> Page:
    """Return up to ``limit`` events after a cursor (None: from the oldest); raise ValueError for no cursor of ours."""
    begun, offset = _place(after)
    events: list[lines.Event] = []
    budget = BUDGET
    known = folders.files(folder)
    for index, start in enumerate(known):
        if start < begun:
            continue
        if start > begun:
            begun, offset = start, 0
        if wanted.start_ms is not None and index + 1 < len(known) and known[index + 1] <= wanted.start_ms:
            continue  # all its events are older than the next file
        while data := _whole_lines(folder / folders.file_name(start), offset):
            used = _pick(data, limit, wanted, events)
            offset += used
            budget -= used
            if len(events) >= limit or budget <= 0:
                return Page(events=events, cursor=f"{begun}-{offset}", at_end=False)
    return Page(events=events, cursor=f"{begun}-{offset}", at_end=True)


def has_more(folder: Path, after: str) -> bool:
    """Return whether there is a whole line after a cursor."""
    begun, offset = _place(after)
    known = folders.files(folder)
    if not known or known[-1] != begun:
        return bool(known) and known[-1] > begun
    return bool(_whole_lines(folder / folders.file_name(begun), offset))


def _place(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ValueError(f"{cursor!r} is not a log cursor")
    return int(match.group(1)), int(match.group(2))


def _whole_lines(path: Path, offset: int) -> bytes:
    """Return the next lines of a file, at least one where there is one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        size = _CHUNK
        while True:
            data = os.pread(fd, size, offset)
            end = data.rfind(b"\n") + 1
            if end or len(data) < size:
                return data[:end]
            size *= 4
    finally:
        os.close(fd)


def _pick(data: bytes, limit: int, wanted: Filter, events: list[lines.Event]) -> int:
    """Add the wanted events, up to the limit; return the bytes looked through."""
    place = looked = 0
    while place < len(data) and len(events) < limit:
        end = data.index(b"\n", place)
        event = lines.parse(data[place:end])
        if event is not None and wanted.wants(event):
            events.append(event)
        place = end + 1
        looked += 1
        if looked % _YIELD == 0:
            time.sleep(0)  # gives the event loop its turn at the interpreter
    return place
