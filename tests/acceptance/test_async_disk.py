"""A disk that runs full is an error to those who send events, and nothing worse; with room again all goes on."""

import concurrent.futures
import itertools
import json
import os
import subprocess

import botocore.exceptions
import pytest
from conftest import Server, create, until

MB = 1024 * 1024
ROOM = 30 * MB
PAD = 20_000
CLIENTS = 8
REFUSALS = 5

SLOW = """
import time
def handler(event, context):
    print(f"RAN {event['id']}")
    time.sleep(event.get("sleep", 0))
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, small enough to be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def free(folder):
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill(folder, leave):
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        while free(folder) > leave:
            file.write(b"x" * min(MB, max(4096, free(folder) - leave)))
            file.flush()
    return ballast


def send(client, number, **event):
    return client.invoke(
        FunctionName="slow",
        InvocationType="Event",
        Payload=json.dumps({"id": number, "pad": "x" * PAD, **event}).encode(),
    )


def send_until_refused(client, numbers, accepted, refused):
    """Send events one after the other, as one of several clients, until some were refused."""
    for _ in range(REFUSALS):
        try:
            for number in numbers:
                send(client, number)
                accepted.append(number)
        except botocore.exceptions.ClientError as error:
            refused.append(error.response)


def ran(server):
    events = json.loads(server.get("/_hotfork/logs/slow?limit=10000")[1])["events"]
    return [int(event["message"].split()[1]) for event in events if event["message"].startswith("RAN ")]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_refuses_events_and_loses_none(small_disk, tmp_path):
    server = Server(small_disk / "state", env={"HOTFORK_LOGS_DIR": str(tmp_path / "logs")}).start()
    client = server.client()
    create(client, "slow", SLOW, Timeout=60)
    client.put_function_concurrency(FunctionName="slow", ReservedConcurrentExecutions=1)
    send(client, 0, sleep=5)
    ballast = fill(small_disk, ROOM)
    numbers, accepted, refused = itertools.count(1), [0], []
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
        for done in [threads.submit(send_until_refused, client, numbers, accepted, refused) for _ in range(CLIENTS)]:
            done.result()
    assert len(accepted) > ROOM // (2 * PAD)
    assert len(refused) == CLIENTS * REFUSALS
    for response in refused:
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert response["Error"]["Code"] == "ServiceException"
        assert "full" in response["Error"]["Message"]
    # The server is there, and does what needs no disk.
    assert server.get("/healthz")[0] == 200
    assert json.loads(server.get("/_hotfork/events/queue")[1])["queues"][0]["events"] <= len(accepted)
    ballast.unlink()
    last = next(numbers)
    send(client, last)
    accepted.append(last)
    until(lambda: not json.loads(server.get("/_hotfork/events/queue")[1])["queues"], 60)
    assert sorted(ran(server)) == sorted(accepted)
    assert server.stop() == 0
