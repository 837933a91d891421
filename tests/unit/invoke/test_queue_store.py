"""The queue's file: what is told is on disk, what is refused is not, and nothing is too much for the memory."""

import asyncio
import sqlite3
import threading

import passer_by
import pytest

from runtime import errors
from runtime.invoke.queue import letters, loading, rows, schema, sqlite, writing


def row(number, lane="f", due=100.0, body=b"{}", tries=0):
    return rows.Row(number, lane, due, len(body), due, tries, b"about", body)


def letter(number, function="f", body=b"{}", **fields):
    fields = {"ended": 100.0, "condition": "RetriesExhausted", "error_type": "E"} | fields
    return rows.Letter(number, function, size=len(body), about=b"about", body=body, **fields)


class Opened:
    """A store, and futures in place of its callbacks."""

    def __init__(self, path, letters=1000, letters_size=10**9):
        self.path = path
        self.store = sqlite.SqliteQueue(path, letters=letters, letters_size=letters_size)
        self.counted = asyncio.get_running_loop().create_future()
        self.store.on_counted = self.counted.set_result
        self.start = self.store.open()
        self.store.start()
        self.batches = 0
        self.store.after_batch = self._count

    def _count(self):
        self.batches += 1

    def apply(self, **change):
        done = asyncio.get_running_loop().create_future()

        def then(error):
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self.store.apply(rows.Change(then, **change))
        return done

    async def load(self, lane="f", now=1000.0, known=(), limit=100, size=10**9):
        done = asyncio.get_running_loop().create_future()
        self.store.load(lane, now, known, limit=limit, size=size, then=done.set_result)
        return await done

    def on_disk(self):
        connection = sqlite3.connect(self.path)
        found = connection.execute("SELECT * FROM items ORDER BY id").fetchall()
        connection.close()
        return [rows.Row(*one) for one in found]


@pytest.fixture
async def open_store(tmp_path):
    opened = []

    def make(**options):
        opened.append(Opened(tmp_path / "events.db", **options))
        return opened[-1]

    yield make
    for one in opened:
        await one.store.close()


async def test_what_is_told_is_on_disk(open_store):
    one = open_store()
    rows_ = [row(number, body=bytes([number])) for number in range(1, 200)]
    waiting = [one.apply(put=(each,)) for each in rows_]
    for each in waiting:
        await each
    assert one.on_disk() == rows_


async def test_callers_who_wait_share_a_commit(open_store):
    one = open_store()
    waiting = [one.apply(put=(row(number),)) for number in range(1, 500)]
    for each in waiting:
        await each
    assert one.batches < 20


async def test_what_nobody_waits_for_is_gathered_apart_from_what_somebody_does(open_store):
    one = open_store()
    await one.apply(put=[row(number) for number in range(1, 101)])
    batches = one.batches
    waiting = [one.apply(drop=(number,), keep=True, lazy=True) for number in range(1, 20)]
    urgent = one.apply(drop=(20,))
    assert (len(one.store._lazy), len(one.store._asked)) == (19, 1)
    for each in (urgent, *waiting):
        await each
    assert one.batches <= batches + 2
    # So many do not wait any longer,
    waiting = [one.apply(drop=(number,), keep=True, lazy=True) for number in range(21, 21 + sqlite.LAZY_CHANGES)]
    assert not one.store._lazy
    for each in waiting:
        await each
    # and nothing does that is in the way of a load, or of the end.
    waiting = one.apply(drop=(60,), lazy=True)
    loaded = await one.load()
    assert waiting.done()
    assert 60 not in [each.id for each in loaded.rows]
    one.store.apply(rows.Change(lambda _error: None, drop=tuple(each.id for each in loaded.rows), lazy=True))
    await one.store.close()
    assert one.on_disk() == []


async def test_all_of_a_change_or_nothing(open_store):
    one = open_store()
    await one.apply(put=(row(1),))
    with pytest.raises(sqlite3.IntegrityError):
        await one.apply(put=(row(2), row(1)), drop=(1,))
    assert one.on_disk() == [row(1)]
    await one.apply(drop=(1,), put=(row(2, lane="arn:aws:sqs:r:0:q"),), bury=(letter(3),))
    assert [each.id for each in one.on_disk()] == [2]
    assert one.store.letters == 1


async def test_a_wrong_change_does_not_take_others_along(open_store):
    one = open_store()
    await one.apply(put=(row(1),))
    wrong = one.apply(put=(row(1),), keep=True)
    right = one.apply(put=(row(2),))
    await right
    with pytest.raises(sqlite3.IntegrityError):
        await wrong
    assert [each.id for each in one.on_disk()] == [1, 2]


async def test_rows_move_and_the_next_start_finds_them_as_they_are(open_store):
    one = open_store()
    await one.apply(put=(row(1), row(2), row(7, lane="g", body=b"12345")))
    await one.apply(move=(rows.Move(500.0, 1, b"tried", 1),))
    await one.store.close()
    again = open_store()
    assert sorted(again.start.lanes) == [("f", 100.0), ("g", 100.0)]
    assert sorted(await again.counted) == [rows.Backlog("f", 2, 4), rows.Backlog("g", 1, 5)]
    assert again.start.last_id == 7
    loaded = await again.load(now=1000)
    assert loaded.rows == [row(2), rows.Row(1, "f", 500.0, 2, 100.0, 1, b"tried", b"{}")]


async def test_what_is_counted_is_the_state_of_the_start(open_store, monkeypatch):
    one = open_store()
    await one.apply(put=[row(number, lane=f"f{number % 3}") for number in range(1, 100)])
    await one.store.close()
    gate = threading.Event()
    real = loading.backlogs
    monkeypatch.setattr(loading, "backlogs", lambda connection: (gate.wait(20), real(connection))[1])
    again = open_store()
    assert [name for name, _ in again.start.lanes] == ["f0", "f1", "f2"]
    await again.apply(drop=range(1, 51), put=(row(1000, lane="new"),))
    assert not again.counted.done()
    gate.set()
    assert await again.counted == [rows.Backlog(f"f{number}", 33, 66) for number in range(3)]


async def test_ids_of_letters_are_not_used_again(open_store):
    one = open_store()
    await one.apply(put=(row(1),), bury=(letter(9),))
    await one.store.close()
    assert open_store().start.last_id == 9


async def test_what_is_due_is_loaded_in_its_order_but_for_what_is_known(open_store):
    one = open_store()
    await one.apply(put=[row(number, due=float(1000 - number)) for number in range(1, 11)])
    loaded = await one.load(now=995, known={10, 8}, limit=3)
    assert [each.id for each in loaded.rows] == [9, 7, 6]
    assert loaded.more
    assert loaded.next_due == 996
    loaded = await one.load(now=995, known={10, 9, 8, 7, 6}, limit=3)
    assert [each.id for each in loaded.rows] == [5]
    assert not loaded.more
    loaded = await one.load(now=2000, limit=100)
    assert len(loaded.rows) == 10
    assert loaded.next_due is None


async def test_no_more_bytes_are_loaded_than_asked_for_but_always_one_row(open_store):
    one = open_store()
    await one.apply(put=[row(number, due=float(number), body=b"x" * 1000) for number in range(1, 11)])
    loaded = await one.load(size=2500)
    assert [each.id for each in loaded.rows] == [1, 2]
    assert loaded.more
    loaded = await one.load(size=1)
    assert [each.id for each in loaded.rows] == [1]


async def test_loads_and_changes_are_heard_of_in_the_order_in_which_they_happened(open_store):
    one = open_store()
    heard = []
    for number in range(1, 51):
        one.store.apply(rows.Change(lambda _error, number=number: heard.append(number), put=(row(number),)))
        one.store.load(
            "f",
            1000.0,
            (),
            limit=1000,
            size=10**9,
            then=lambda loaded, number=number: heard.append((number, len(loaded.rows))),
        )
    await one.apply(put=(row(100),))
    assert heard == [each for number in range(1, 51) for each in (number, (number, number))]


class Full(Exception):
    pass


@pytest.fixture
def disk(monkeypatch):
    """A disk that can be full: writing fails as SQLite does then."""

    class Disk:
        full = False

    real = writing.write

    def write(connection, changes, grave):
        if Disk.full:
            raise sqlite3.OperationalError("database or disk is full")
        return real(connection, changes, grave)

    monkeypatch.setattr(writing, "write", write)
    monkeypatch.setattr(sqlite, "RETRY_S", 0.01)
    return Disk


async def test_a_full_disk_refuses_new_rows_and_keeps_what_was_done(open_store, disk):
    one = open_store()
    await one.apply(put=(row(1),))
    disk.full = True
    done = one.apply(drop=(1,), keep=True)
    for number in (2, 3):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await one.apply(put=(row(number),))
    assert not done.done()
    disk.full = False
    await done
    assert one.on_disk() == []
    await one.apply(put=(row(4),))
    assert [each.id for each in one.on_disk()] == [4]


async def test_what_cannot_be_written_at_the_end_is_left_for_the_next_start(open_store, disk, caplog):
    one = open_store()
    await one.apply(put=(row(1),))
    disk.full = True
    one.store.apply(rows.Change(lambda _error: None, drop=(1,), keep=True))
    await one.store.close()
    assert "will run again" in caplog.text
    disk.full = False
    assert open_store().start.lanes == [("f", 100.0)]


async def test_the_oldest_letters_go_when_there_are_too_many(open_store):
    one = open_store(letters=5)
    evicted = []
    one.store.on_evicted = evicted.append
    for number in range(1, 9):
        await one.apply(bury=(letter(number),))
    assert one.store.letters == 5
    assert sum(evicted) == 3
    assert letters.ids(one.path, letters.Filter(), 100) == [4, 5, 6, 7, 8]
    await one.apply(bury=[letter(number) for number in range(20, 40)])
    assert letters.ids(one.path, letters.Filter(), 100) == [35, 36, 37, 38, 39]


async def test_the_oldest_letters_go_when_they_are_too_large(open_store):
    one = open_store(letters_size=2500)
    for number in range(1, 5):
        await one.apply(bury=(letter(number, body=b"x" * 1000),))
    assert letters.ids(one.path, letters.Filter(), 100) == [3, 4]
    await one.store.close()
    again = open_store(letters_size=2500)
    assert again.start.letters == 2
    await again.apply(bury=(letter(9, body=b"x" * 1000),))
    assert letters.ids(one.path, letters.Filter(), 100) == [4, 9]


async def test_no_letter_is_kept_where_none_is_wanted(open_store):
    one = open_store(letters=0)
    await one.apply(bury=(letter(1),))
    assert one.store.letters == 0


async def test_letters_are_found_by_what_they_are(open_store):
    one = open_store()
    await one.apply(
        bury=(
            letter(1, ended=10.0),
            letter(2, function="g", ended=20.0),
            letter(3, error_type="Other", ended=30.0),
            letter(4, condition="EventAgeExceeded", ended=40.0),
        )
    )

    def found(**wanted):
        return letters.ids(one.path, letters.Filter(**wanted), 100)

    assert found() == [1, 2, 3, 4]
    assert found(function="f") == [1, 3, 4]
    assert found(function="f", error_type="E") == [1, 4]
    assert found(condition="EventAgeExceeded") == [4]
    assert found(since=20.0) == [2, 3, 4]
    assert found(after=1, until=3) == [2, 3]
    assert letters.count(one.path, letters.Filter(function="f")) == (3, 4)
    assert letters.count(one.path, letters.Filter(function="none")) == (0, 0)
    assert [each.id for each in letters.newest(one.path, letters.Filter(), 2)] == [4, 3]
    assert [each.id for each in letters.oldest(one.path, letters.Filter(), 10, 4)] == [1, 2]
    assert letters.one(one.path, 2) == letter(2, function="g", ended=20.0)
    assert letters.one(one.path, 5) is None
    await one.apply(unbury=(1, 2, 77))
    assert one.store.letters == 2


async def test_space_is_given_back_to_the_disk(open_store, monkeypatch):
    monkeypatch.setattr(sqlite, "_FREE_PAGES", 100)
    monkeypatch.setattr(sqlite, "_LOOK_EVERY", 2)
    one = open_store()
    await one.apply(put=[row(number, body=b"x" * 100_000) for number in range(1, 201)])
    await one.apply(drop=range(1, 201))
    for _ in range(30):
        await one.apply(put=(row(999),))
        await one.apply(drop=(999,))
    await one.store.close()
    assert one.path.stat().st_size < 5_000_000


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path, open_store):
    one = open_store()
    await one.store.close()
    connection = sqlite3.connect(one.path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(errors.ConfigError, match="newer version"):
        schema.prepare(one.path)


async def test_another_program_that_looks_into_the_file_does_not_take_the_log_away(open_store):
    one = open_store()
    await passer_by.look_into(one.path)
    assert one.path.with_name("events.db-wal").exists()


async def test_a_file_that_is_no_database_is_an_error(tmp_path):
    (tmp_path / "events.db").write_text("no database, but some text that is long enough to be looked at" * 100)
    store = sqlite.SqliteQueue(tmp_path / "events.db", letters=1, letters_size=1)
    with pytest.raises(errors.ConfigError, match=r"events\.db"):
        store.open()
    await store.close()


async def test_nobody_else_reads_the_payloads(open_store):
    one = open_store()
    await one.apply(put=(row(1),))
    for file in one.path.parent.glob("events.db*"):
        assert file.stat().st_mode & 0o777 == 0o600


async def test_a_listener_that_breaks_keeps_nothing_from_the_others(open_store, caplog):
    one = open_store()
    one.store.apply(rows.Change(lambda _error: 1 / 0, put=(row(1),)))
    await one.apply(put=(row(2),))
    assert "not heard of" in caplog.text


async def test_a_caller_whose_loop_is_gone_does_not_stop_the_writer(tmp_path):
    one = Opened(tmp_path / "events.db")
    await one.apply(put=(row(1),))
    loop = one.store._loop
    one.store._loop = asyncio.new_event_loop()
    one.store._loop.close()
    one.store.load("f", 1.0, (), limit=1, size=1, then=lambda _loaded: None)
    one.store._work.put([rows.Change(lambda _error: None, put=(row(2),))])
    while len(one.on_disk()) < 2:
        await asyncio.sleep(0.01)
    one.store._loop = loop
    await one.apply(put=(row(3),))
    await one.store.close()
    assert [each.id for each in one.on_disk()] == [1, 2, 3]
