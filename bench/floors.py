"""What this machine could do at best, measured in the same run: the denominators of ``python -m bench check``.

pipe    a round trip of 100 bytes over two pipes between two processes that block: no dispatch is faster
fork    fork and reap a process that ends at once, from a bare interpreter: no worker starts faster
http    a request of an asyncio protocol on uvloop and httptools that answers a constant: no Python server is faster
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from bench import client, histogram, load, plan

_PIPE = """
import os, sys, time
to_child, to_parent = os.pipe(), os.pipe()
if os.fork() == 0:
    os.close(to_child[1])
    while data := os.read(to_child[0], 4096):
        os.write(to_parent[1], data)
    os._exit(0)
clock, read, write = time.perf_counter_ns, os.read, os.write
data, source, sink = b"x" * 100, to_parent[0], to_child[1]
taken = []
for _ in range(int(sys.argv[1])):
    began = clock()
    write(sink, data)
    read(source, 4096)
    taken.append(clock() - began)
print(*taken)
"""
_FORK = """
import os, sys, time
clock = time.perf_counter_ns
taken = []
for _ in range(int(sys.argv[1])):
    began = clock()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    taken.append(clock() - began)
print(*taken)
"""
_HTTP = """
import asyncio, httptools, uvloop
class Floor(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
    def data_received(self, data):
        self.parser.feed_data(data)
    def on_message_complete(self):
        self.transport.write(RESPONSE)
RESPONSE = b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 12\\r\\n\\r\\n{"ok": true}'
async def main():
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
"""


def pipe(count: int = 20_000) -> histogram.Histogram:
    """Return the round trips over two pipes."""
    return _times(_PIPE, count)


def fork(count: int = 300) -> histogram.Histogram:
    """Return the forks of a bare interpreter."""
    return _times(_FORK, count)


def http(connections: int, duration_s: float) -> plan.Result:
    """Return what came of a load on the bare HTTP server."""
    with http_server() as port:
        call = plan.Call(path=client.invoke_path("hello"), body="{}", equals='{"ok": true}')
        return load.run(
            plan.Plan(host="127.0.0.1", port=port, calls=[call], connections=connections, duration_s=duration_s)
        )


@contextlib.contextmanager
def http_server() -> Iterator[int]:
    """Run the bare HTTP server; the value is its port."""
    with subprocess.Popen([sys.executable, "-I", "-c", _HTTP], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _times(program: str, count: int) -> histogram.Histogram:
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(count)], capture_output=True, check=True, text=True
    ).stdout
    return histogram.of(map(int, out.split()))
