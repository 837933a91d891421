"""How rows come back from the file: what each lane holds, and the next ones of a lane. Runs on the writer's thread."""

import json
import sqlite3
from collections.abc import Collection

from runtime.invoke.queue import rows

_LANES = """
    WITH RECURSIVE names (lane) AS (
        SELECT min(lane) FROM items
        UNION ALL SELECT (SELECT min(lane) FROM items WHERE lane > names.lane) FROM names WHERE lane IS NOT NULL
    )
    SELECT lane, (SELECT min(due) FROM items WHERE lane = names.lane) FROM names WHERE lane IS NOT NULL
"""
"""One look into the index for each lane, however many rows there are."""
_BACKLOGS = "SELECT lane, count(*), sum(size) FROM items GROUP BY lane"
_LAST = "SELECT max(coalesce((SELECT max(id) FROM items), 0), coalesce((SELECT max(id) FROM letters), 0))"
_DUE = "SELECT id, size FROM items WHERE lane = ? AND due <= ? ORDER BY due LIMIT ?"
_NEXT = "SELECT min(due) FROM items WHERE lane = ? AND due > ?"
_ROWS = "SELECT * FROM items WHERE id IN (SELECT value FROM json_each(?))"


def lanes(connection: sqlite3.Connection) -> list[tuple[str, float]]:
    """Return the lanes that hold anything, each with the time at which its first row is due; quick."""
    return connection.execute(_LANES).fetchall()


def backlogs(connection: sqlite3.Connection) -> list[rows.Backlog]:
    """Return how much every lane holds that holds anything; a pass over an index, a second for some million rows."""
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
