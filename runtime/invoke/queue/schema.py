"""The queue's file: its tables, and how a connection to it is set up.

``items_by_lane`` answers everything that the queue asks without touching the payloads: which rows of a lane are due,
and at start how much each lane holds.
"""

import os
import sqlite3
from pathlib import Path

from runtime import errors

_MIGRATIONS = (
    """
    CREATE TABLE items (
        id INTEGER PRIMARY KEY,
        lane TEXT NOT NULL,
        due REAL NOT NULL,
        size INTEGER NOT NULL,
        accepted REAL NOT NULL,
        tries INTEGER NOT NULL,
        about BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX items_by_lane ON items (lane, due, size);
    CREATE TABLE letters (
        id INTEGER PRIMARY KEY,
        function TEXT NOT NULL,
        ended REAL NOT NULL,
        condition TEXT NOT NULL,
        error_type TEXT NOT NULL,
        size INTEGER NOT NULL,
        about BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX letters_by_function ON letters (function, id, condition, error_type, ended, size);
    """,
)
_CHECKPOINT_PAGES = 4000
"""Of the log, 16 MB: fewer would write the same pages into the file again and again."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file; transactions are begun and ended by hand."""
    # Payloads are nobody else's business. SQLite gives its other files the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        # Before the first table: space that events held can be given back to the disk.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(path: Path) -> sqlite3.Connection:
    """Open the file, made or brought up to date where need be; raise ConfigError where that cannot be."""
    try:
        connection = connect(path)
        try:
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise errors.ConfigError(f"the queue of asynchronous events, {path}, cannot be used: {error}") from None
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(_MIGRATIONS):
        raise errors.ConfigError(
            f"{path} was written by a newer version of hotfork (schema {version}, known are {len(_MIGRATIONS)})"
        )
    for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
