"""Reads letters from the queue's file, beside the writer: in WAL mode neither waits for the other. Blocking."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from runtime import model
from runtime.invoke.queue import rows

_SUMMARY = "id, function, ended, condition, error_type, size"


@model.frozen
class Filter:
    """Which letters are meant: those to which all of it applies."""

    function: str | None = None
    condition: str | None = None
    error_type: str | None = None
    since: float | None = None
    """Unix seconds; of the event's end."""
    after: int = 0
    """Only those with a higher id."""
    until: int | None = None
    """Only those with this id or a lower one."""

    def where(self) -> tuple[str, list[Any]]:
        """Return it as SQL."""
        parts, values = ["id > ?"], [self.after]
        wanted = {
            "function = ?": self.function,
            "condition = ?": self.condition,
            "error_type = ?": self.error_type,
            "ended >= ?": self.since,
            "id <= ?": self.until,
        }
        for part, value in wanted.items():
            if value is not None:
                parts.append(part)
                values.append(value)  # type: ignore[arg-type]
        return " AND ".join(parts), values


class Summary(NamedTuple):
    """A letter without what is in it."""

    id: int
    function: str
    ended: float
    condition: str
    error_type: str
    size: int


def newest(path: Path, wanted: Filter, limit: int) -> list[Summary]:
    """Return letters, newest first."""
    where, values = wanted.where()
    query = f"SELECT {_SUMMARY} FROM letters WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own words
    with _reading(path) as connection:
        return [Summary(*row) for row in connection.execute(query, (*values, limit))]


def count(path: Path, wanted: Filter) -> tuple[int, int]:
    """Return how many letters there are, and the highest id of them."""
    where, values = wanted.where()
    query = f"SELECT count(*), coalesce(max(id), 0) FROM letters WHERE {where}"  # noqa: S608 - our own words
    with _reading(path) as connection:
        found: tuple[int, int] = connection.execute(query, values).fetchone()
        return found


def ids(path: Path, wanted: Filter, limit: int) -> list[int]:
    """Return the ids of letters, oldest first."""
    where, values = wanted.where()
    query = f"SELECT id FROM letters WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608 - our own words
    with _reading(path) as connection:
        return [row[0] for row in connection.execute(query, (*values, limit))]


def oldest(path: Path, wanted: Filter, limit: int, size: int) -> list[rows.Letter]:
    """Return whole letters, oldest first, of about ``size`` bytes; at least one if there is any."""
    where, values = wanted.where()
    query = f"SELECT * FROM letters WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608 - our own words
    found: list[rows.Letter] = []
    with _reading(path) as connection:
        for row in connection.execute(query, (*values, limit)):
            letter = rows.Letter(*row)
            size -= letter.size
            if found and size < 0:
                break
            found.append(letter)
    return found


def one(path: Path, number: int) -> rows.Letter | None:
    """Return a letter by its id."""
    with _reading(path) as connection:
        row = connection.execute("SELECT * FROM letters WHERE id = ?", (number,)).fetchone()
        return None if row is None else rows.Letter(*row)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        yield connection
    finally:
        connection.close()
