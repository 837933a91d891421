import pytest

from runtime.telemetry import files, folders, lines, reading

GROUP = "/aws/lambda/hello"
BASE = 1795374000


@pytest.fixture
def write(tmp_path):
    stores = []

    def append(first, last, *, size=300, stream="a", keep=50):
        store = files.Files(tmp_path, files.Limits(file_bytes=size, files=keep))
        stores.append(store)
        for i in range(first, last):
            line = lines.function_lines(BASE + i, stream, b"event %d\n" % i)
            store.append(GROUP, line, (BASE + i) * 1000)

    yield append
    for store in stores:
        store.close()


@pytest.fixture
def folder(tmp_path):
    return folders.of_group(tmp_path, GROUP)


def numbers(page):
    return [int(event.message.split()[1]) for event in page.events]


def test_nothing_is_there_before_the_first_event(folder):
    page = reading.read(folder, None, 10)
    assert (page.events, page.at_end) == ([], True)
    assert not reading.has_more(folder, page.cursor)


def test_pages_join_without_gap_or_repeat_across_files(write, folder):
    write(0, 100)
    assert len(folders.files(folder)) > 10
    seen, cursor, at_end = [], None, False
    while not at_end:
        page = reading.read(folder, cursor, 7)
        assert len(page.events) == 7 or page.at_end
        seen += numbers(page)
        cursor, at_end = page.cursor, page.at_end
    assert seen == list(range(100))
    assert not reading.has_more(folder, cursor)
    write(100, 103)
    assert reading.has_more(folder, cursor)
    assert numbers(reading.read(folder, cursor, 10)) == [100, 101, 102]


def test_the_first_cursor_of_an_empty_log_sees_all_that_comes(write, folder):
    cursor = reading.read(folder, None, 10).cursor
    write(0, 3)
    assert reading.has_more(folder, cursor)
    assert numbers(reading.read(folder, cursor, 10)) == [0, 1, 2]


def test_a_cursor_outlives_its_file(write, folder):
    write(0, 10)
    cursor = reading.read(folder, None, 3).cursor
    write(10, 60, keep=2)
    page = reading.read(folder, cursor, 1000)
    assert numbers(page) == list(range(numbers(page)[0], 60))
    assert numbers(page)[0] > 3


def test_filters_by_stream_and_time(write, folder):
    write(0, 10, stream="a")
    write(10, 20, stream="b")
    write(20, 30, stream="a")
    assert numbers(reading.read(folder, None, 100, reading.Filter(stream="b"))) == list(range(10, 20))
    between = reading.Filter(start_ms=(BASE + 5) * 1000, end_ms=(BASE + 25) * 1000)
    assert numbers(reading.read(folder, None, 100, between)) == list(range(5, 25))


def test_a_page_looks_through_a_bounded_amount(write, folder, monkeypatch):
    monkeypatch.setattr(reading, "BUDGET", 1000)
    write(0, 200, size=10**6)
    monkeypatch.setattr(reading, "_CHUNK", 200)
    seen, cursor, pages, at_end = [], None, 0, False
    while not at_end:
        page = reading.read(folder, cursor, 100, reading.Filter(start_ms=(BASE + 150) * 1000))
        seen += numbers(page)
        cursor, at_end, pages = page.cursor, page.at_end, pages + 1
    assert seen == list(range(150, 200))
    assert pages > 3


def test_a_line_longer_than_a_chunk_is_read_whole(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_CHUNK", 16)
    store = files.Files(tmp_path, files.Limits())
    store.append(GROUP, lines.function_lines(BASE, "s", b"x" * 5000 + b"\n"), 1)
    store.close()
    assert [len(event.message) for event in reading.read(folder, None, 10).events] == [5000]


def test_a_line_still_being_written_is_left_for_the_next_page(folder, tmp_path):
    store = files.Files(tmp_path, files.Limits())
    store.append(GROUP, lines.function_lines(BASE, "s", b"event 1\n") + b"2026-", 1)
    page = reading.read(folder, None, 10)
    assert (numbers(page), page.at_end) == ([1], True)
    assert not reading.has_more(folder, page.cursor)
    store.append(GROUP, b"11-22T19:00:00.123Z\ts\tF\tevent 2\n", 1)
    store.close()
    assert numbers(reading.read(folder, page.cursor, 10)) == [2]


def test_lines_that_are_no_events_are_passed_over(folder, tmp_path):
    store = files.Files(tmp_path, files.Limits())
    store.append(GROUP, b"\xffgarbage\n\n" + lines.function_lines(BASE, "s", b"event 1\n"), 1)
    store.close()
    assert numbers(reading.read(folder, None, 10)) == [1]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-1", "1-2-3", "1-2\n", "9" * 30 + "-1", "../x-1"])
def test_what_is_no_cursor_is_refused(folder, cursor):
    with pytest.raises(ValueError, match="not a log cursor"):
        reading.read(folder, cursor, 1)
