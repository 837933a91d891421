"""The HTTP server over real sockets, on uvloop and on plain asyncio, with real clients."""

import asyncio
import concurrent.futures
import contextlib
import gc
import hashlib
import http.client
import os
import shutil
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest
import uvloop

from runtime.api import server

DEADLINE = 30
MB = 1024 * 1024

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


class Service:
    """A server and a small application, with their loop in a thread."""

    def __init__(self, loop_factory, limits=None):
        self.limits = limits or server.Limits()
        self.loop_factory = loop_factory
        self.held = []
        self.seen = 0
        self.left = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self._ready = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.port = self._ready.result(DEADLINE)

    def _run(self):
        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            runner.run(self._main())

    async def _main(self):
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        self.server = server.Server(self.application, self.limits)
        await self.server.listen("127.0.0.1", 0)
        self._ready.set_result(self.server.port)
        await self.stop.wait()
        await self.server.close()
        assert self.server.connections == 0
        assert self.server._shared.budget.left == self.limits.bytes_in_flight

    def application(self, exchange):
        self.seen += 1
        name, _, number = exchange.path[1:].partition("/")
        getattr(self, f"do_{name}")(exchange, int(number or 0))

    def do_hello(self, exchange, _number):
        exchange.respond(200, [("Content-Type", "text/plain")], b"hello")

    def do_soon(self, exchange, number):
        self.loop.call_later(number % 3 / 1000, exchange.respond, 200, [], str(number).encode())

    def do_hash(self, exchange, _number):
        exchange.respond(200, [], hashlib.sha256(exchange.body).hexdigest().encode())

    def do_echo(self, exchange, _number):
        exchange.respond(200, [], bytes(exchange.body))

    def do_big(self, exchange, number):
        exchange.respond(200, [], bytes(number))

    def do_stream(self, exchange, number):
        exchange.start(200, [])
        left = number

        def go_on():
            nonlocal left
            while left and exchange.writable:
                size = min(left, 10_000)
                left -= size
                exchange.write(b"s" * size)
            if not left:
                exchange.finish()

        exchange.on_drain = go_on
        go_on()

    def do_broken(self, exchange, _number):
        exchange.start(200, [])
        exchange.write(b"half of it")
        self.loop.call_later(0.01, exchange.abort)

    def do_hold(self, exchange, _number):
        exchange.on_disconnect = self.left.release
        self.held.append(exchange)
        self.arrived.release()

    # From the test's thread.

    def call(self, function, *args):
        """Run in the loop's thread; return its result."""
        done = concurrent.futures.Future()

        def run():
            try:
                done.set_result(function(*args))
            except Exception as error:  # noqa: BLE001 - it belongs to the test's thread
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(DEADLINE)

    def wait_for(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE)

    def until(self, condition):
        """Wait for a condition of the loop's thread."""

        async def poll():
            while not condition():
                await asyncio.sleep(0.002)

        self.wait_for(poll())

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.settimeout(DEADLINE)
        return sock

    def client(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


def open_files():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def start(request):
    services = []
    request.param().close()  # libuv opens, once, what it never closes
    before = open_files()

    def make(**limits):
        services.append(Service(request.param, server.Limits(**limits)))
        return services[-1]

    yield make
    for service in services:
        service.close()
    services.clear()
    assert open_files() <= before


def read_all(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def read_until(sock, end):
    data = b""
    while not data.endswith(end):
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


def curl(*args, data=b""):
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(DEADLINE), *args],
        input=data,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestClients:
    def test_keep_alive(self, start):
        service = start()
        client = service.client()
        for number in range(50):
            client.request("POST", f"/soon/{number}", body=b"{}", headers={"X": "1"})
            response = client.getresponse()
            assert (response.status, response.read()) == (200, str(number).encode())
        assert service.call(lambda: service.server.connections) == 1
        client.close()

    def test_head(self, start):
        client = start().client()
        for _ in range(2):
            client.request("HEAD", "/big/1000")
            response = client.getresponse()
            assert (response.getheader("content-length"), response.read()) == ("1000", b"")
        client.close()

    def test_streams(self, start):
        client = start().client()
        for size in (0, 1, 5 * MB):
            client.request("GET", f"/stream/{size}")
            assert client.getresponse().read() == b"s" * size
        client.close()

    def test_broken_streams_are_seen_as_such(self, start):
        service = start()
        client = service.client()
        client.request("GET", "/broken")
        with pytest.raises(http.client.IncompleteRead):
            client.getresponse().read()
        client.close()
        with service.connect() as sock:
            sock.sendall(b"GET /broken HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                read_all(sock)

    @needs_curl
    def test_curl(self, start, tmp_path):
        url = f"http://127.0.0.1:{start().port}"
        assert curl(f"{url}/hello") == b"hello"
        assert curl("--http1.0", f"{url}/hello") == b"hello"
        assert curl("--http1.0", f"{url}/stream/5") == b"sssss"
        assert curl("--http2", f"{url}/hello") == b"hello"  # offers an upgrade
        assert curl("--http2", "--data", "abc", f"{url}/echo") == b"abc"
        assert b"Content-Length: 7\r\n" in curl("--head", f"{url}/big/7")
        assert curl(f"{url}/hello", f"{url}/hello", f"{url}/stream/3") == b"hellohellosss"
        assert curl("--request", "OPTIONS", "--request-target", "*", "--write-out", "%{http_code}", url)
        body = os.urandom(3 * MB)
        digest = hashlib.sha256(body).hexdigest().encode()
        file = tmp_path / "body"
        file.write_bytes(body)
        for extra in ([], ["--header", "Expect: 100-continue"], ["--header", "Transfer-Encoding: chunked"]):
            assert curl(*extra, "--data-binary", f"@{file}", f"{url}/hash") == digest
        assert curl("--upload-file", "-", f"{url}/hash", data=body) == digest

    @needs_curl
    def test_curl_does_not_send_what_is_too_large(self, start, tmp_path):
        file = tmp_path / "body"
        file.write_bytes(bytes(2 * MB))
        url = f"http://127.0.0.1:{start(body_bytes=MB).port}/hash"
        out = curl(
            "--header", "Expect: 100-continue", "--data-binary", f"@{file}",
            "--output", str(tmp_path / "out"), "--write-out", "%{http_code} %{size_upload}", url,
        )  # fmt: skip
        assert out == b"413 0"
        assert b"too large" in (tmp_path / "out").read_bytes()

    def test_http_client_gets_to_see_413(self, start):
        client = start(body_bytes=MB).client()
        client.request("POST", "/hash", body=bytes(20 * MB))
        assert client.getresponse().status == 413
        client.close()

    def test_unix_socket(self, start, tmp_path):
        service = start()
        path = tmp_path / "api.sock"
        for _ in range(2):  # the second finds a stale one
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as stale:
                stale.bind(str(path))
            service.wait_for(service.server.listen_unix(path))
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(DEADLINE)
                sock.connect(str(path))
                sock.sendall(b"GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                assert read_all(sock).endswith(b"hello")
            service.call(service.server.stop_accepting)
            assert not path.exists()

    def test_another_servers_socket_is_left_alone(self, start, tmp_path):
        service = start()
        path = tmp_path / "api.sock"
        service.wait_for(service.server.listen_unix(path))
        other = tmp_path / "other.sock"
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.bind(str(other))
            Path(other).rename(path)
            service.call(service.server.stop_accepting)
            assert path.exists()

    def test_peer(self, start):
        service = start()
        with service.connect() as sock:
            sock.sendall(b"GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
            assert service.arrived.acquire(timeout=DEADLINE)
            assert service.held[0].peer == "127.0.0.1"


class TestBodies:
    @pytest.mark.parametrize("size", [64 * 1024, 6 * MB, 30 * MB + 1])
    def test_large(self, start, size):
        body = os.urandom(MB) * (size // MB + 1)
        body = body[:size]
        client = start().client()
        for _ in range(2):
            client.request("POST", "/hash", body=body)
            assert client.getresponse().read() == hashlib.sha256(body).hexdigest().encode()
        client.close()

    def test_chunked(self, start):
        client = start().client()
        pieces = [os.urandom(size) for size in (1, 4095, 4096, 4097, 100_000)]
        client.request("POST", "/hash", body=iter(pieces), encode_chunked=True)
        assert client.getresponse().read() == hashlib.sha256(b"".join(pieces)).hexdigest().encode()
        client.close()

    def test_announcing_costs_no_memory(self, start):
        service = start(bytes_in_flight=40 * 70_000_000)
        gc.collect()
        before = resident()
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                sock = stack.enter_context(service.connect())
                sock.sendall(b"POST /hash HTTP/1.1\r\nHost: h\r\nContent-Length: 70000000\r\n\r\nabc")
            service.until(lambda: service.server.connections == 40 and service.server._shared.room.is_short)
            assert resident() - before < 30 * MB
        service.until(lambda: service.server.connections == 0)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class TestOrder:
    def test_pipelined(self, start):
        service = start()
        with service.connect() as sock:
            sock.sendall(
                b"".join(
                    b"GET /soon/%d HTTP/1.1\r\nHost: h\r\n%b\r\n" % (number, b"Connection: close\r\n" * (number == 999))
                    for number in range(1000)
                )
            )
            answers = read_all(sock).split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert [int(answer.partition(b"\r\n\r\n")[2]) for answer in answers] == list(range(1000))

    def test_a_client_that_does_not_read_is_not_served_on(self, start):
        service = start()
        request = b"GET /big/100000 HTTP/1.1\r\nHost: h\r\n\r\n"
        with service.connect() as sock:
            sock.sendall(request * 500)
            service.until(lambda: service.seen)
            connection = service.call(lambda: next(iter(service.server._shared.connections)))
            service.until(lambda: connection._congested)
            assert service.call(connection._transport.get_write_buffer_size) < 17 * 101_000
            assert service.seen < 400
            data = 0
            while data < 500 * 100_000:
                piece = sock.recv(1 << 20)
                assert piece
                data += len(piece)
            service.until(lambda: service.seen == 500)

    def test_many_connections(self, start):
        service = start()
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(service.connect()) for _ in range(300)]
            for _ in range(3):
                for sock in socks:
                    sock.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na")
                for sock in socks:
                    sock.sendall(b"bc")
                for sock in socks:
                    assert read_until(sock, b"\r\n\r\nabc").startswith(b"HTTP/1.1 200 OK\r\n")
            assert service.call(lambda: service.server.connections) == 300
        service.until(lambda: service.server.connections == 0)

    def test_too_many_connections(self, start):
        service = start(connections=2)
        with service.connect() as one, service.connect() as two:
            service.until(lambda: service.server.connections == 2)
            with service.connect() as three:
                assert read_all(three).startswith(b"HTTP/1.1 503 ")
            for sock in (one, two):
                sock.sendall(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
                read_until(sock, b"hello")


class TestDisconnect:
    @pytest.mark.parametrize("how", ["close", "half-close", "reset"])
    def test_the_exchange_is_told(self, start, how):
        service = start()
        sock = service.connect()
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
        assert service.arrived.acquire(timeout=DEADLINE)
        if how == "half-close":
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""
        elif how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        assert service.left.acquire(timeout=DEADLINE)
        service.until(lambda: service.server.connections == 0)
        service.call(lambda: service.held[0].respond(200, [], b"late"))
        assert service.held[0].disconnected

    def test_an_answer_given_before_the_half_close_arrives(self, start):
        with start().connect() as sock:
            sock.sendall(b"GET /big/5000000 HTTP/1.1\r\nHost: h\r\n\r\n")
            read_until(sock, b"\0")
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 20):
                pass

    def test_leaving_in_the_middle_of_a_body(self, start):
        service = start()
        with service.connect() as sock:
            sock.sendall(b"POST /hash HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + bytes(300_000))
            service.until(lambda: service.server.connections == 1)
        service.until(lambda: service.server.connections == 0)
        assert service.seen == 0

    def test_leaving_in_the_middle_of_an_answer(self, start):
        service = start()
        with service.connect() as sock:
            sock.sendall(b"GET /stream/50000000 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert sock.recv(1000)
        service.until(lambda: service.server.connections == 0)


class TestTime:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"", None),
            (b"GE", None),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: ", 408),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na", 408),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\na", 408),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na", 408),
        ],
    )
    def test_slow_clients(self, start, data, status):
        service = start(header_timeout_s=0.05, body_timeout_s=0.05, idle_timeout_s=0.05)
        with service.connect() as sock:
            sock.sendall(data)
            answer = read_all(sock)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode() if status else b"")
        assert bool(answer) == bool(status)
        assert service.seen == 0

    def test_idle_after_an_answer(self, start):
        with start(idle_timeout_s=0.05).connect() as sock:
            sock.sendall(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
            assert read_all(sock).endswith(b"hello")

    def test_a_client_that_does_not_read(self, start):
        service = start(send_timeout_s=0.05)
        with service.connect() as sock:
            sock.sendall(b"GET /big/50000000 HTTP/1.1\r\nHost: h\r\n\r\n")
            service.until(lambda: service.seen == 1 and service.server.connections == 0)


class TestDrain:
    def test_drain(self, start):
        service = start()
        with service.connect() as idle, service.connect() as busy:
            busy.sendall(b"GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
            assert service.arrived.acquire(timeout=DEADLINE)
            assert not service.wait_for(service.server.drain(0.01))
            assert read_all(idle) == b""
            with pytest.raises(ConnectionRefusedError):
                service.connect()
            service.call(lambda: service.held[0].respond(200, [], b"done"))
            answer = read_all(busy)
            assert b"Connection: close\r\n" in answer
            assert answer.endswith(b"done")
        assert service.wait_for(service.server.drain(DEADLINE))

    def test_close_drops_everything(self, start):
        service = start()
        with service.connect() as sock:
            sock.sendall(b"GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
            assert service.arrived.acquire(timeout=DEADLINE)
            service.wait_for(service.server.close())
            assert service.left.acquire(timeout=DEADLINE)
            with contextlib.suppress(ConnectionResetError):
                assert read_all(sock) == b""
