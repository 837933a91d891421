"""A start with a long queue: it goes on at once, and is not read into memory.

RESUME_TEST_EVENTS sets how many events wait (1,000,000 take a minute to prepare); what the start took is in
summary.txt in the test's folder.
"""

import itertools
import json
import os
import sqlite3
import time

import psutil
import pytest
from conftest import Server, create, until

from runtime.invoke import endings

EVENTS = int(os.environ.get("RESUME_TEST_EVENTS", "200000"))
PAYLOAD = b'{"pad": "%s"}' % (b"x" * 1000)
MB = 1024 * 1024
SLOW = "import time\ndef handler(event, context): print('RAN slow'); time.sleep(20)"
QUICK = "def handler(event, context): print('RAN quick')"


def memory(server):
    return psutil.Process(server.process.pid).memory_info().rss


def ran(server, name):
    events = json.loads(server.get(f"/_hotfork/logs/{name}?limit=100")[1])["events"]
    return [event for event in events if event["message"].startswith("RAN ")]


def fill(file, lanes):
    """Write events as an earlier run would have left them."""
    now = time.time()
    numbers = itertools.count(1)

    def rows():
        for lane, count in lanes.items():
            for number in itertools.islice(numbers, count):
                about = endings.About(request_id=f"00000000-0000-4000-8000-{number:012d}").encode()
                yield number, lane, now, len(PAYLOAD) + len(about), now, 0, about, PAYLOAD

    with sqlite3.connect(file) as connection:
        connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows())
    connection.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_start_with_a_long_queue_goes_on_at_once_and_does_not_load_it(tmp_path):
    server = Server(tmp_path / "state").start()
    client = server.client()
    create(client, "slow", SLOW, Timeout=60)
    create(client, "quick", QUICK)
    client.put_function_concurrency(FunctionName="slow", ReservedConcurrentExecutions=2)
    client.close()
    assert server.stop() == 0
    began = time.monotonic()
    server.start()
    until(lambda: server.get("/readyz")[0] == 200)
    empty_s, empty = time.monotonic() - began, memory(server)
    assert server.stop() == 0

    # The one that is alone is the last of all.
    fill(tmp_path / "state" / "events.db", {"slow": EVENTS, "quick": 1})
    began = time.monotonic()
    server.start()
    until(lambda: server.get("/readyz")[0] == 200)
    ready_s = time.monotonic() - began
    until(lambda: ran(server, "quick") and ran(server, "slow"))
    running_s = time.monotonic() - began
    until(lambda: waiting(server).get("slow") == EVENTS)
    full = memory(server)
    (tmp_path / "summary.txt").write_text(
        f"{EVENTS:,} events of {len(PAYLOAD)} bytes: ready after {ready_s:.2f} s ({empty_s:.2f} s with none), both "
        f"functions run after {running_s:.2f} s, memory {full / MB:.0f} MB ({empty / MB:.0f} MB)"
    )
    # All of it would be 200 MB and more: what is kept is a window of 16,384.
    assert full - empty < min(EVENTS * len(PAYLOAD) / 2, 96 * MB)
    server.kill()


def waiting(server):
    return {queue["name"]: queue["events"] for queue in json.loads(server.get("/_hotfork/events/queue")[1])["queues"]}
