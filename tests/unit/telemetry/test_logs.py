import asyncio
import dataclasses
import threading

import log_tools
import pytest

from runtime.telemetry import files, logs, reading

VERSION = log_tools.version()
GROUP = VERSION.log_group


@pytest.fixture
def clock():
    return log_tools.Clock()


@pytest.fixture
def make(tmp_path, clock):
    stores = []

    def build(**limits):
        store = logs.LogStore(tmp_path, dataclasses.replace(logs.Limits(batch_s=0.001), **limits), clock)
        stores.append(store)
        store.start()
        return store

    yield build
    for store in stores:
        store.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "hotfork-logs"]


async def everything(store, group=GROUP, **wanted):
    events, cursor = [], None
    while True:
        page = await store.read(group, cursor, 1000, reading.Filter(**wanted))
        events += page.events
        if page.at_end:
            return events
        cursor = page.cursor


async def messages(store, group=GROUP):
    return [event.message for event in await everything(store, group)]


async def test_output_becomes_events_and_platform_lines_are_marked(make, clock):
    store = make()
    store.log_written(VERSION, "s1", b"START RequestId: 1 Version: $LATEST\n", platform=True)
    store.log_written(VERSION, "s1", b"hel")
    clock.now += 1
    store.log_written(VERSION, "s1", b"lo\nSTART RequestId: forged\nno line break")
    store.log_written(VERSION, "s1", b"END RequestId: 1\n", platform=True)
    events = await everything(store)
    assert [(event.message, event.platform) for event in events] == [
        ("START RequestId: 1 Version: $LATEST", True),
        ("hello", False),
        ("START RequestId: forged", False),
        ("no line break", False),
        ("END RequestId: 1", True),
    ]
    assert {event.stream for event in events} == {"s1"}
    assert events[1].timestamp_ms - events[0].timestamp_ms == 1000


async def test_lines_of_the_platform_that_come_together_go_each_to_its_own_group_and_stream(make):
    store, other = make(batch_s=0.05), log_tools.version("other")
    store.log_written(VERSION, "a", b"unfinished")
    for number in range(60):
        store.log_written(VERSION, "ab"[number % 2], b"START %d\n" % number, platform=True)
        store.log_written(other, "c", b"END %d\nREPORT %d\n" % (number, number), platform=True)
    store.log_written(VERSION, "b", b"Killed\nfor it\n", platform=True, whole=True)
    store.log_written(VERSION, "a", b"printed\n")
    mine = [(event.stream, event.message) for event in await everything(store)]
    started = [("ab"[number % 2], f"START {number}") for number in range(60)]
    assert mine[:2] == [("a", "unfinished"), ("a", "START 0")]
    assert mine[1:61] == started
    assert [message for _, message in mine[61:]] == ["Killed\nfor it", "printed"]
    theirs = [event.message for event in await everything(store, other.log_group)]
    assert theirs == [f"{word} {number}" for number in range(60) for word in ("END", "REPORT")]


async def test_streams_of_a_group_do_not_mix(make):
    store = make()
    for stream, data in (("a", b"1 of "), ("b", b"2 of "), ("a", b"a\n"), ("b", b"b\n")):
        store.log_written(VERSION, stream, data)
    assert await messages(store) == ["1 of a", "2 of b"]
    assert [event.message for event in await everything(store, stream="b")] == ["2 of b"]


async def test_groups_do_not_mix(make):
    store, other = make(), log_tools.version("other")
    store.log_written(VERSION, "s", b"mine\n")
    store.log_written(other, "s", b"theirs\n")
    assert await messages(store) == ["mine"]
    assert await messages(store, other.log_group) == ["theirs"]


async def test_the_last_line_of_a_killed_worker_is_kept(make):
    store = make()
    store.log_written(VERSION, "s", b"whole\nlast words")
    assert await messages(store) == ["whole"]
    store.log_closed(VERSION, "s")
    assert await messages(store) == ["whole", "last words"]


async def test_close_writes_what_is_buffered(make, tmp_path):
    store = make(batch_s=60)
    for i in range(1000):
        store.log_written(VERSION, "s", b"line %d\n" % i)
    store.log_written(VERSION, "s", b"unfinished")
    store.close()
    text = (tmp_path / "aws/lambda/hello/current.log").read_text()
    assert text.count("\n") == 1001
    assert text.endswith("\tF\tunfinished\n")


async def test_what_is_logged_is_written_without_being_asked_for(make, tmp_path):
    store = make()
    store.log_written(VERSION, "s", b"hello\n")
    path = tmp_path / "aws/lambda/hello/current.log"
    async with asyncio.timeout(30):
        while not (path.exists() and path.read_bytes().endswith(b"hello\n")):
            await asyncio.sleep(0.005)


async def test_nothing_is_lost_or_reordered_under_a_racing_thread(make):
    store = make(rate=1e12, burst=1e12, buffer_bytes=10**9, batch_s=0)
    for i in range(100_000):
        store.log_written(VERSION, f"s{i % 3}", b"%d\n" % i)
        if i % 1000 == 0:
            await asyncio.sleep(0)
    assert await messages(store) == [str(i) for i in range(100_000)]


async def test_files_are_written_by_the_thread_alone(make, monkeypatch):
    threads = set()
    real = files.Files.append

    def append(self, *args):
        threads.add(threading.current_thread().name)
        real(self, *args)

    monkeypatch.setattr(files.Files, "append", append)
    store = make()
    store.log_written(VERSION, "s", b"x\n" * 1000)
    await messages(store)
    assert threads == {"hotfork-logs"}


async def test_a_flood_is_cut_and_one_line_says_how_much_was_lost(make, clock):
    store = make(rate=1000, burst=10_000)
    for _ in range(100):
        store.log_written(VERSION, "s", b"y" * 999 + b"\n")
    store.log_written(VERSION, "s", b"REPORT\n", platform=True)
    other = log_tools.version("quiet")
    store.log_written(other, "s", b"heard\n")
    events = await everything(store)
    kept = [event for event in events if event.message.startswith("y")]
    assert len(kept) == 9  # each costs its bytes and its line break
    lost = store.dropped_bytes()
    assert lost == {"rate": 91_000, "buffer": 0, "disk": 0}
    notices = [event for event in events if event.message.startswith("LOGS_DROPPED")]
    assert [notice.platform for notice in notices] == [True]
    assert "Dropped Bytes: 91000\tDropped Records: 91\t" in notices[0].message
    assert "REPORT" in [event.message for event in events]
    assert await messages(store, other.log_group) == ["heard"]
    clock.now += 5
    store.log_written(VERSION, "s", b"after a pause\n")
    assert (await messages(store))[-1] == "after a pause"


async def test_a_lasting_flood_is_told_of_once_a_second_and_wholly(make, clock):
    store = make(rate=1, burst=100)
    told = []
    for second in range(5):
        for _ in range(20):
            store.log_written(VERSION, "s", b"z" * 200)
            await store.read(GROUP)  # lets the thread run
        told.append(len([message for message in await messages(store) if "LOGS_DROPPED" in message]))
        clock.now += 1
        assert told[-1] <= second + 1
    store.close()
    store = make()
    notices = [message for message in await messages(store) if "LOGS_DROPPED" in message]
    assert sum(int(notice.split("Bytes: ")[1].split("\t")[0]) for notice in notices) == 20_000


async def test_drops_of_a_function_with_json_logs_are_told_in_json(make):
    store, version = make(rate=1, burst=1), log_tools.version(json_logs=True)
    store.log_written(version, "s", b"too long")
    (message,) = await messages(store)
    assert '"type":"platform.logsDropped","record":{"droppedBytes":8,"droppedRecords":1,' in message


async def test_line_breaks_count_against_the_rate(make):
    store = make(rate=1, burst=64_000)
    store.log_written(VERSION, "s", b"\n" * 1000)
    assert store.dropped_bytes()["rate"] == 1000


async def test_a_clock_set_back_does_not_silence_a_function(make, clock):
    store = make(rate=1000, burst=1000)
    store.log_written(VERSION, "s", b"before\n")
    clock.now -= 3600
    store.log_written(VERSION, "s", b"after\n")
    assert await messages(store) == ["before", "after"]


async def test_a_buffer_that_is_full_drops_output_but_not_platform_lines(make):
    store = make(buffer_bytes=1000, batch_s=60)
    for _ in range(5):
        store.log_written(VERSION, "s", b"x" * 299 + b"\n")
    store.log_written(VERSION, "s", b"REPORT\n", platform=True)
    assert store.dropped_bytes()["buffer"] == 600
    assert [message[:6] for message in await messages(store)] == ["x" * 6] * 3 + ["REPORT", "LOGS_D"]
    for _ in range(3):
        store.log_written(VERSION, "s", b"x" * 299 + b"\n")
    assert store.dropped_bytes()["buffer"] == 600, "the buffer was emptied"


async def test_platform_lines_are_bounded_too(make):
    store = make(buffer_bytes=1000, batch_s=60)
    for _ in range(30):
        store.log_written(VERSION, "s", b"x" * 99 + b"\n", platform=True)
    assert store.dropped_bytes()["buffer"] == 1000


async def test_what_follows_a_drop_does_not_continue_a_line(make):
    store = make(rate=1, burst=1000)
    store.log_written(VERSION, "s", b"REPORT Requ")
    store.log_written(VERSION, "s", b"x" * 2000)
    store.log_written(VERSION, "s", b"estId: 1\n")
    assert [message for message in await messages(store) if "DROPPED" not in message] == ["REPORT Requ", "estId: 1"]


async def test_a_disk_that_refuses_costs_output_but_not_the_store(make, monkeypatch, caplog):
    store = make()

    def refuse(self, *args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.Files, "append", refuse)
        for _ in range(3):
            store.log_written(VERSION, "s", b"lost\n")
            assert await messages(store) == []
    store.log_written(VERSION, "s", b"kept\n")
    assert await messages(store) == ["kept"]
    assert store.dropped_bytes()["disk"] > 12
    assert len([record for record in caplog.records if "No space left" in record.message]) == 1


async def test_waiting_ends_with_the_next_write(make):
    store = make()
    store.log_written(VERSION, "s", b"old\n")
    page = await store.read(GROUP)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(store.wait(GROUP, page.cursor))
        store.log_written(log_tools.version("other"), "s", b"not for us\n")
        await messages(store, "/aws/lambda/other")
        assert not waiting.done()
        store.log_written(VERSION, "s", b"new\n")
        await waiting
        assert [event.message for event in (await store.read(GROUP, page.cursor)).events] == ["new"]
    assert store._waiting == {}


async def test_waiting_ends_at_once_where_there_is_something_to_read(make):
    store = make()
    cursor = (await store.read(GROUP)).cursor
    store.log_written(VERSION, "s", b"hello\n")
    async with asyncio.timeout(30):
        await store.wait(GROUP, cursor)


async def test_no_wake_up_is_lost_between_reading_and_waiting(make):
    store = make(batch_s=0)
    seen, cursor = 0, None
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:

        async def produce():
            for i in range(500):
                store.log_written(VERSION, "s", b"%d\n" % i)
                await asyncio.sleep(0)

        tasks.create_task(produce())
        while seen < 500:
            page = await store.read(GROUP, cursor, 7)
            seen += len(page.events)
            cursor = page.cursor
            if page.at_end and seen < 500:
                await store.wait(GROUP, cursor)


async def test_a_wait_that_is_given_up_leaves_nothing_behind(make):
    store = make()
    cursor = (await store.read(GROUP)).cursor
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await store.wait(GROUP, cursor)
    assert store._waiting == {}
    store.log_written(VERSION, "s", b"x\n")
    assert await messages(store) == ["x"]


async def test_a_read_that_is_given_up_harms_nobody(make):
    store = make(batch_s=0.05)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await store.read(GROUP)
    assert await messages(store) == []


async def test_a_bad_cursor_is_told_to_who_asked(make):
    store = make()
    with pytest.raises(ValueError, match="not a log cursor"):
        await store.read(GROUP, "nonsense")


async def test_unfinished_lines_are_bounded_over_all_streams(make, monkeypatch):
    monkeypatch.setattr("runtime.telemetry.writer.HELD_LIMIT", 10_000)
    store = make()
    for i in range(30):
        store.log_written(VERSION, f"s{i}", b"x" * 1000)
    assert len(await messages(store)) == 20
    assert store._writer._held == 10_000
    for i in range(30):
        store.log_closed(VERSION, f"s{i}")
    assert len(await messages(store)) == 30
    assert store._writer._held == 0
    assert store._writer._splitters == {}


async def test_a_deleted_functions_log_can_still_be_read(make):
    store = make()
    store.log_written(VERSION, "s", b"x\n")
    store.forget(GROUP)
    store.log_closed(VERSION, "s")
    assert await messages(store) == ["x"]
    assert store._sources == {}


def test_a_store_that_was_never_started_can_be_closed(tmp_path, clock):
    logs.LogStore(tmp_path, logs.Limits(), clock).close()
