"""The server's own pages: health, metrics, and functions' logs for the command line."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from runtime import errors
from runtime.api import front

LOG_LIMIT = 10_000
"""Events in one reply."""
WAIT_LIMIT_S = 60.0


class Event(Protocol):
    """A log event."""

    @property
    def timestamp_ms(self) -> int:
        """Unix time in milliseconds."""

    @property
    def stream(self) -> str:
        """The log stream's name."""

    @property
    def message(self) -> str:
        """Its text."""

    @property
    def platform(self) -> bool:
        """Whether the platform wrote it, not the function."""


class LogPage(Protocol):
    """Some log events, and where the next ones begin."""

    @property
    def events(self) -> Sequence[Event]:
        """In the order in which they were written."""

    @property
    def cursor(self) -> str:
        """Where the next page begins."""

    @property
    def at_end(self) -> bool:
        """Whether there was nothing more to read."""


class Logs(Protocol):
    """Reads functions' logs."""

    async def read(self, group: str, after: str | None = None, limit: int = 1000) -> LogPage:
        """Return events after a cursor (None: from the oldest); raise ValueError where it is no cursor."""

    async def wait(self, group: str, cursor: str) -> None:
        """Return once something was written after a cursor."""


class Pages:
    """Answers what is not AWS's."""

    def __init__(
        self,
        logs: Logs,
        group_of: Callable[[str], str],
        exposition: Callable[[str], Awaitable[tuple[str, bytes]]],
        status: Callable[[], Mapping[str, Any]],
        starts: Callable[[str, str | None], Mapping[str, str]],
    ) -> None:
        """``group_of`` gives a function's log group; ``status`` what /readyz says, with its "ready".

        ``starts`` says how workers of a function and qualifier are started.
        """
        self._logs = logs
        self._group_of = group_of
        self._exposition = exposition
        self._status = status
        self._starts = starts

    def by_path(self) -> dict[str, front.Page]:
        """Return the pages."""
        return {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/_hotfork/logs/": self._log_events,
            "/_hotfork/starts/": self._explain_starts,
        }

    async def _healthz(self, _rest: str, _query: Mapping[str, str], _accept: str) -> front.Reply:
        return front.as_json({"status": "alive"})

    async def _readyz(self, _rest: str, _query: Mapping[str, str], _accept: str) -> front.Reply:
        status = self._status()
        return front.as_json(status, 200 if status["ready"] else 503)

    async def _metrics(self, _rest: str, _query: Mapping[str, str], accept: str) -> front.Reply:
        content_type, body = await self._exposition(accept)
        return 200, [("Content-Type", content_type)], body

    async def _explain_starts(self, function: str, _query: Mapping[str, str], _accept: str) -> front.Reply:
        name, _, qualifier = function.partition(":")
        return front.as_json(self._starts(name, qualifier or None))

    async def _log_events(self, function: str, query: Mapping[str, str], _accept: str) -> front.Reply:
        """Return events after ``after``, at most ``limit``; wait up to ``wait`` seconds where there are none."""
        group = self._group_of(function)
        after = query.get("after") or None
        try:
            limit = min(int(query.get("limit", "1000")), LOG_LIMIT)
            wait_s = min(float(query.get("wait", "0")), WAIT_LIMIT_S)
            page = await self._logs.read(group, after, limit)
            if page.at_end and not page.events and wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._logs.wait(group, page.cursor)
                page = await self._logs.read(group, page.cursor, limit)
        except ValueError as error:
            raise errors.InvalidParameterValue(f"after, limit or wait is not valid: {error}") from None
        events = [
            {
                "timestamp": event.timestamp_ms,
                "stream": event.stream,
                "message": event.message,
                "platform": event.platform,
            }
            for event in page.events
        ]
        return front.as_json({"events": events, "cursor": page.cursor, "at_end": page.at_end})
