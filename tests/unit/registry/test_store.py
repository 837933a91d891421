"""What every store does, and what SQLite does beyond: survive."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import passer_by
import pytest

import runtime
from runtime import errors
from runtime.registry import sqlite, store

Key, Document, Write = store.Key, store.Document, store.Write


@pytest.fixture(params=["memory", "sqlite"])
def kept(request, tmp_path):
    made = store.MemoryStore() if request.param == "memory" else sqlite.SqliteStore(tmp_path / "db")
    yield made
    made.close()


def put(name, part="", body=b"x", packages=(), code_bytes=0, kind="k"):
    return Write(Key(kind, name, part), Document(body=body, packages=packages, code_bytes=code_bytes))


async def test_documents_come_back(kept):
    assert kept.get(Key("k", "a")) is None
    await kept.commit([put("a", body=b"one"), put("a", "p", body=b"two"), put("b", body=b"three")])
    assert kept.get(Key("k", "a")) == b"one"
    assert kept.get(Key("k", "a", "p")) == b"two"
    await kept.commit([put("a", body=b"four"), Write(Key("k", "a", "p"), None), Write(Key("k", "no"), None)])
    assert kept.get(Key("k", "a")) == b"four"
    assert kept.get(Key("k", "a", "p")) is None


async def test_scans_are_in_order_and_in_pages(kept):
    names = ["a", "b", "c", "é", "日本"]
    await kept.commit([put(name, part) for name in reversed(names) for part in ("2", "1")])
    await kept.commit([put("z", kind="other")])
    expected = [Key("k", name, part) for name in names for part in ("1", "2")]
    assert [row.key for row in kept.scan("k", limit=100)] == expected
    assert [row.key for row in kept.scan("k", "b", limit=100)] == expected[2:4]
    found, after = [], None
    while rows := kept.scan("k", after=after, limit=3):
        found += [row.key for row in rows]
        after = rows[-1].key
    assert found == expected


async def test_references_and_totals(kept):
    await kept.commit([put("a", packages=("p", "q"), code_bytes=3), put("b", packages=("q",), code_bytes=4)])
    assert kept.totals("k") == store.Totals(2, 7)
    assert kept.totals("none") == store.Totals(0, 0)
    assert kept.packages() == {"p", "q"}
    await kept.commit([put("a", packages=("r",))])
    assert kept.refers("q")
    assert not kept.refers("p")
    await kept.commit([Write(Key("k", "b"), None)])
    assert kept.packages() == {"r"}


async def test_writes_take_effect_in_the_order_of_the_calls(kept):
    async with asyncio.TaskGroup() as tasks:
        for number in range(500):
            future = kept.commit([put("counter", body=str(number).encode())])
            tasks.create_task(waited(future))
    assert kept.get(Key("k", "counter")) == b"499"


async def waited(future):
    await future


async def test_a_batch_that_fails_leaves_nothing(tmp_path):
    kept = sqlite.SqliteStore(tmp_path / "db")
    with pytest.raises(sqlite3.Error):
        await kept.commit([put("a"), put("b", body="text where a BLOB belongs")])  # STRICT refuses it
    assert kept.scan("k", limit=10) == []
    await kept.commit([put("c")])
    assert [row.key.name for row in kept.scan("k", limit=10)] == ["c"]
    kept.close()


async def test_state_outlives_the_store(tmp_path):
    first = sqlite.SqliteStore(tmp_path / "db")
    await first.commit([put("a", body=b"kept")])
    first.close()
    second = sqlite.SqliteStore(tmp_path / "db")
    assert second.get(Key("k", "a")) == b"kept"
    second.close()


async def test_a_file_of_a_newer_version_is_refused(tmp_path):
    sqlite.SqliteStore(tmp_path / "db").close()
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(errors.ConfigError, match="newer version"):
        sqlite.SqliteStore(tmp_path / "db")


async def test_another_program_that_looks_into_the_file_does_not_take_the_log_away(tmp_path):
    one = sqlite.SqliteStore(tmp_path / "db")
    await one.commit([put("a")])  # the writer has its connection, too
    await passer_by.look_into(tmp_path / "db")
    assert (tmp_path / "db-wal").exists()
    one.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "db").write_text("no database, but some text that is long enough to be looked at" * 100)
    with pytest.raises(errors.ConfigError, match=r"registry of functions, .*db, cannot be used"):
        sqlite.SqliteStore(tmp_path / "db")


WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from runtime.registry import sqlite, store

async def main():
    kept = sqlite.SqliteStore(Path(sys.argv[2]))
    for number in range(100000):
        body = str(number).encode()
        batch = [store.Write(store.Key("k", name), store.Document(body=body)) for name in ("a", "b")]
        await kept.commit(batch)
        print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_confirmed_survives_kill_9_and_batches_stay_whole(tmp_path):
    root = str(Path(runtime.__file__).parent.parent)
    command = [sys.executable, "-c", WRITER, root, str(tmp_path / "db")]
    for confirmed in (1, 57, 300):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            for _ in range(confirmed):
                last = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
        kept = sqlite.SqliteStore(tmp_path / "db")
        a, b = (int(kept.get(Key("k", name))) for name in ("a", "b"))
        kept.close()
        assert a == b >= last


async def test_nobody_else_reads_the_files(tmp_path):
    kept = sqlite.SqliteStore(tmp_path / "db")
    await kept.commit([put("secret")])
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "db": 0o600,
        "db-wal": 0o600,
        "db-shm": 0o600,
    }
    kept.close()
