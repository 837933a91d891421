"""Files of SQLite's: opened for their owner alone, made or brought up to date, refused where that cannot be.

The schema's version stands in ``PRAGMA user_version``; migrations run in order, each in a transaction of its own.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from runtime import errors


def connect(path: Path, pragmas: Sequence[str]) -> sqlite3.Connection:
    """Open a file that was prepared; transactions are begun and ended by hand. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        for each in pragmas:
            connection.execute(f"PRAGMA {each}")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(path: Path, what: str, pragmas: Sequence[str], migrations: Sequence[str]) -> sqlite3.Connection:
    """Open a file and bring it up to date, before all other connections of this process to it.

    Raises ConfigError, which says what it is, where that cannot be.
    """
    try:
        _own(path)
        connection = connect(path, pragmas)
        try:
            _migrate(connection, path, migrations)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise errors.ConfigError(f"{what}, {path}, cannot be used: {error}") from None
    return connection


def _own(path: Path) -> None:
    """Make a file where there is none, and make it nobody else's business; SQLite gives its side files the same mode.

    Not once there are connections: whoever closes a file gives up all locks that its process has on it (fcntl(2)), and
    then the next program that looks into the database takes itself for the last one, and deletes the log under us
    (sqlite.org/howtocorrupt.html, 2.2).
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise errors.ConfigError(
            f"{path} was written by a newer version of hotfork (schema {version}, known are {len(migrations)})"
        )
    for number, script in enumerate(migrations[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
