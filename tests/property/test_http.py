"""The HTTP server's connection, whatever the bytes, their splits and the order of events."""

import itertools
import logging

import pytest
from http_fakes import Client, chunked, parse_answers, request
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.api import http, reader

TOKEN = st.text("abcXYZ019-_", min_size=1, max_size=8)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
TARGET = st.text("abc/%20?=&.~", max_size=20).map(lambda text: f"/{text}")
BODY = st.one_of(
    st.binary(max_size=50),
    # Around the slice, and around what is read in place.
    st.sampled_from([reader.SLICE - 1, reader.SLICE, 9000, 65_535, 65_536, 65_537, 140_000]).map(
        lambda size: bytes(index % 251 for index in range(size))
    ),
)


@st.composite
def requests(draw):
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]))
    headers = draw(st.dictionaries(TOKEN.map(lambda name: f"x_{name}"), VALUE, max_size=5))
    body = draw(BODY)
    if draw(st.booleans()):
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=4)))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
        return request(method, draw(TARGET), transfer_encoding="chunked", content_length=None, **headers).replace(
            b"\r\n\r\n", b"\r\n\r\n" + chunked(*pieces)
        )
    if draw(st.integers(0, 5)) == 0:
        headers |= {"connection": "upgrade", "upgrade": "h2c"}
    return request(method, draw(TARGET), body, **headers)


def pieces(data, cuts):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def echo(exchange):
    exchange.respond(200, [("X-Length", str(len(exchange.body)))], bytes(exchange.body))


def seen(data, cuts):
    client = Client(echo)
    for piece in pieces(data, cuts):
        client.send(piece)
    return client, [(each.method, each.path, each.query, each.headers, bytes(each.body)) for each in client.exchanges]


@settings(deadline=None)
@given(
    st.lists(requests(), min_size=1, max_size=4),
    st.sampled_from([b"", b"\r\n", b"rubbish\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST /"]),
    st.lists(st.integers(0, 1 << 20), max_size=12),
)
def test_splits_do_not_matter(sent, tail, cuts):
    data = b"".join(sent) + tail
    whole, expected = seen(data, [])
    split, got = seen(data, cuts)
    assert len(expected) == len(sent)
    assert got == expected
    assert split.sent == whole.sent
    assert whole.shared.budget.left == split.shared.budget.left == http.Limits().bytes_in_flight


@settings(deadline=None)
@given(
    st.lists(requests(), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 1 << 20)), min_size=2, max_size=12),
)
def test_requests_that_are_repeated_say_what_they_would_in_one_piece(distinct, order):
    sent = [distinct[index % len(distinct)] for index, _, _ in order]
    _, expected = seen(b"".join(sent), [])
    client = Client(echo)
    for data, (_, is_cut, cut) in zip(sent, order, strict=True):
        for piece in pieces(data, [cut] if is_cut else []):
            client.send(piece)
    got = [(each.method, each.path, each.query, each.headers, bytes(each.body)) for each in client.exchanges]
    assert len(expected) == len(sent)
    assert got == expected


@settings(deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3).map(b"".join).filter(lambda data: len(data) < 1000))
def test_every_byte_alone(data):
    assert seen(data, range(len(data)))[1] == seen(data, [])[1]


NEAR_HTTP = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"GET / HTTP/1.1\r\n",
                b"POST /a?b HTTP/1.1\r\n",
                b"GET / HTTP/1.0\r\n",
                b"HEAD * HTTP/2.0\r\n",
                b"Host: h\r\n",
                b"Content-Length: 5\r\n",
                b"Content-Length: 99999999\r\n",
                b"Content-Length: -1\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Connection: close\r\n",
                b"Connection: upgrade\r\nUpgrade: x\r\n",
                b"Expect: 100-continue\r\n",
                b"\r\n",
                b"\r",
                b"\n",
                b"5\r\nhello\r\n",
                b"0\r\n\r\n",
                b"ffffffffffffffff\r\n",
                b": ",
                b"\0",
            ]
        ),
        st.binary(max_size=20),
    ),
    max_size=25,
).map(b"".join)


class Alarm(logging.Handler):
    """Anything that the server logs is a failure: clients' mistakes are not worth a line, and ours are bugs."""

    def emit(self, record):
        raise AssertionError(record.getMessage(), record.exc_info)


@pytest.fixture(scope="module", autouse=True)
def _alarm():
    alarm = Alarm()
    logger = logging.getLogger("runtime.api")
    logger.addHandler(alarm)
    yield
    logger.removeHandler(alarm)


@settings(deadline=None)
@given(NEAR_HTTP, st.lists(st.integers(0, 1000), max_size=5), st.booleans())
def test_rubbish_ends_answered_or_closed(data, cuts, answering):
    client = Client(echo if answering else None, http.Limits(pipelined=3))
    for piece in pieces(data, cuts):
        client.send(piece)
    if answering:
        complete = (
            parse_answers(client.sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")) if b"HEAD" not in data else []
        )
        assert all(type(each) is tuple for each in complete)
    client.half_close()
    client.loop.advance(1000)
    if client.transport.reading:  # otherwise the application owes so many answers that nothing is read
        assert client.transport.lost
    client.transport.abort()
    client.loop.run()
    assert not client.loop.armed
    assert not client.shared.connections
    assert client.shared.budget.left == http.Limits().bytes_in_flight
    assert client.shared.room.left == http.Limits().unfinished_bytes


@settings(deadline=None)
@given(st.data(), st.integers(1, 12), st.integers(1, 5))
def test_answers_come_in_the_order_of_requests(data, count, pipelined):
    client = Client(None, http.Limits(pipelined=pipelined))
    client.send(b"".join(request(target=f"/{number}") for number in range(count)))
    left = list(client.exchanges)
    streaming = []
    answered = 0
    while left or streaming:
        if streaming and (not left or data.draw(st.booleans())):
            exchange = streaming.pop(data.draw(st.integers(0, len(streaming) - 1)))
            exchange.write(b"end")
            exchange.finish()
        else:
            exchange = left.pop(data.draw(st.integers(0, len(left) - 1)))
            if data.draw(st.booleans()):
                exchange.respond(200, [("X", exchange.path)], exchange.path.encode())
            else:
                exchange.start(200, [("X", exchange.path)])
                exchange.write(exchange.path.encode())
                streaming.append(exchange)
                continue
        answered += 1
        client.deliver()
        assert len(client.exchanges) <= answered + pipelined
        known = {*left, *streaming}
        left += [each for each in client.exchanges if each not in known and each.untouched]
    assert [headers["x"] for _, headers, _ in client.answers()] == [f"/{number}" for number in range(count)]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["send", "half", "respond", "start", "write", "finish", "abort", "read", "deaf", "time", "drain", "eof"]
        ),
        st.integers(0, 100),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(EVENTS)
@example([("send", 0), ("drain", 0), ("eof", 0), ("start", 0)])
def test_every_exchange_ends_once_whatever_happens(events):  # noqa: PLR0912 - one branch an event
    limits = http.Limits(pipelined=3, bytes_in_flight=300_000)
    client = Client(None, limits, high_water=500)
    told = []

    def watch(exchange):
        exchange.on_disconnect = lambda: told.append(exchange)

    client.application = watch
    for name, number in events:
        open_ = [each for each in client.exchanges if not (each.done or each.is_cut)]
        streaming = [each for each in open_ if not each.untouched]
        if name == "send" and not client.transport.lost:
            client.send(request("POST", body=bytes(number * 1000)))
        elif name == "half" and not client.transport.lost:
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\nabc")
        elif name == "respond" and (fresh := [each for each in open_ if each.untouched]):
            fresh[number % len(fresh)].respond(200, [], bytes(number * 10))
        elif name == "start" and (fresh := [each for each in open_ if each.untouched]):
            fresh[number % len(fresh)].start(200, [])
        elif name == "write" and streaming:
            streaming[number % len(streaming)].write(bytes(number * 10))
        elif name == "finish" and streaming:
            streaming[number % len(streaming)].finish()
        elif name == "abort" and number < 20 and open_:
            open_[number % len(open_)].abort()
        elif name in {"read", "deaf"}:
            client.transport.reads_answers = name == "read"
            client.transport.read_answers(None if name == "read" else 0)
        elif name == "time":
            client.loop.advance(number)
        elif name == "drain" and not client.transport.lost:
            client.connection.drain()
        elif name == "eof" and number < 20 and not client.transport.lost:
            client.half_close()
        client.deliver()
        waiting = [each for each in client.connection._queue if not each.done]
        assert len([each for each in client.exchanges if each in waiting]) <= limits.pipelined
    if not client.transport.lost:
        client.transport.abort()
        client.loop.run()
    assert len(told) == len(set(told))
    for exchange in client.exchanges:
        assert exchange.done or exchange.is_cut or exchange in told
        assert exchange.disconnected or exchange not in told
    assert client.shared.budget.left == limits.bytes_in_flight
    assert client.shared.room.left == limits.unfinished_bytes
    assert not client.loop.armed
    assert client.shared.empty.is_set()
