"""How rows come back from the file: what each lane holds, and the next ones of a lane. Runs on the writer's thread."""

import json
import sqlite3
from collections.abc import Collection

from runtime.invoke.queue import rows

_BACKLOGS = "SELECT lane, count(*), sum(size), min(due) FROM items GROUP BY lane"
_LAST = "SELECT max(coalesce((SELECT max(id) FROM items), 0), coalesce((SELECT max(id) FROM letters), 0))"
_DUE = "SELECT id, size FROM items WHERE lane = ? AND due <= ? ORDER BY due LIMIT ?"
_NEXT = "SELECT min(due) FROM items WHERE lane = ? AND due > ?"
_ROWS = "SELECT * FROM items WHERE id IN (SELECT value FROM json_each(?))"


def backlogs(connection: sqlite3.Connection) -> list[rows.Backlog]:
    """Return what every lane holds that holds anything; one pass over an index."""
    return [rows.Backlog(*found) for found in connection.execute(_BACKLOGS)]


def last_id(connection: sqlite3.Connection) -> int:
    """Return the highest id of all rows and letters, 0 where there are none."""
    last: int = connection.execute(_LAST).fetchone()[0]
    return last


def due_rows(
    connection: sqlite3.Connection, lane: str, now: float, known: Collection[int], *, limit: int, size: int
) -> rows.Loaded:
    """Return up to ``limit`` rows of a lane, but for the ``known``, of about ``size`` bytes; at least one if any."""
    chosen: list[int] = []
    taken, more = 0, False
    for number, bytes_ in connection.execute(_DUE, (lane, now, limit + len(known) + 1)):
        if number in known:
            continue
        if len(chosen) == limit or (chosen and taken + bytes_ > size):
            more = True
            break
        chosen.append(number)
        taken += bytes_
    found = {row[0]: rows.Row(*row) for row in connection.execute(_ROWS, (json.dumps(chosen),))}
    next_due = connection.execute(_NEXT, (lane, now)).fetchone()[0]
    return rows.Loaded(lane=lane, rows=[found[number] for number in chosen], more=more, next_due=next_due)
