"""Heads that a client repeats on one connection: known again, and never taken for others."""

import pytest
from http_fakes import Client, request

ONE = request("POST", "/a?b=c", b"one", x="1")


class Parsed:
    """Counts what is parsed of a client's input."""

    def __init__(self, client):
        self._feed = client.connection._parse
        self.pieces = []
        client.connection._parse = self

    def __call__(self, piece):
        self.pieces.append(bytes(piece))
        return self._feed(piece)


def seen(client):
    return [(each.method, each.path, each.query, each.headers, bytes(each.body)) for each in client.exchanges]


def echo(exchange):
    exchange.respond(200, [], bytes(exchange.body))


@pytest.fixture
def client():
    return Client(echo)


def test_a_repeated_head_is_not_parsed_again_and_its_body_is_its_own(client):
    parsed = Parsed(client)
    for body in (b"one", b"two", b"six"):
        client.send(request("POST", "/a?b=c", body, x="1"))
    assert parsed.pieces == [ONE]
    expected = ("POST", "/a", "b=c", {"host": "h", "content-length": "3", "x": "1"})
    assert seen(client) == [(*expected, b"one"), (*expected, b"two"), (*expected, b"six")]
    assert client.sent.count(b"200 OK") == 3


@pytest.mark.parametrize(
    "other",
    [
        request("POST", "/a?b=d", b"one", x="1"),
        request("POST", "/a?b=c", b"one", x="2"),
        request("POST", "/a?b=c", b"four", x="1"),
        request("POST", "/a?b=c", b"one", x="1", y="1"),
        ONE + ONE,
        ONE[:-1],
        ONE + b"\r\n",
        b"\r\n" + ONE,
    ],
)
def test_whatever_differs_is_parsed(client, other):
    parsed = Parsed(client)
    client.send(ONE)
    client.send(other)
    assert parsed.pieces == [ONE, other]


def test_what_comes_between_makes_the_next_one_be_parsed(client):
    parsed = Parsed(client)
    client.send(ONE)
    client.send(ONE[:10])
    client.send(ONE[10:])
    client.send(ONE)
    client.send(ONE)
    assert parsed.pieces == [ONE, ONE[:10], ONE[10:], ONE]
    assert len(client.exchanges) == 4


@pytest.mark.parametrize(
    "once",
    [
        request("GET", "/a", b""),
        request("POST", "/a", b"one", authorization="AWS4-HMAC-SHA256 x"),
        request("POST", "/a", b"one", expect="100-continue"),
        request("POST", "/a", b"one", connection="upgrade", upgrade="h2c"),
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        b"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\none",
        b"\r\n\r\n" + request("POST", "/a", b"one"),
        request("POST", "/a", b"x" * 4096),
    ],
    ids=["GET", "signed", "expect", "upgrade", "chunked", "HTTP/1.0", "blank lines", "long"],
)
def test_what_is_never_known_again(client, once):
    client.send(once)
    assert client.connection._known is None
    client.send(once)
    assert len(client.exchanges) == 2
    first, second = seen(client)
    assert first == second


def test_the_end_of_a_head_that_looks_like_a_request_is_none(client):
    # What is sent as a piece of its own stands in the middle of a header.
    inner = b"POST /inner HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\none"
    client.send(b"POST /outer HTTP/1.1\r\nX: ")
    client.send(inner)
    assert [each.path for each in client.exchanges] == ["/outer"]
    client.send(inner)
    assert [each.path for each in client.exchanges] == ["/outer", "/inner"]


def test_the_rest_of_a_request_that_began_behind_another_is_none(client):
    client.send(ONE + b"PO")
    rest = request("POST", "/b", b"two")[2:]
    client.send(rest)
    client.send(rest)
    assert [each.path for each in client.exchanges] == ["/a", "/b"]
    assert b"400 Bad Request" in client.sent


@pytest.mark.parametrize(("state", "taken"), [("finished", len(ONE)), ("stalled", 0)])
def test_no_repeat_is_taken_where_no_request_is(client, state, taken):
    client.send(ONE)
    setattr(client.connection, state, True)
    assert client.connection.feed(memoryview(ONE)) == taken
    assert len(client.exchanges) == 1
