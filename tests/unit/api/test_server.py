"""The HTTP server's connection on a fake transport and clock."""

import gc
import logging
import resource
import socket
from pathlib import Path

import pytest
from http_fakes import Client, chunked, echo, hello, message_of, request

from runtime.api import connection, heads, http, reader

MB = 1024 * 1024
POST_100_000 = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"


def one(data, application=hello, limits=None):
    """Send bytes, return the client and the only answer."""
    client = Client(application, limits)
    client.send(data)
    (answer,) = client.answers()
    return client, answer


def refused(data, limits=None):
    """Send bytes that must be refused; return status and headers."""
    client, answer = one(data, limits=limits)
    assert not client.exchanges
    assert answer[1]["connection"] == "close"
    assert message_of(answer)
    assert client.transport.closing or client.transport.eof
    return answer[0]


def memory_of_this_process():
    """Return its resident bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


class TestRequest:
    def test_what_the_application_sees(self):
        client, answer = one(
            b"POST /a%20b/c?x=%31&y HTTP/1.1\r\nHost: h\r\nX-One: 1 \t\r\nx-one:2\r\nEmpty:\r\n"
            b"Latin: \xe9\r\nContent-Length: 3\r\n\r\nabc"
        )
        (exchange,) = client.exchanges
        assert (exchange.method, exchange.path, exchange.query) == ("POST", "/a%20b/c", "x=%31&y")
        assert exchange.headers == {
            "host": "h",
            "x-one": "1, 2",
            "empty": "",
            "latin": "é",
            "content-length": "3",
        }
        assert exchange.body == b"abc"
        assert exchange.peer == "192.0.2.7"
        assert not exchange.disconnected
        assert answer == (
            200,
            {"date": "Sun, 06 Nov 1994 08:49:37 GMT", "content-type": "text/plain", "content-length": "5"},
            b"hello",
        )

    def test_an_answer_is_one_write(self):
        client, _ = one(request())
        assert client.transport.writes == 1

    @pytest.mark.parametrize(
        ("target", "path", "query", "host"),
        [
            (b"http://other:80/a?b", "/a", "b", "other:80"),
            (b"http://other", "/", "", "other"),
            (b"http://other?b", "/", "b", "other"),
            (b"/?", "/", "", "h"),
            (b"/a?b?c", "/a", "b?c", "h"),
            (b"//a", "//a", "", "h"),
        ],
    )
    def test_targets(self, target, path, query, host):
        client, _ = one(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
        (exchange,) = client.exchanges
        assert (exchange.path, exchange.query, exchange.headers["host"]) == (path, query, host)

    def test_options_star(self):
        client, _ = one(request("OPTIONS", "*"))
        assert client.exchanges[0].path == "*"

    def test_keep_alive(self):
        client = Client(hello)
        for _ in range(3):
            client.send(request())
        assert [answer[0] for answer in client.answers()] == [200] * 3
        assert not client.transport.closing

    def test_connection_close_is_honoured(self):
        client, answer = one(request(connection="close"))
        assert answer[1]["connection"] == "close"
        assert client.transport.closing

    def test_http10_closes(self):
        client, answer = one(b"GET / HTTP/1.0\r\n\r\n")
        assert answer[1]["connection"] == "close"
        assert client.transport.closing

    def test_http10_keep_alive(self):
        client, answer = one(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert answer[1]["connection"] == "keep-alive"
        assert not client.transport.closing

    def test_http11_needs_no_keep_alive_header(self):
        _, answer = one(request(connection="keep-alive"))
        assert "connection" not in answer[1]

    def test_an_offered_upgrade_is_not_taken(self):
        client = Client(hello)
        client.send(request(connection="Upgrade", upgrade="websocket") + request(target="/next"))
        assert [exchange.path for exchange in client.exchanges] == ["/", "/next"]

    @pytest.mark.parametrize("size", [1, 5000, 200_000])
    def test_an_offered_upgrade_with_a_body(self, size):
        body = bytes(range(256)) * (size // 256 + 1)
        client = Client(echo)
        client.send(request("POST", connection="Upgrade, HTTP2-Settings", upgrade="h2c", body=body) + request("POST"))
        first, second = client.answers()
        assert first[2] == body
        assert second[2] == b""

    def test_peer_of_a_unix_socket(self):
        client = Client(hello)
        client.transport.get_extra_info = lambda _name: ""
        client.connection.connection_made(client.transport)
        assert client.connection.peer is None


class TestBody:
    @pytest.mark.parametrize("size", [0, 1, 1000, 4096, 65536, 65537, 131073, 3 * MB + 7])
    @pytest.mark.parametrize("step", [None, 70_001])
    def test_any_size_comes_whole(self, size, step):
        body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
        data = request("POST", body=body) + request("POST", body=b"next")
        client = Client(echo)
        for start in range(0, len(data), step or len(data)):
            client.send(data[start : start + (step or len(data))])
        assert [answer[2] for answer in client.answers()] == [body, b"next"]
        assert client.shared.budget.left == http.Limits().bytes_in_flight

    def test_an_announced_body_reserves_no_memory(self):
        client = Client(hello)
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 70000000\r\n\r\n")
        assert len(client.connection._buffer.data) <= 64 * 1024
        resident = memory_of_this_process()
        client.send(bytes(300_000))
        assert memory_of_this_process() - resident <= 8 * MB

    def test_a_large_body_is_read_in_place(self):
        client = Client(hello)
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        room = client.connection.get_buffer(-1)
        assert room.obj is client.connection._buffer.data
        room.release()
        client.send(bytes(1_000_000))
        assert type(client.exchanges[0].body) is bytearray

    def test_chunked(self):
        client = Client(echo)
        client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
            b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nHost: evil\r\nX-Late: 1\r\n\r\n" + request()
        )
        assert [answer[2] for answer in client.answers()] == [b"abcde", b""]
        assert client.exchanges[0].headers == {"host": "h", "transfer-encoding": "Chunked"}

    def test_large_chunked(self):
        body = bytes(range(256)) * 1000
        client, answer = one(
            request("POST", transfer_encoding="chunked", content_length=None) + chunked(body[:100_000], body[100_000:]),
            echo,
        )
        assert answer[2] == body
        assert client.shared.budget.left == http.Limits().bytes_in_flight


class TestRefusal:
    @pytest.mark.parametrize(
        ("status", "data"),
        [
            (400, b"rubbish\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\n\r\n"),  # no Host
            (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            (400, b"GET / HTTP/1.1\nHost: a\n\n"),
            (400, b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
            (400, b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"),
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na"),
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na"),
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na"),
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na"),
            (
                400,
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            (
                400,
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
            ),
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"),
            (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
            (
                400,
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            (
                501,
                b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            (417, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: more\r\n\r\n"),
            (501, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
            (501, b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (501, b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n"),
            (400, b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
            (505, b"GET /\r\n\r\n"),
            (505, b"GET /x\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
            (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            (400, b"GET foo://h HTTP/1.1\r\n\r\n"),
            (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),  # a TLS client
        ],
    )
    def test_bad_requests(self, status, data):
        assert refused(data) == status

    def test_nothing_after_a_bad_request_is_served(self):
        client = Client(hello)
        client.send(request() + b"rubbish\r\n\r\n" + request() * 3)
        client.send(request())
        assert [answer[0] for answer in client.answers()] == [200, 400]
        assert len(client.exchanges) == 1

    def test_limit_of_headers(self):
        limits = http.Limits(header_bytes=1000)
        fitting = 1000 - len("host" + "h") - 4 - len("x") - 4
        assert one(request(x="a" * fitting), limits=limits)[1][0] == 200
        assert refused(request(x="a" * (fitting + 1)), limits) == 431
        assert refused(request(**{f"x{number}": "" for number in range(200)}), limits) == 431

    def test_a_header_without_end(self):
        client = Client(hello)
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        client.send(b"a" * 4096 * 24)
        assert client.answers()[0][0] == 431

    def test_limit_of_repeated_headers(self):
        assert refused(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: 1\r\n" * 200 + b"\r\n") == 431

    def test_limit_of_the_target(self):
        limits = http.Limits(target_bytes=100)
        assert one(request(target="/" + "a" * 99), limits=limits)[1][0] == 200
        assert refused(request(target="/" + "a" * 100), limits) == 414
        assert refused(b"GET /" + b"a" * 20_000) == 414

    def test_limit_of_the_body(self):
        limits = http.Limits(body_bytes=10)
        assert one(request("POST", body=b"a" * 10), limits=limits)[1][0] == 200
        assert refused(request("POST", body=b"a" * 11), limits) == 413
        assert refused(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", limits) == 413
        start = request("POST", content_length=None, transfer_encoding="chunked")
        assert one(start + chunked(b"a" * 5, b"b" * 5), limits=limits)[1][0] == 200
        assert refused(start + chunked(b"a" * 5, b"b" * 6), limits) == 413

    def test_limit_by_path(self):
        asked = []

        def limit(method, path):
            asked.append((method, path))
            return 100_000 if path == "/small" else 300_000

        limits = http.Limits(body_bytes=200_000, body_limit=limit)
        assert one(request("PUT", "/large?q", b"a" * 200_000), limits=limits)[1][0] == 200
        assert refused(request("PUT", "/large", b"a" * 200_001), limits) == 413
        assert refused(request("PUT", "/small", b"a" * 100_001), limits) == 413
        assert asked == [("PUT", "/large"), ("PUT", "/large"), ("PUT", "/small")]

    def test_limit_of_all_bodies_in_flight(self):
        client = Client(None, http.Limits(bytes_in_flight=150_000))
        client.send(request("POST", body=bytes(100_000)))
        other = Client(None, shared=client.shared)
        other.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        assert other.answers()[0][0] == 503
        hello(client.exchanges[0])
        third = Client(None, shared=client.shared)
        third.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        assert not third.sent
        third.transport.abort()
        client.loop.run()
        assert client.shared.budget.left == 150_000

    def test_a_large_body_waits_while_others_fill_the_room(self):
        client = Client(echo, http.Limits(unfinished_bytes=150_000))
        client.send(POST_100_000 + b"a" * 1000)
        other = Client(echo, shared=client.shared)
        other.send(POST_100_000 + b"b" * 100_000 + request())
        assert not client.exchanges
        assert other.connection._buffer is None
        assert not other.transport.reading
        client.send(b"a" * 99_000)
        client.loop.run()
        other.deliver()
        assert [len(each.body) for each in client.exchanges] == [100_000, 100_000, 0]
        assert client.shared.room.left == 150_000

    def test_those_who_wait_for_room_have_their_turn_in_order(self):
        client = Client(echo, http.Limits(unfinished_bytes=150_000))
        client.send(POST_100_000)
        waiting = [Client(echo, shared=client.shared) for _ in range(3)]
        for each in waiting:
            each.send(POST_100_000)
        # A small one would fit, but must not overtake for ever.
        small = Client(echo, shared=client.shared)
        small.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n")
        assert [each.connection.waits_for_room for each in (*waiting, small)] == [True] * 4
        client.transport.abort()
        client.loop.run()
        assert [each.connection.waits_for_room for each in (*waiting, small)] == [False, True, True, True]
        waiting[1].transport.abort()
        waiting[0].transport.abort()
        client.loop.run()
        assert [each.connection.waits_for_room for each in (*waiting[2:], small)] == [False, True]

    def test_invocations_do_not_wait_for_uploads(self):
        client = Client(echo, http.Limits(unfinished_bytes=3_000_000))
        uploads = [Client(echo, shared=client.shared) for _ in range(3)]
        for each in uploads:
            each.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1500000\r\n\r\n")
        assert [each.connection.waits_for_room for each in uploads] == [False, True, True]
        for _ in range(3):
            client.send(POST_100_000 + b"a" * 100_000)
        assert [answer[0] for answer in client.answers()] == [200] * 3
        client.loop.advance(6)
        assert uploads[0].answers()[0][0] == 408
        assert [each.connection.waits_for_room for each in uploads] == [False, False, True]

    def test_who_waited_for_room_may_still_find_too_many_in_flight(self):
        client = Client(None, http.Limits(unfinished_bytes=150_000, bytes_in_flight=150_000))
        client.send(POST_100_000)
        other = Client(None, shared=client.shared)
        other.send(POST_100_000 + b"b")
        assert not other.sent
        client.send(b"a" * 100_000)
        client.loop.run()
        assert other.answers()[0][0] == 503
        assert client.shared.room.left == 150_000
        assert client.shared.budget.left == 50_000

    def test_who_waits_is_not_told_to_go_on(self):
        client = Client(echo, http.Limits(unfinished_bytes=150_000))
        client.send(POST_100_000)
        other = Client(echo, shared=client.shared)
        other.send(request("POST", content_length="100000", expect="100-continue"))
        assert not other.sent
        client.send(b"a" * 100_000)
        client.loop.run()
        assert other.sent == b"HTTP/1.1 100 Continue\r\n\r\n"

    def test_a_body_larger_than_the_room_comes_alone(self):
        client = Client(echo, http.Limits(unfinished_bytes=1000))
        client.send(POST_100_000 + b"a" * 100_000)
        assert client.answers()[0][0] == 200
        assert client.shared.room.left == 1000

    def test_a_chunked_body_waits_as_well(self):
        client = Client(echo, http.Limits(unfinished_bytes=150_000, body_bytes=120_000))
        client.send(POST_100_000)
        other = Client(echo, shared=client.shared)
        data = request("POST", content_length=None, transfer_encoding="chunked") + chunked(b"b" * 110_000)
        other.send(data)
        assert not client.exchanges
        assert other.connection.waits_for_room
        client.send(b"a" * 100_000)
        client.loop.run()
        other.deliver()
        assert len(client.exchanges[1].body) == 110_000
        assert client.shared.room.left == 150_000

    @pytest.mark.parametrize("arrived", [0, 50_000])
    def test_a_body_that_others_wait_for_has_to_come_fast(self, arrived):
        limits = http.Limits(unfinished_bytes=150_000)
        client = Client(echo, limits)
        client.send(POST_100_000 + b"a" * arrived)
        other = Client(echo, shared=client.shared)
        client.loop.advance(4)
        assert not client.sent
        other.send(POST_100_000)
        client.loop.advance(2)
        assert client.answers()[0][0] == 408
        assert not other.connection.waits_for_room
        other.send(b"b" * 100_000)
        assert other.answers()[0][0] == 200

    def test_without_others_a_slow_body_has_its_time(self):
        client = Client(echo, http.Limits(unfinished_bytes=150_000))
        client.send(POST_100_000)
        client.loop.advance(20)
        client.send(b"a" * 100_000)
        assert client.answers()[0][0] == 200

    def test_who_waits_for_room_in_vain_is_told(self):
        limits = http.Limits(unfinished_bytes=150_000, hurried_timeout_s=100)
        client = Client(echo, limits)
        client.send(POST_100_000)
        other = Client(echo, shared=client.shared)
        client.loop.advance(20)
        other.send(POST_100_000 + b"b")
        client.loop.advance(29)
        assert not other.sent
        client.send(b"a")
        client.loop.advance(2)
        (answer,) = other.answers()
        assert (answer[0], message_of(answer)) == (503, "Too many large requests are coming in.")

    def test_chunked_bodies_count_as_they_grow(self):
        client = Client(None, http.Limits(bytes_in_flight=150_000))
        client.send(request("POST", content_length=None, transfer_encoding="chunked") + b"fffff\r\n")
        client.send(bytes(100_000))
        assert not client.sent
        client.send(bytes(100_000))
        assert client.answers()[0][0] == 503
        assert client.shared.budget.left == 150_000

    @pytest.mark.parametrize("filler", [b"1;" + b"e" * 4000 + b"\r\na\r\n", b"0\r\nTrailer: " + b"a" * 4000])
    def test_what_surrounds_chunks_is_bounded(self, filler):
        client = Client(None)
        client.send(request("POST", content_length=None, transfer_encoding="chunked") + filler)
        client.send((filler if filler.startswith(b"1") else b"a" * 4000) * 60)
        assert client.answers()[0][0] == 400

    def test_tiny_chunks_are_fine(self):
        _, answer = one(
            request("POST", content_length=None, transfer_encoding="chunked") + chunked(*[b"a"] * 50_000),
            echo,
        )
        assert answer[2] == b"a" * 50_000

    def test_the_refusals_can_be_shaped(self):
        def refusal(status, message, method, path):
            return [("X-Error", message)], f"{status} {method} {path}".encode()

        client = Client(hello, http.Limits(body_bytes=1))
        client.shared.refusal = refusal
        client.send(request("POST", "/a?b", b"ab"))
        (answer,) = client.answers()
        assert answer[1]["x-error"] == "The request body is too large."
        assert answer[2] == b"413 POST /a"

    def test_an_error_in_shaping_a_refusal(self, caplog):
        client = Client(hello)
        client.shared.refusal = lambda *_: 1 / 0
        client.send(b"rubbish\r\n")
        assert client.answers()[0][0] == 400
        assert "ZeroDivisionError" in caplog.text

    def test_too_many_connections(self):
        first = Client(hello, http.Limits(connections=1))
        second = Client(hello, shared=first.shared)
        assert second.answers()[0][0] == 503
        first.loop.run()
        assert second.transport.lost
        first.send(request())
        assert first.answers()[0][0] == 200

    def test_a_refused_client_is_listened_to_until_it_stops(self):
        client = Client(hello, http.Limits(body_bytes=10))
        client.send(request("POST", body=bytes(100)))
        assert client.transport.eof
        assert not client.transport.closing
        client.send(bytes(100_000))
        client.half_close()
        assert client.transport.lost
        assert client.answers()[0][0] == 413

    def test_lingering_ends(self):
        client = Client(hello, http.Limits(body_bytes=10, linger_s=30))
        client.send(request("POST", body=bytes(100)))
        client.loop.advance(29)
        assert not client.transport.lost
        client.loop.advance(2)
        assert client.transport.lost


class TestExpect:
    start = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n"
    go_ahead = b"HTTP/1.1 100 Continue\r\n\r\n"

    def test_the_client_is_told_to_go_ahead_once(self):
        client = Client(echo)
        client.send(self.start)
        assert client.sent == self.go_ahead
        client.send(b"ab")
        client.send(b"c")
        assert client.sent.count(self.go_ahead) == 1
        assert client.sent.endswith(b"\r\n\r\nabc")

    def test_not_when_the_body_is_there(self):
        _, answer = one(self.start + b"abc", echo)
        assert answer[2] == b"abc"

    def test_not_when_the_body_begins(self):
        client = Client(echo)
        client.send(self.start + b"a")
        assert not client.sent

    def test_chunked(self):
        client = Client(echo)
        client.send(
            request("POST", content_length=None, transfer_encoding="chunked", expect="100-continue"),
        )
        assert client.sent == self.go_ahead

    def test_not_without_a_body(self):
        _, answer = one(request("POST", expect="100-continue"))
        assert answer[0] == 200

    def test_not_for_http10(self):
        client = Client(echo)
        client.send(self.start.replace(b"1.1", b"1.0"))
        assert not client.sent

    def test_too_large_is_said_at_once(self):
        assert refused(self.start, http.Limits(body_bytes=2)) == 413

    def test_only_after_the_answers_before_it(self):
        client = Client()
        client.send(request() + self.start)
        assert not client.sent
        hello(client.exchanges[0])
        assert client.sent.endswith(b"hello" + self.go_ahead)
        client.send(b"abc")
        assert client.exchanges[1].body == b"abc"


class TestResponse:
    def test_head_has_no_body(self):
        client = Client(hello)
        client.send(request("HEAD"))
        assert client.sent.endswith(b"Content-Length: 5\r\n\r\n")

    @pytest.mark.parametrize("status", [204, 304])
    def test_bodiless_statuses(self, status):
        client = Client(lambda exchange: exchange.respond(status, [], b"none"))
        client.send(request() * 2)
        assert client.sent.count(b"HTTP/1.1 %d " % status) == 2
        assert b"Content-Length" not in client.sent
        assert b"none" not in client.sent

    def test_a_large_body_is_not_copied(self):
        body = bytes(MB)
        client = Client(lambda exchange: exchange.respond(200, [], body))
        client.send(request())
        assert client.answers()[0][2] == body
        assert client.transport.writes == 2

    def test_unknown_status(self):
        assert one(request(), lambda exchange: exchange.respond(299, [], b""))[1][0] == 299

    @pytest.mark.parametrize(
        ("status", "headers"),
        [
            (200, [("X", "a\r\nY: b")]),
            (200, [("X", "a\nY")]),
            (200, [("X", "a\r")]),
            (200, [("X\r\nY", "a")]),
            (200, [("X", "\0")]),
            (200, [("X", "€")]),
            (100, []),
            (1000, []),
        ],
    )
    def test_a_response_that_cannot_be_sent_is_our_error(self, status, headers, caplog):
        with caplog.at_level(logging.CRITICAL):
            _, answer = one(request(), lambda exchange: exchange.respond(status, headers, b"secret"))
        assert answer[0] == 500
        assert b"secret" not in answer[2]

    def test_an_error_of_the_application(self, caplog):
        def fail(_exchange):
            raise KeyError("boom")

        client = Client(fail)
        client.send(request(target="/path") * 2)
        assert [(status, body) for status, _, body in client.answers()] == [
            (500, b'{"message": "Internal server error"}')
        ] * 2
        assert caplog.text.count("the application failed on GET /path") == 2
        assert caplog.text.count("KeyError: 'boom'") == 2
        assert not client.transport.closing

    def test_an_error_after_the_answer(self, caplog):
        def fail(exchange):
            hello(exchange)
            raise KeyError("boom")

        _, answer = one(request(), fail)
        assert answer[0] == 200
        assert "boom" in caplog.text

    def test_answering_twice(self):
        client, _ = one(request())
        (exchange,) = client.exchanges
        for again in (lambda: hello(exchange), lambda: exchange.start(200, []), exchange.finish):
            with pytest.raises(RuntimeError):
                again()
        with pytest.raises(RuntimeError):
            exchange.write(b"a")
        exchange.abort()
        assert len(client.answers()) == 1
        assert not client.transport.closing

    def test_the_date_is_made_once_a_second(self):
        now = [0.0]
        dates = heads.Dates(lambda: now[0])
        first = dates.line()
        assert first == "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        now[0] = 0.9
        assert dates.line() is first
        now[0] = 1.0
        assert dates.line() == "Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n"


class TestStream:
    def test_chunks(self):
        client = Client()
        client.send(request())
        (exchange,) = client.exchanges
        exchange.start(200, [("X", "1")])
        exchange.write(b"abc")
        exchange.write(b"")
        exchange.write(b"d" * 20)
        assert client.sent.endswith(b"\r\n\r\n3\r\nabc\r\n14\r\n" + b"d" * 20 + b"\r\n")
        exchange.finish()
        ((status, headers, body),) = client.answers()
        assert (status, headers["x"], body) == (200, "1", b"abc" + b"d" * 20)
        assert "content-length" not in headers
        client.send(request())
        assert len(client.exchanges) == 2

    def test_http10_ends_with_the_connection(self):
        client = Client()
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        (exchange,) = client.exchanges
        exchange.start(200, [])
        exchange.write(b"abc")
        exchange.finish()
        assert b"Transfer-Encoding" not in client.sent
        assert b"Connection: close" in client.sent
        assert client.sent.endswith(b"\r\n\r\nabc")
        assert client.transport.closing

    def test_head(self):
        client = Client()
        client.send(request("HEAD"))
        (exchange,) = client.exchanges
        exchange.start(200, [])
        exchange.write(b"abc")
        exchange.finish()
        assert client.sent.endswith(b"Transfer-Encoding: chunked\r\n\r\n")
        assert not client.transport.closing

    def test_abort_of_chunks_leaves_out_the_last(self):
        client = Client()
        client.send(request())
        (exchange,) = client.exchanges
        exchange.on_disconnect = lambda: pytest.fail("we ended it ourselves")
        exchange.start(200, [])
        exchange.write(b"abc")
        exchange.abort()
        exchange.write(b"more")
        exchange.finish()
        client.loop.run()
        assert client.transport.lost
        assert client.sent.endswith(b"3\r\nabc\r\n")

    @pytest.mark.parametrize("begun", [False, True])
    def test_abort_without_chunks_resets(self, begun):
        client = Client()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        (exchange,) = client.exchanges
        if begun:
            exchange.start(200, [])
        exchange.abort()
        assert client.transport.aborted
        assert client.transport.socket.options == [(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")]

    def test_abort_waits_for_its_turn(self):
        client = Client()
        client.send(request() * 3)
        first, second, third = client.exchanges
        third.on_disconnect = lambda: gone.append(third)
        gone = []
        second.start(200, [])
        second.write(b"abc")
        second.abort()
        assert not client.sent
        hello(first)
        client.loop.run()
        assert client.transport.lost
        assert client.sent.endswith(b"hello" + client.sent.partition(b"hello")[2])
        assert client.sent.endswith(b"3\r\nabc\r\n")
        assert gone == [third]

    def test_an_error_of_the_application_in_the_middle(self, caplog):
        def fail(exchange):
            exchange.start(200, [])
            exchange.write(b"abc")
            raise KeyError("boom")

        client = Client(fail)
        client.send(request())
        assert client.sent.endswith(b"3\r\nabc\r\n")
        assert client.transport.lost
        assert "boom" in caplog.text

    def test_back_pressure(self):
        client = Client(high_water=1000)
        client.send(request())
        (exchange,) = client.exchanges
        drained = []
        exchange.on_drain = lambda: drained.append(exchange.writable)
        client.transport.reads_answers = False
        exchange.start(200, [])
        assert exchange.writable
        exchange.write(b"a" * 2000)
        assert not exchange.writable
        client.transport.read_answers(100)
        assert not drained
        client.transport.read_answers()
        assert drained == [True]
        exchange.finish()

    def test_one_that_must_wait_for_its_turn_is_not_writable(self):
        client = Client()
        client.send(request() * 2)
        first, second = client.exchanges
        drained = []
        second.on_drain = lambda: drained.append(second.writable)
        second.start(200, [])
        second.write(b"early")
        assert not second.writable
        hello(first)
        assert drained == [True]
        second.write(b"late")
        second.finish()
        assert [answer[2] for answer in client.answers()] == [b"hello", b"earlylate"]


class TestPipeline:
    def test_answers_keep_the_order_of_requests(self):
        client = Client()
        client.send(b"".join(request(target=f"/{number}") for number in range(4)))
        zero, one_, two, three = client.exchanges
        two.respond(200, [], b"2")
        one_.respond(200, [], b"1")
        assert not client.sent
        zero.respond(200, [], b"0")
        assert [answer[2] for answer in client.answers()] == [b"0", b"1", b"2"]
        three.respond(200, [], b"3")
        assert [answer[2] for answer in client.answers()] == [b"0", b"1", b"2", b"3"]

    def test_a_refusal_waits_for_the_answers_before_it(self):
        client = Client()
        client.send(request() + b"rubbish\r\n")
        assert not client.sent
        hello(client.exchanges[0])
        assert [answer[0] for answer in client.answers()] == [200, 400]

    def test_close_is_the_end(self):
        client = Client(hello)
        client.send(request() + request(connection="close") + request() * 5)
        assert len(client.answers()) == 2
        assert len(client.exchanges) == 2
        assert client.transport.lost

    def test_the_application_gets_only_so_many(self):
        client = Client(None, http.Limits(pipelined=4))
        client.send(b"".join(request(target=f"/{number}") for number in range(1000)))
        assert len(client.exchanges) == 4
        assert not client.transport.reading
        assert len(client.connection._queue) < 200
        for number in range(1000):
            client.exchanges[number].respond(200, [], b"%d" % number)
            client.deliver()
            assert len(client.exchanges) <= number + 5
        assert [int(answer[2]) for answer in client.answers()] == list(range(1000))
        assert client.transport.reading

    def test_many_that_are_answered_at_once(self):
        client = Client(hello, http.Limits(pipelined=2))
        client.send(request() * 3000)
        assert len(client.answers()) == 3000

    def test_an_application_that_answers_all_at_once_later(self):
        client = Client(None, http.Limits(pipelined=2))
        client.send(request() * 500)
        hello(client.exchanges[0])
        client.application = hello
        hello(client.exchanges[1])
        client.deliver()
        assert len(client.answers()) == 500

    def test_a_client_that_does_not_read_is_not_served_on(self):
        client = Client(lambda exchange: exchange.respond(200, [], b"x" * 10_000), high_water=50_000)
        client.transport.reads_answers = False
        client.send(request() * 100)
        assert len(client.exchanges) == 5
        assert not client.transport.reading
        while client.transport.unsent:
            client.transport.read_answers()
            client.deliver()
        assert len(client.answers()) == 100
        assert client.transport.reading

    def test_nor_one_that_reads_nothing_of_what_was_late(self):
        client = Client(None, high_water=50_000)
        client.transport.reads_answers = False
        client.send(request())
        client.exchanges[0].respond(200, [], bytes(100_000))
        client.send(request())
        assert len(client.exchanges) == 1
        client.transport.read_answers()
        client.deliver()
        assert len(client.exchanges) == 2


def hold_on_to(exchange):
    exchange.on_disconnect = exchange.on_drain = lambda: exchange.body


def connections_alive():
    return sum(type(each) is connection.Connection for each in gc.get_objects())


class TestDisconnect:
    def test_open_exchanges_are_told_once(self):
        client = Client()
        client.send(request() * 2)
        told = []
        for exchange in client.exchanges:
            exchange.on_disconnect = lambda exchange=exchange: told.append(exchange)
        client.transport.abort()
        client.loop.run()
        assert told == client.exchanges
        assert all(exchange.disconnected for exchange in client.exchanges)

    def test_answering_one_that_left_does_nothing(self):
        client = Client()
        client.send(request() * 2)
        client.transport.abort()
        client.loop.run()
        first, second = client.exchanges
        hello(first)
        second.start(200, [])
        second.write(b"abc")
        second.finish()
        assert not client.sent
        with pytest.raises(RuntimeError):
            hello(first)

    @pytest.mark.parametrize("begin", [hello, lambda exchange: exchange.start(200, [])])
    def test_nor_does_it_while_draining(self, begin):
        client = Client()
        client.send(request())
        client.connection.drain()
        client.half_close()
        begin(client.exchanges[0])
        assert not client.sent

    def test_answered_exchanges_are_not_told(self):
        client = Client(hello)
        client.send(request())
        client.exchanges[0].on_disconnect = lambda: pytest.fail("it was answered")
        client.transport.abort()
        client.loop.run()
        assert not client.exchanges[0].disconnected

    def test_half_close_cancels(self):
        client = Client()
        client.send(request())
        told = []
        client.exchanges[0].on_disconnect = lambda: told.append(True)
        client.half_close()
        assert told == [True]
        assert client.transport.lost
        hello(client.exchanges[0])
        assert not client.sent

    def test_half_close_loses_no_answer_that_was_given(self):
        client = Client(hello)
        client.transport.reads_answers = False
        client.send(request())
        client.half_close()
        assert not client.transport.lost
        client.transport.read_answers()
        client.loop.run()
        assert client.transport.lost
        assert client.answers()[0][0] == 200

    def test_half_close_cancels_even_while_an_answer_is_still_being_sent(self):
        client = Client()
        client.transport.reads_answers = False
        client.send(request() * 2)
        hello(client.exchanges[0])
        client.half_close()
        assert not client.transport.lost
        assert client.exchanges[1].disconnected
        hello(client.exchanges[1])
        client.transport.read_answers()
        client.loop.run()
        assert len(client.answers()) == 1

    def test_a_client_that_is_gone_when_it_is_refused(self):
        client = Client()

        def write_eof():
            raise OSError(107, "Transport endpoint is not connected")

        client.transport.write_eof = write_eof
        client.send(b"rubbish\r\n")
        client.half_close()
        assert client.transport.lost

    def test_half_close_in_the_middle_of_a_request(self):
        for part in (b"G", b"GET / HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc"):
            client = Client()
            client.send(part)
            client.half_close()
            assert client.transport.lost
            assert not client.sent
            assert not client.exchanges
            assert client.shared.budget.left == http.Limits().bytes_in_flight

    def test_an_error_in_the_callback(self, caplog):
        client = Client()
        client.send(request() * 2)
        told = []
        client.exchanges[0].on_disconnect = lambda: 1 / 0
        client.exchanges[1].on_disconnect = lambda: told.append(True)
        client.transport.abort()
        client.loop.run()
        assert told == [True]
        assert "ZeroDivisionError" in caplog.text

    def test_nothing_is_left(self):
        client = Client()
        client.send(request("POST", body=bytes(100_000)) + request())
        for number in range(2):
            hold_on_to(client.exchanges[number])
        client.transport.abort()
        client.loop.run()
        assert client.shared.budget.left == http.Limits().bytes_in_flight
        assert not client.shared.connections
        assert not client.loop.armed
        gc.collect()
        gc.disable()
        before = connections_alive()
        try:
            client.exchanges.clear()
            client.transport.protocol = client.connection = None
            assert connections_alive() == before - 1  # freed by its reference count, without the collector
        finally:
            gc.enable()


class TestTime:
    limits = http.Limits(idle_timeout_s=60, header_timeout_s=10, body_timeout_s=20, body_rate=1000, send_timeout_s=30)

    def test_idle(self):
        client = Client(hello, self.limits)
        client.loop.advance(50)
        client.send(request())
        client.loop.advance(59)
        assert not client.transport.closing
        client.loop.advance(2)
        assert client.transport.lost
        assert len(client.answers()) == 1

    def test_a_request_being_served_has_all_the_time(self):
        client = Client(None, self.limits)
        client.send(request())
        client.loop.advance(10_000)
        hello(client.exchanges[0])
        assert len(client.answers()) == 1
        client.loop.advance(59)
        assert not client.transport.closing
        client.loop.advance(2)
        assert client.transport.closing

    def test_slow_headers(self):
        client = Client(hello, self.limits)
        client.loop.advance(30)
        for byte in b"GET / HTTP/1.1":
            client.send(bytes([byte]))
            client.loop.advance(0.5)
        assert not client.sent
        client.loop.advance(10)
        assert client.answers()[0][0] == 408

    def test_slow_body(self):
        client = Client(hello, self.limits)
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        client.loop.advance(19)
        assert not client.sent
        client.loop.advance(2)
        assert client.answers()[0][0] == 408

    @pytest.mark.parametrize("large", [False, True])
    def test_a_body_that_comes_fast_enough(self, large):
        client = Client(hello, self.limits)
        if large:
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        else:
            client.send(request("POST", content_length=None, transfer_encoding="chunked") + b"fffff\r\n")
        for _ in range(100):
            client.send(b"a" * 2000)
            client.loop.advance(2)
            assert not client.sent
        client.loop.advance(20)
        assert client.answers()[0][0] == 408

    def test_headers_then_body_have_each_their_time(self):
        client = Client(hello, self.limits)
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\n")
        client.loop.advance(9)
        client.send(b"Content-Length: 3\r\n\r\na")
        client.loop.advance(19)
        client.send(b"bc")
        assert client.answers()[0][0] == 200

    def test_each_request_has_its_own_time(self):
        client = Client(hello, self.limits)
        for _ in range(20):
            client.send(b"GET / HTTP/1.1\r\nHo")
            client.loop.advance(6)
            client.send(b"st: h\r\n\r\nGET / HT")
            client.loop.advance(6)
            client.send(b"TP/1.1\r\nHost: h\r\n\r\n")
        assert [answer[0] for answer in client.answers()] == [200] * 40

    def test_and_so_has_one_that_came_with_the_end_of_another(self):
        client = Client(None, self.limits)
        client.send(b"GET / HTTP/1.1\r\nHo")
        client.loop.advance(6)
        client.send(b"st: h\r\n\r\nGET / HTTP/1.1\r\nHo")
        client.loop.advance(9)
        client.send(b"st: h\r\n\r\n")
        assert len(client.exchanges) == 2
        client.send(b"GET / HTTP/1.1\r\nHo")
        client.loop.advance(11)
        for exchange in client.exchanges:
            hello(exchange)
        assert [answer[0] for answer in client.answers()] == [200, 200, 408]

    def test_a_client_that_does_not_read(self):
        client = Client(lambda exchange: exchange.respond(200, [], bytes(200_000)), self.limits)
        client.transport.reads_answers = False
        client.send(request())
        for _ in range(5):
            client.loop.advance(25)
            client.transport.read_answers(1000)
            assert not client.transport.lost
        client.loop.advance(70)
        assert client.transport.lost

    def test_a_client_that_does_not_read_the_last_answer(self):
        client = Client(hello, self.limits)
        client.transport.reads_answers = False
        client.send(request(connection="close"))
        client.loop.advance(29)
        assert not client.transport.lost
        client.loop.advance(2)
        assert client.transport.lost

    def test_reading_that_we_paused_does_not_count(self):
        client = Client(None, http.Limits(pipelined=1, header_timeout_s=10, idle_timeout_s=60))
        client.send(request() * 2 + b"GET / HTTP/1.1\r\nHo")
        client.loop.advance(1000)
        assert not client.sent
        hello(client.exchanges[0])
        client.deliver()
        hello(client.exchanges[1])
        client.deliver()
        client.loop.advance(9)
        client.send(b"st: h\r\n\r\n")
        hello(client.exchanges[2])
        assert [answer[0] for answer in client.answers()] == [200] * 3

    def test_but_counts_again_as_soon_as_we_read(self):
        client = Client(None, http.Limits(pipelined=1, header_timeout_s=10, idle_timeout_s=60))
        client.send(request() * 2 + b"GET / HTTP/1.1\r\nHo")
        client.loop.advance(1000)
        for number in range(2):
            hello(client.exchanges[number])
            client.deliver()
        client.loop.advance(11)
        assert [answer[0] for answer in client.answers()] == [200, 200, 408]

    def test_one_timer_a_connection(self):
        client = Client(hello, self.limits)
        for _ in range(100):
            client.send(request())
            client.loop.advance(1)
            assert len(client.loop.armed) == 1


class TestDrain:
    def test_idle_connections_are_closed(self):
        client = Client(hello)
        client.send(request())
        client.connection.drain()
        client.loop.run()
        assert client.transport.lost
        assert client.shared.empty.is_set()

    def test_open_exchanges_are_waited_for(self):
        client = Client()
        client.send(request() * 2)
        client.connection.drain()
        first, second = client.exchanges
        hello(second)
        hello(first)
        one_, two = client.answers()
        assert "connection" not in one_[1]
        assert two[1]["connection"] == "close"
        assert client.transport.closing

    def test_answers_out_of_turn(self):
        client = Client()
        client.send(request() * 2)
        client.connection.drain()
        first, second = client.exchanges
        hello(first)
        assert not client.transport.closing
        hello(second)
        assert client.answers()[1][1]["connection"] == "close"
        assert client.transport.closing

    def test_nothing_is_taken_after_the_last_answer(self):
        client = Client(hello)
        client.application = None
        client.send(request())
        client.connection.drain()
        client.exchanges[0].start(200, [])
        client.send(request())
        client.exchanges[0].finish()
        assert len(client.exchanges) == 1
        assert client.transport.closing

    def test_a_request_that_has_begun_is_served(self):
        client = Client(hello)
        client.send(request() + b"GET / HTTP/1.1\r\nHo")
        client.connection.drain()
        assert not client.transport.closing
        client.send(b"st: h\r\n\r\n")
        assert [answer[1].get("connection") for answer in client.answers()] == [None, "close"]
        assert client.transport.closing

    def test_so_is_one_that_has_begun_behind_another(self):
        client = Client()
        client.send(request() + b"GET / HTTP/1.1\r\nHo")
        client.connection.drain()
        hello(client.exchanges[0])
        client.send(b"st: h\r\n\r\n")
        hello(client.exchanges[1])
        assert [answer[1].get("connection") for answer in client.answers()] == [None, "close"]
        assert client.transport.closing

    def test_what_comes_with_the_last_request_is_dropped(self):
        client = Client(lambda exchange: exchange.path == "/2" and hello(exchange))
        client.send(request(target="/1"))
        client.connection.drain()
        client.send(request(target="/2") + b"GET / HTTP/1.1\r\nHo")
        client.loop.advance(1000)
        hello(client.exchanges[0])
        assert [answer[0] for answer in client.answers()] == [200, 200]
        assert client.transport.closing
        assert not client.transport.eof


def test_names_are_remembered_within_bounds():
    names = reader._Names()
    for number in range(5000):
        assert names[b"X-%d" % number] == f"x-{number}"
    assert len(names) <= 1024
    names[b"Y" * 100]
    assert b"Y" * 100 not in names


def test_an_error_of_the_limit_hook_is_ours(caplog):
    def fail(_method, _path):
        raise KeyError("boom")

    status = refused(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", http.Limits(body_limit=fail))
    assert status == 500
    assert "boom" in caplog.text


def test_slots_only():
    client = Client(hello)
    client.send(request())
    assert not hasattr(client.connection, "__dict__")
    assert not hasattr(client.exchanges[0], "__dict__")
    assert isinstance(client.connection, connection.asyncio.BufferedProtocol)
