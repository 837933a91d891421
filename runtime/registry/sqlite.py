"""The store on SQLite: write-ahead log, full synchrony, one writer thread that groups commits.

Reads happen on the caller's thread through a connection of their own: in WAL mode a reader never waits for the
writer (sqlite.org/wal.html). Writes are queued to one thread, which takes everything that waits into a single
transaction: the more callers wait, the more each fsync serves. A transaction that fails fails for all in it.

Crash safety is SQLite's: ``synchronous=FULL`` makes a commit durable before its future is done.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runtime import database
from runtime.registry import store

_MIGRATIONS = (
    """
    CREATE TABLE documents (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        part TEXT NOT NULL,
        body BLOB NOT NULL,
        code_bytes INTEGER NOT NULL,
        PRIMARY KEY (kind, name, part)
    ) STRICT;
    CREATE INDEX documents_by_kind ON documents (kind, code_bytes);
    CREATE TABLE refs (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        part TEXT NOT NULL,
        package TEXT NOT NULL,
        PRIMARY KEY (kind, name, part, package)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX refs_by_package ON refs (package);
    """,
)
_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL")
_GROUP = 256
"""Batches that one transaction takes at most, so that the first of them need not wait for ever."""
_PUT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM documents WHERE kind = ? AND name = ? AND part = ?"
_REFER = "INSERT OR IGNORE INTO refs VALUES (?, ?, ?, ?)"
_FORGET = "DELETE FROM refs WHERE kind = ? AND name = ? AND part = ?"


class _Batch(NamedTuple):
    writes: Sequence[store.Write]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class SqliteStore:
    """A Store in the SQLite file at ``path``; its folder must exist. Raises ConfigError where it is not ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = database.prepare(path, "the registry of functions", _PRAGMAS, _MIGRATIONS)
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._writer.start()

    def get(self, key: store.Key) -> bytes | None:
        """Return the body of the document under a key, or None."""
        query = "SELECT body FROM documents WHERE kind = ? AND name = ? AND part = ?"
        row = self._reader.execute(query, key).fetchone()
        return None if row is None else row[0]

    def scan(
        self, kind: str, name: str | None = None, *, after: store.Key | None = None, limit: int
    ) -> list[store.Row]:
        """Return up to ``limit`` rows, in order."""
        query = "SELECT kind, name, part, body FROM documents WHERE kind = ?"
        values: list[str | int] = [kind]
        if name is not None:
            query += " AND name = ?"
            values.append(name)
        if after is not None:
            query += " AND (kind, name, part) > (?, ?, ?)"
            values += after
        query += " ORDER BY kind, name, part LIMIT ?"
        rows = self._reader.execute(query, (*values, limit))
        return [store.Row(store.Key(*row[:3]), row[3]) for row in rows]

    def refers(self, package: str) -> bool:
        """Return whether any document refers to a package."""
        query = "SELECT EXISTS (SELECT 1 FROM refs WHERE package = ?)"
        return bool(self._reader.execute(query, (package,)).fetchone()[0])

    def packages(self) -> set[str]:
        """Return every package that is referred to."""
        return {row[0] for row in self._reader.execute("SELECT DISTINCT package FROM refs")}

    def totals(self, kind: str) -> store.Totals:
        """Return how much there is of a kind."""
        query = "SELECT count(*), coalesce(sum(code_bytes), 0) FROM documents WHERE kind = ?"
        return store.Totals(*self._reader.execute(query, (kind,)).fetchone())

    def commit(self, writes: Sequence[store.Write]) -> asyncio.Future[None]:
        """Queue a batch for the writer."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._batches.put(_Batch(tuple(writes), loop, done))
        return done

    def close(self) -> None:
        """Wait for the writes begun, then close the file."""
        self._batches.put(None)
        self._writer.join()
        self._reader.close()

    def _write(self) -> None:
        connection = database.connect(self._path, _PRAGMAS)
        try:
            while batches := self._next_group():
                error: Exception | None = None
                try:
                    _apply(connection, batches)
                except sqlite3.Error as caught:
                    error = caught
                for batch in batches:
                    _report(batch, error)
        finally:
            connection.close()

    def _next_group(self) -> list[_Batch]:
        """Return what waits, or nothing at the end."""
        group: list[_Batch] = []
        first = self._batches.get()
        while first is not None:
            group.append(first)
            if len(group) == _GROUP or self._batches.empty():
                return group
            first = self._batches.get()
        if group:
            self._batches.put(None)
        return group


def _apply(connection: sqlite3.Connection, batches: Sequence[_Batch]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for batch in batches:
            for key, document in batch.writes:
                _apply_one(connection, key, document)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _apply_one(connection: sqlite3.Connection, key: store.Key, document: store.Document | None) -> None:
    connection.execute(_FORGET, key)
    if document is None:
        connection.execute(_DELETE, key)
        return
    connection.execute(_PUT, (*key, document.body, document.code_bytes))
    for package in document.packages:
        connection.execute(_REFER, (*key, package))


def _report(batch: _Batch, error: Exception | None) -> None:
    def settle() -> None:
        if batch.done.done():
            return
        if error is None:
            batch.done.set_result(None)
        else:
            batch.done.set_exception(error)

    try:
        batch.loop.call_soon_threadsafe(settle)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
