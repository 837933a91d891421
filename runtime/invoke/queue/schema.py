"""The queue's file: its tables, and how a connection to it is set up.

``items_by_lane`` answers everything that the queue asks without touching the payloads: which rows of a lane are due,
and at start how much each lane holds.
"""

import sqlite3
from pathlib import Path

from runtime import database

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
_PRAGMAS = (
    "auto_vacuum = INCREMENTAL",  # before the first table: space that events held can be given back to the disk
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = OFF",
    f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file once more, after ``prepare``; transactions are begun and ended by hand."""
    return database.connect(path, _PRAGMAS)


def prepare(path: Path) -> sqlite3.Connection:
    """Open the file, made or brought up to date where need be; raise ConfigError where that cannot be."""
    return database.prepare(path, "the queue of asynchronous events", _PRAGMAS, _MIGRATIONS)
