"""How changes are written: many at once, each statement for all of them.

A statement lets go of the interpreter's lock and has to get it back from the event loop, which takes as long as the
statement. So a batch takes a handful of statements however many changes it holds, and a single one, which is a
transaction by itself, where all that is asked is to put rows or to drop them.
"""

import itertools
import json
import sqlite3
from collections.abc import Iterable, Sequence

from runtime.invoke.queue import rows

_MARKS = "(" + ", ".join("?" for _ in rows.Row._fields) + ")"
_NOTHING = (None,) * len(rows.Row._fields)
_INSERTS = {
    count: f"INSERT INTO items SELECT * FROM (VALUES {', '.join([_MARKS] * count)}) WHERE column1 IS NOT NULL"  # noqa: S608 - nothing of it is given
    for count in (1, 2, 4, 8, 16, 32, 64, 128, 256)
}
"""By how many rows they take, of which some may be empty: few, so that SQLite's translations of them are kept."""
_MOST = max(_INSERTS)
_DROP = "DELETE FROM items WHERE id IN (SELECT value FROM json_each(?))"
_MOVE = "UPDATE items SET due = ?, tries = ?, about = ? WHERE id = ?"
_BURY = "INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_UNBURY = "DELETE FROM letters WHERE id IN (SELECT value FROM json_each(?))"
_OLDEST = "SELECT id, size FROM letters ORDER BY id LIMIT 100"


class Grave:
    """How many letters there are, and how much they hold; the oldest go when it is too much."""

    def __init__(self, connection: sqlite3.Connection, *, letters: int, size: int) -> None:
        """``letters`` and ``size`` (bytes of payload) are the most there may be."""
        self._limits = letters, size
        query = "SELECT count(*), coalesce(sum(size), 0) FROM letters"
        self.letters: int
        self.size: int
        self.letters, self.size = connection.execute(query).fetchone()

    def make_room(self, connection: sqlite3.Connection, letters: int, size: int) -> tuple[int, int, int]:
        """Remove the oldest until there is room for more; return the new count and size, and how many went.

        Takes effect when ``settle`` is called with it: the transaction may yet fail.
        """
        count, total, gone = self.letters + letters, self.size + size, 0
        while count > self._limits[0] or total > self._limits[1]:
            oldest = connection.execute(_OLDEST).fetchall()
            if not oldest:
                break
            ids = []
            for number, bytes_ in oldest:
                if count <= self._limits[0] and total <= self._limits[1]:
                    break
                ids.append(number)
                count, total, gone = count - 1, total - bytes_, gone + 1
            connection.execute(_UNBURY, (json.dumps(ids),))
        return count, total, gone

    def settle(self, count: int, size: int) -> None:
        """Take over what ``make_room`` found, now that it is written."""
        self.letters, self.size = count, size


def write(connection: sqlite3.Connection, changes: Sequence[rows.Change], grave: Grave) -> int:
    """Write changes in one transaction; return how many letters went for want of room. Raises sqlite3.Error."""
    put = [row for change in changes for row in change.put]
    dropped = [number for change in changes for number in change.drop]
    more = any(each.move or each.bury or each.unbury for each in changes)
    if not more and len(put) <= _MOST and not (put and dropped):
        _put(connection, put)
        _drop(connection, dropped)
        return 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        _put(connection, put)
        _drop(connection, dropped)
        moved = [move for change in changes for move in change.move]
        if moved:
            connection.executemany(_MOVE, moved)
        count, size, gone = _letters(connection, changes, grave)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    grave.settle(count, size)
    return gone


def _drop(connection: sqlite3.Connection, dropped: Sequence[int]) -> None:
    if dropped:
        connection.execute(_DROP, (json.dumps(dropped),))


def _put(connection: sqlite3.Connection, put: Sequence[rows.Row]) -> None:
    for start in range(0, len(put), _MOST):
        part = put[start : start + _MOST]
        count = next(count for count in _INSERTS if count >= len(part))
        values = (*itertools.chain.from_iterable(part), *_NOTHING * (count - len(part)))
        connection.execute(_INSERTS[count], values)


def _letters(connection: sqlite3.Connection, changes: Iterable[rows.Change], grave: Grave) -> tuple[int, int, int]:
    buried = [letter for change in changes for letter in change.bury]
    unburied = [number for change in changes for number in change.unbury]
    if not buried and not unburied:
        return grave.letters, grave.size, 0
    if buried:
        connection.executemany(_BURY, buried)
    count, size = len(buried), sum(letter.size for letter in buried)
    if unburied:
        chosen = json.dumps(unburied)
        query = "SELECT count(*), coalesce(sum(size), 0) FROM letters WHERE id IN (SELECT value FROM json_each(?))"
        gone, gone_size = connection.execute(query, (chosen,)).fetchone()
        connection.execute(_UNBURY, (chosen,))
        count, size = count - gone, size - gone_size
    return grave.make_room(connection, count, size)
