"""The server's own pages on asynchronous events, for the command line: what waits, and the dead letters."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from runtime import errors
from runtime.api import front
from runtime.invoke import dead_letters, endings, events
from runtime.invoke.queue import letters

ROOT = "/_hotfork/events"
LIMIT = 1000
"""Letters in one reply."""
HIGHEST = (1 << 63) - 1
"""Number of a row in SQLite."""


class EventPages:
    """Answers about events."""

    def __init__(self, queued: events.Events, kept: dead_letters.DeadLetters) -> None:
        self._events = queued
        self._letters = kept

    def by_path(self) -> dict[str, front.Page]:
        """Return the pages."""
        return {f"{ROOT}/queue": self._queue, f"{ROOT}/letters": self._list, f"{ROOT}/letters/": self._show}

    def actions(self) -> dict[str, front.Action]:
        """Return the actions."""
        return {f"{ROOT}/redrive": self._redrive, f"{ROOT}/purge": self._purge}

    async def _queue(self, _rest: str, _query: Mapping[str, str], _accept: str) -> front.Reply:
        return front.as_json({"queues": self._events.backlogs(), "letters": self._events.letters})

    async def _list(self, _rest: str, query: Mapping[str, str], _accept: str) -> front.Reply:
        """Return letters, newest first, those before an id; and how many there are in all."""
        wanted = _filter({**query, "until": int(query["before"]) - 1} if query.get("before") else query)
        limit = min(_number(query, "limit", 100), LIMIT)
        found = await self._letters.newest(wanted, limit) if limit else []
        count, newest = await self._letters.count(wanted)
        shown = [{**one._asdict(), "ended": _time(one.ended)} for one in found]
        return front.as_json({"letters": shown, "count": count, "newest": newest})

    async def _show(self, number: str, _query: Mapping[str, str], _accept: str) -> front.Reply:
        found = await self._letters.get(_number({"id": number}, "id", 0))
        return front.as_json(document(found.letter.id, found.ending, found.letter.body))

    async def _redrive(self, body: bytes) -> front.Reply:
        """Run the oldest letters again, at most ``limit``; return which."""
        given = _document(body)
        return front.as_json({"redriven": await self._letters.redrive(_filter(given), _number(given, "limit", 100))})

    async def _purge(self, body: bytes) -> front.Reply:
        return front.as_json({"purged": await self._letters.purge(_filter(_document(body)))})


def document(number: int, ending: endings.Ending, payload: bytes) -> dict[str, Any]:
    """Return a letter as it is shown."""
    return {
        "id": number,
        "function": ending.function,
        "functionArn": ending.function_arn,
        "requestId": ending.about.request_id,
        "condition": ending.condition.value,
        "errorType": ending.error_type,
        "errorMessage": ending.error_message,
        "accepted": _time(ending.accepted),
        "ended": _time(ending.ended),
        "approximateInvokeCount": ending.invoke_count,
        "tries": [
            {
                "at": _time(one.at),
                "durationSeconds": round(one.duration_s, 6),
                "errorType": one.error_type,
                "errorMessage": one.message,
            }
            for one in ending.about.tries
        ],
        "executedVersion": ending.executed_version,
        "target": ending.target or None,
        "undelivered": ending.undelivered or None,
        "traceId": ending.about.trace_id,
        "payload": payload.decode(errors="replace"),
        "response": None if ending.response is None else ending.response.decode(errors="replace"),
        "log": ending.about.log_tail.decode(errors="replace"),
    }


def _filter(given: Mapping[str, Any]) -> letters.Filter:
    number = _number(given, "id", 0)
    if number:
        return letters.Filter(after=number - 1, until=number)
    return letters.Filter(
        function=_text(given, "function"),
        condition=_text(given, "condition"),
        error_type=_text(given, "error"),
        since=_number(given, "since", 0) or None,
        after=_number(given, "after", 0),
        until=_number(given, "until", 0) or None,
    )


def _number(given: Mapping[str, Any], key: str, default: int) -> int:
    try:
        number = int(given.get(key) or default)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number <= HIGHEST:
        raise errors.InvalidParameterValue(f"{key} is not a number: {given[key]!r}")
    return number


def _text(given: Mapping[str, Any], key: str) -> str | None:
    text = given.get(key) or None
    if not isinstance(text, str | None) or (text and "\ud800" <= max(text) <= "\udfff"):
        raise errors.InvalidParameterValue(f"{key} is not a text: {text!r}")
    return text


def _document(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise errors.InvalidParameterValue("The body must be a JSON object.")
    return given


def _time(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
