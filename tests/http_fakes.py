"""A connection of the HTTP server without sockets or time: what the loop would do is done by hand."""

import json

from runtime.api import answers, connection, heads, http


class Handle:
    def __init__(self, when, callback):
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self):
        self.cancelled = True


class Loop:
    def __init__(self):
        self.now, self.soon, self.timers = 0.0, [], []

    def time(self):
        return self.now

    def call_soon(self, callback, *args):
        self.soon.append((callback, args))

    def call_at(self, when, callback):
        handle = Handle(when, callback)
        self.timers.append(handle)
        return handle

    @property
    def armed(self):
        self.timers = [each for each in self.timers if not each.cancelled]
        return self.timers

    def run(self):
        while self.soon:
            callback, args = self.soon.pop(0)
            callback(*args)

    def advance(self, seconds):
        end = self.now + seconds
        self.run()
        while due := sorted((each for each in self.armed if each.when <= end), key=lambda each: each.when):
            self.now = max(self.now, due[0].when)
            self.timers.remove(due[0])
            due[0].callback()
            self.run()
        self.now = end


class Socket:
    def __init__(self):
        self.options = []

    def setsockopt(self, *option):
        self.options.append(option)


class Transport:
    """Keeps what is written; ``reads_answers = False`` is a client that does not read."""

    def __init__(self, loop, high_water=64 * 1024):
        self.loop, self.high_water = loop, high_water
        self.protocol = None
        self.sent, self.unsent = bytearray(), bytearray()
        self.reads_answers = True
        self.reading, self.closing, self.aborted, self.eof, self.lost = True, False, False, False, False
        self.congested = False
        self.socket = Socket()
        self.writes = 0

    def get_extra_info(self, name):
        return {"peername": ("192.0.2.7", 4711), "socket": self.socket}[name]

    def get_write_buffer_size(self):
        return len(self.unsent)

    def write(self, data):
        assert not self.eof, "write after write_eof"
        assert not self.lost, "write after connection_lost"
        if self.aborted:
            return
        self.writes += 1
        (self.sent if self.reads_answers else self.unsent).extend(data)
        if len(self.unsent) > self.high_water and not self.congested:
            self.congested = True
            self.protocol.pause_writing()

    def read_answers(self, count=None):
        """The client reads some, or all, of what waits."""
        count = len(self.unsent) if count is None else count
        self.sent += self.unsent[:count]
        del self.unsent[:count]
        if self.congested and len(self.unsent) < self.high_water // 4:
            self.congested = False
            self.protocol.resume_writing()
        if self.closing and not self.unsent:
            self._lose()

    def pause_reading(self):
        if not self.closing:
            self.reading = False

    def resume_reading(self):
        if not self.closing:
            self.reading = True

    def write_eof(self):
        self.eof = True

    def close(self):
        if not self.closing:
            self.closing, self.reading = True, False
            if not self.unsent:
                self._lose()

    def abort(self):
        self.closing, self.aborted, self.reading = True, True, False
        self.unsent.clear()
        self._lose()

    def _lose(self):
        self.loop.call_soon(self._lost)

    def _lost(self):
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)


class Client:
    """One connection, and the application behind it, which keeps its exchanges."""

    def __init__(self, application=None, limits=None, *, high_water=64 * 1024, shared=None):
        self.exchanges = []
        self.loop = shared.loop if shared else Loop()
        self.application = application
        self.shared = shared or answers.Shared(
            self._serve, limits or http.Limits(), http.plain_refusal, heads.Dates(lambda: 784111777.0), self.loop
        )
        self.transport = Transport(self.loop, high_water)
        self.pending = bytearray()
        self.has_sent_eof = False
        self.connection = connection.Connection(self.shared)
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def _serve(self, exchange):
        self.exchanges.append(exchange)
        if self.application is not None:
            self.application(exchange)

    def send(self, data):
        """Bytes arrive; they wait while reading is paused."""
        self.pending += data
        self.deliver()

    def deliver(self):
        while True:
            while self.pending and self.transport.reading:
                buffer = self.connection.get_buffer(-1)
                assert len(buffer) > 0
                count = min(len(buffer), len(self.pending))
                buffer[:count] = self.pending[:count]
                # As in asyncio and uvloop, the buffer is still lent while it is reported full.
                self.connection.buffer_updated(count)
                del buffer
                del self.pending[:count]
            if not self.loop.soon:
                break
            self.loop.run()
        if self.has_sent_eof and self.transport.reading and not self.pending:
            self.has_sent_eof = False
            if not self.connection.eof_received():
                self.transport.close()
            self.loop.run()

    def half_close(self):
        self.has_sent_eof = True
        self.deliver()

    @property
    def sent(self):
        return bytes(self.transport.sent)

    def answers(self):
        return parse_answers(self.sent)


def hello(exchange):
    exchange.respond(200, [("Content-Type", "text/plain")], b"hello")


def echo(exchange):
    exchange.respond(200, [], bytes(exchange.body))


def parse_answers(data):
    """Every complete response as (status, headers, body); anything left over is the last, as bytes."""
    result = []
    while data:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            return [*result, data]
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ")
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, "a header is sent twice"
            headers[name.lower()] = value
        status = int(status)
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while True:
                size, found, after = rest.partition(b"\r\n")
                if not found:
                    return [*result, data]
                length = int(size, 16)
                if len(after) < length + 2:
                    return [*result, data]
                assert after[length : length + 2] == b"\r\n"
                body += after[:length]
                rest = after[length + 2 :]
                if not length:
                    break
        elif "content-length" in headers:
            length = int(headers["content-length"])
            if len(rest) < length:
                return [*result, data]
            body, rest = rest[:length], rest[length:]
        result.append((status, headers, body))
        data = rest
    return result


def message_of(answer):
    return json.loads(answer[2])["message"]


def request(method="GET", target="/", body=b"", *, version="1.1", **headers):
    fields = {"host": "h", **({"content_length": len(body)} if body or method == "POST" else {}), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {target} HTTP/{version}\r\n{lines}\r\n".encode() + body


def chunked(*chunks):
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
