"""Streamed responses: how soon the first byte is with the client, and how fast the rest follows."""

import http.client
import json
import struct
import time

from bench import histogram, machine, measure, result, setting

PATH = "/2021-11-15/functions/stream/response-streaming-invocations"
LARGE = 64 * 2**20
"""Bytes of a stream whose throughput is measured."""
_PART = 256 * 1024
_PRELUDE = struct.Struct(">II")
_CRC = 4
_HANDLER = """
import time


def handler(event, context):
    # Of this moment the client tells how long ago it was: it is on the same machine.
    yield str(time.monotonic_ns())
    part = b"x" * event["part"]
    for _ in range(event["parts"]):
        yield part
"""


def run(given: setting.Setting) -> result.Result:
    """Stream responses: first byte after the handler's first yield, and throughput."""
    given.demand_own_server("its function says when it yields")
    environment = machine.environment()
    with given.server() as server:
        server.create("stream", {"handler.py": _HANDLER}, MemorySize=1769)
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        firsts, wholes, rates = [], [], []
        _repeated(connection, measure.WARM_UP_S)
        for turn in given.turns():
            given.say(f"run {turn + 1} of {given.repeat}")
            first, whole = _repeated(connection, given.duration_s)
            firsts.append(first)
            wholes.append(whole)
            began = time.monotonic()
            _streamed(connection, LARGE // _PART)
            rates.append(LARGE / (time.monotonic() - began))
        connection.close()
        measures: list[result.Measure] = [
            result.Distribution(name="stream.first", title="first byte, from the handler's first yield", runs=firsts),
            result.Distribution(name="stream.latency", title="a stream of one part, whole", runs=wholes),
            result.Scalar(
                name="stream.throughput",
                title=f"a stream of {LARGE // 2**20} MB in parts of {_PART // 1024} KB, a second",
                unit="B",
                values=rates,
                better="higher",
            ),
        ]
        return given.result(
            "stream",
            "Streamed responses",
            server,
            environment,
            measures=measures,
            plots=[result.Latency(title="Latency by percentile", measures=["stream.first", "stream.latency"])],
            notes=[
                "One connection, one request at a time.",
                "The handler yields the time, and the client looks at its watch as soon as it has read that.",
            ],
        )


def _repeated(
    connection: http.client.HTTPConnection, seconds: float
) -> tuple[histogram.Histogram, histogram.Histogram]:
    """Return how long after its yield the first part came, and how long each stream took."""
    first, whole = histogram.Recorder(), histogram.Recorder()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic_ns()
        first.record(_streamed(connection, 0))
        whole.record(time.monotonic_ns() - began)
    return first.finish(), whole.finish()


def _streamed(connection: http.client.HTTPConnection, parts: int) -> int:
    """Read a stream to its end; return how many nanoseconds after its yield the first part was read."""
    connection.request("POST", PATH, json.dumps({"parts": parts, "part": _PART}))
    answer = connection.getresponse()
    total, headers = _PRELUDE.unpack(answer.read(_PRELUDE.size))
    frame = answer.read(total - _PRELUDE.size)
    now = time.monotonic_ns()
    taken = now - int(frame[_CRC + headers : -_CRC])
    rest = bytearray(2**20)
    received = 0
    while count := answer.readinto(rest):
        received += count
    if answer.status != http.client.OK or received < parts * _PART:
        raise ConnectionError(f"a stream ended after {received} of {parts * _PART} bytes")
    return taken
