"""Clients that announce much and never finish."""

import contextlib
import resource
import socket
from pathlib import Path

from conftest import create


def test_bodies_that_never_end_take_bounded_memory_and_keep_nobody_out(server, client):
    create(client, "beside-stalled-bodies", "def handler(event, context): return event", MemorySize=512)
    port = int(server.url.rsplit(":", 1)[1])
    resident = Path(f"/proc/{server.process.pid}/statm")

    def megabytes():
        return int(resident.read_text(encoding="ascii").split()[1]) * resource.getpagesize() >> 20

    def push(sock, data):
        try:
            return sock.send(data)
        except (BlockingIOError, ConnectionError):
            return 0

    before, most = megabytes(), 0
    data = bytes(1 << 20)
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(60)]
        for each in stalled:
            each.setblocking(False)
            push(each, b"POST /2015-03-31/functions HTTP/1.1\r\nHost: h\r\nContent-Length: 60000000\r\n\r\n")
        sent = dict.fromkeys(stalled, 0)
        still = 0
        while still < 10:
            gone = 0
            for each, count in sent.items():
                more = push(each, data) if count < 55_000_000 else 0
                sent[each] += more
                gone += more
            client.invoke(FunctionName="beside-stalled-bodies", Payload=b"{}")
            most = max(most, megabytes())
            still = 0 if gone else still + 1
        payload = b'"' + b"x" * 6_000_000 + b'"'
        answer = client.invoke(FunctionName="beside-stalled-bodies", Payload=payload)
        assert answer["Payload"].read() == payload
        most = max(most, megabytes())
    assert sum(sent.values()) > 200_000_000
    assert most - before < 300
