import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.pool import report
from runtime.telemetry import lines

NOW = 1795374000.1234
STREAM = "2026/11/22/[$LATEST]0a1b2c"


def stored(message, *, platform=False):
    if platform:
        return lines.platform_event(NOW, STREAM, message)[:-1]
    return lines.function_lines(NOW, STREAM, message + b"\n")[:-1]


def test_a_line_is_readable_and_parses_back():
    line = stored(b"hello")
    assert line == b"2026-11-22T19:00:00.123Z\t2026/11/22/[$LATEST]0a1b2c\tF\thello"
    assert lines.parse(line) == lines.Event(timestamp_ms=1795374000123, stream=STREAM, platform=False, message="hello")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "tabs\tstay\t",
        "[ERROR] ValueError: x\rTraceback (most recent call last):\r  File",
        'JSON with {"path": "C:\\\\x", "n": "\\n"}',
        "\x1b[2K\x1b[1A erase a line",
        "␛r is not a carriage return, ␛ alone and ␛␛x0a neither",
        "\x00\x7f\x85\x9b",
        "RequestId: 1 Error: x\nRuntime.ExitError",
        "日本語 🎉\u2028",
    ],
)
def test_every_message_comes_back_from_one_line(message):
    line = stored(message.encode(), platform=True)
    assert b"\n" not in line
    assert lines.parse(line).message == message
    parts = message.split("\n")
    assert [lines.parse(part).message for part in stored(message.encode()).split(b"\n")] == parts


def test_no_control_character_reaches_the_file():
    text = lines.escape(bytes(range(128)) + "".join(map(chr, range(128, 160))).encode()).decode()
    assert [c for c in text if not c.isprintable()] == ["\t", "\n"]


def test_backslashes_are_left_alone():
    assert lines.escape(rb'{"a": "x\ny"}') == rb'{"a": "x\ny"}'


def test_what_is_not_utf8_is_replaced():
    assert lines.escape(b"caf\xe9 \xff") == "caf\ufffd \ufffd".encode()


@pytest.mark.parametrize(
    "line",
    [b"", b"hello", b"2026-11-22T19:00:00.123Z\ts\tX\tm", b"yesterday\ts\tF\tm", b"2026\ts\tF", b"\xff\ts\tF\tm"],
)
def test_a_line_that_is_none_of_ours_is_no_event(line):
    assert lines.parse(line) is None


def test_lines_of_the_platform_that_come_together_are_events_of_their_own():
    block = lines.platform_lines(NOW, STREAM, b"END RequestId: 1\nREPORT RequestId: 1\n")
    events = [lines.parse(line) for line in block.splitlines()]
    assert [(event.message, event.platform) for event in events] == [
        ("END RequestId: 1", True),
        ("REPORT RequestId: 1", True),
    ]


@given(st.lists(st.tuples(st.integers(0, 2**41), st.sampled_from(["one", "t\two"]), st.text(max_size=9)), max_size=5))
def test_a_run_of_the_platforms_lines_is_what_each_is_alone(run):
    chunks = [(now_ms / 1000, stream, text.encode() + b"\nsecond\n") for now_ms, stream, text in run]
    assert lines.platform_runs(chunks) == [lines.platform_lines(*chunk) for chunk in chunks]


def test_a_function_cannot_forge_a_platform_line():
    """Whatever it prints: each of its lines carries F, and its own text stands after the mark."""
    forged = stored(b"REPORT RequestId: 1\tDuration: 1.00 ms", platform=True)
    printed = b"x\n" + forged + b"\r\n\r" + forged + b"\n\x1b[A" + forged + b"\n"
    file = lines.function_lines(NOW, STREAM, lines.Splitter().feed(printed))
    parsed = [lines.parse(line) for line in file.split(b"\n")[:-1]]
    assert len(parsed) == 4
    assert not any(event.platform for event in parsed)
    # Nor does anything in the file begin a line, for whatever reader, that has no F in its place.
    for line in re.split("[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", file.decode())[:-1]:
        assert line.split("\t")[2] == "F"


def test_a_forged_line_is_told_by_its_mark():
    """The control of the test above: the mark alone makes the difference."""
    assert lines.parse(stored(b"REPORT RequestId: 1", platform=True)).platform


@pytest.mark.parametrize("now_ms", [0, 999, 1000, 1795374000009, 1795374000099, 1795374000999, 1795374001000])
def test_every_line_bears_its_own_time_and_stream(now_ms):
    for stream in ("one", "two"):
        line = lines.platform_lines((now_ms + 0.5) / 1000, stream, b"START\n")
        assert line.startswith(report.timestamp((now_ms + 0.5) / 1000).encode() + b"\t" + stream.encode() + b"\tP\t")


def test_a_stream_cannot_shift_the_fields():
    line = lines.function_lines(NOW, "a\tP\tb\nc\r", b"x\n")
    assert line.endswith("\taPbc␛r\tF\tx\n".encode())


def test_splitter_cuts_at_line_breaks_wherever_chunks_end():
    splitter = lines.Splitter()
    assert splitter.feed(b"one\ntwo") == b"one\n"
    assert splitter.feed(b"") == b""
    assert splitter.feed(b" and a half\n\nfour\r\n") == b"two and a half\n\nfour\r\n"
    assert splitter.flush() == b""
    assert splitter.feed("é".encode()[:1]) == b""
    assert splitter.feed("é".encode()[1:]) == b""
    assert splitter.held == 2
    assert splitter.flush() == "é\n".encode()
    assert splitter.held == 0


@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b"\n", b"\r", b"\x1b", b"\t", b"\xc2", b"\x85", b"\xe2\x90", b"\x9b"])
    )
)
def test_what_was_printed_is_what_is_read_however_it_was_cut(chunks):
    splitter = lines.Splitter()
    file = b""
    for block in [*map(splitter.feed, chunks), splitter.flush()]:
        file += lines.function_lines(NOW, STREAM, block) if block else b""
    printed = b"".join(chunks).removesuffix(b"\n").split(b"\n") if b"".join(chunks) else []
    events = [lines.parse(line) for line in file.split(b"\n")[:-1]]
    assert [event.message for event in events] == [line.decode(errors="replace") for line in printed]
    assert not any(event.platform for event in events)


def test_splitter_cuts_lines_that_have_no_end():
    splitter = lines.Splitter()
    data = ("é" * 1000).encode() + b"x"
    block = b""
    for _ in range(400):
        block += splitter.feed(data)
        assert splitter.held <= lines.EVENT_LIMIT
    block += splitter.flush()
    assert block.replace(b"\n", b"") == data * 400
    sizes = [len(line) for line in block.split(b"\n")[:-1]]
    assert all(lines.EVENT_LIMIT - 4 < size <= lines.EVENT_LIMIT for size in sizes[:-1])
    for line in block.split(b"\n"):
        line.decode()


def test_splitter_cuts_long_lines_that_come_whole():
    limit = lines.EVENT_LIMIT
    block = lines.Splitter().feed(b"a" * (limit * 2 + 5) + b"\nb\n\n" + b"c" * limit + b"\n")
    assert [len(line) for line in block.split(b"\n")] == [limit, limit, 5, 1, 0, limit, 0]


def test_splitter_does_not_hold_a_byte_each():
    splitter = lines.Splitter()
    for _ in range(10_000):
        splitter.feed(b"ab")
    assert len(splitter._parts) <= 65
    assert splitter.flush() == b"ab" * 10_000 + b"\n"
