import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import http1

PLAIN = b"HTTP/1.1 200 OK\r\nX-Amz-Executed-Version: 1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n" + b"1;note=1\r\n,\r\n" + b"6\r\n world\r\n" + b"0\r\nX-Sum: 1\r\n\r\n"
)
EMPTY = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
RESPONSES = {PLAIN: b"hello", CHUNKED: b"hello, world", EMPTY: b"", NO_CONTENT: b""}


def test_a_request_is_as_rfc_9112_has_it():
    sent = http1.request("127.0.0.1:3001", "POST", "/a", {"X-Amz-Log-Type": "Tail"}, b"{}")
    assert sent == (
        b"POST /a HTTP/1.1\r\nHost: 127.0.0.1:3001\r\nUser-Agent: hotfork-bench\r\n"
        b"X-Amz-Log-Type: Tail\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert b"Content-Length: 0\r\n" in http1.request("h", "POST", "/", {}, b"")
    assert b"Content-Length" not in http1.request("h", "GET", "/", {}, b"")


@given(st.lists(st.sampled_from(list(RESPONSES)), min_size=1, max_size=4), st.data())
def test_responses_are_read_however_they_are_cut(responses, data):
    parser = http1.Parser()
    for response in responses:
        cuts = sorted(data.draw(st.sets(st.integers(1, len(response) - 1), max_size=5)))
        pieces = [response[a:b] for a, b in zip([0, *cuts], [*cuts, len(response)], strict=True)]
        assert [parser.feed(piece) for piece in pieces] == [False] * len(cuts) + [True]
        assert bytes(parser.body) == RESPONSES[response]
        assert parser.status == response[9:12]
        assert parser.idle
        assert not parser.closing


def test_the_size_of_what_is_missing_is_known():
    parser = http1.Parser()
    assert not parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
    assert parser.missing == 990
    assert not parser.idle


def test_a_mark_is_found_in_any_case_and_only_as_a_header():
    parser = http1.Parser(b"X-Amz-Function-Error")
    assert parser.feed(PLAIN)
    assert not parser.marked
    assert parser.feed(b"HTTP/1.1 200 OK\r\nx-amz-function-error: Unhandled\r\nContent-Length: 2\r\n\r\n{}")
    assert parser.marked
    assert parser.feed(b"HTTP/1.1 200 OK\r\nNote: x-amz-function-error: no\r\nContent-Length: 2\r\n\r\n{}")
    assert not parser.marked


def test_a_body_without_length_ends_with_the_connection():
    parser = http1.Parser()
    assert not parser.feed(b"HTTP/1.0 200 OK\r\n\r\nall ")
    assert not parser.feed(b"of it")
    assert parser.end()
    assert bytes(parser.body) == b"all of it"
    assert parser.closing


def test_an_end_in_the_middle_completes_nothing():
    for part in (b"HTTP/1.1 2", PLAIN[:-1], CHUNKED[:-1]):
        parser = http1.Parser()
        assert not parser.feed(part)
        assert not parser.end()


@pytest.mark.parametrize("close", [b"Connection: close", b"connection: Close"])
def test_a_server_may_close(close):
    parser = http1.Parser()
    assert parser.feed(b"HTTP/1.1 200 OK\r\n" + close + b"\r\nContent-Length: 0\r\n\r\n")
    assert parser.closing


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
        b"x" * 70_000,
    ],
)
def test_what_is_no_response_is_refused(garbage):
    with pytest.raises(http1.BadResponse):
        http1.Parser().feed(garbage)
