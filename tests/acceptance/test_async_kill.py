"""Whatever is killed with -9, and when: an event that was accepted runs.

KILL_TEST_EVENTS sets how many events are sent (20,000 take some minutes).
"""

import collections
import contextlib
import http.client
import json
import os
import random
import socket
import socketserver
import subprocess
import threading

import psutil
import pytest
from conftest import HOTFORK, Server, create, until

from runtime.invoke.queue import dispatcher

EVENTS = int(os.environ.get("KILL_TEST_EVENTS", "3000"))
CLIENTS = 8
CONCURRENCY = 16
EVENTS_PER_KILL = 150

# What it tells reaches us before it returns, so what was told has run, and what ran was told.
TELL = """
import socket
connection = None
def handler(event, context):
    global connection
    if connection is None:
        connection = socket.create_connection(("127.0.0.1", event["port"]))
    connection.sendall(event["id"].encode() + b"\\n")
    connection.recv(1)
"""


class Witness:
    """Hears what ran."""

    def __init__(self):
        self.ran = collections.Counter()
        witness = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    for line in self.rfile:
                        witness.ran[line.decode().strip()] += 1
                        self.wfile.write(b"k")

        class Listening(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Listening(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Client(threading.Thread):
    """Sends events one after the other; ``accepted`` are those that were answered with 202."""

    def __init__(self, name, port, witness, count):
        super().__init__()
        self.prefix = name
        self.port = port
        self.witness = witness
        self.count = count
        self.accepted = []
        self.wrong = []

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for number in range(self.count):
            while not self.send(connection, f"{self.prefix}-{number}"):
                # Whether it was accepted nobody knows: it is sent again.
                connection.close()
        connection.close()

    def send(self, connection, name):
        body = json.dumps({"id": name, "port": self.witness}).encode()
        try:
            connection.request(
                "POST", "/2015-03-31/functions/tell/invocations", body, {"X-Amz-Invocation-Type": "Event"}
            )
            with connection.getresponse() as answer:
                text = answer.read()
        except (OSError, http.client.HTTPException):
            return False
        if answer.status == 202:
            self.accepted.append(name)
        else:
            self.wrong.append((answer.status, text[:200]))
        return True


def free_port():
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return any_socket.getsockname()[1]


@pytest.fixture
def witness():
    one = Witness()
    yield one
    one.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="functions tell the witness over the host's network, which needs root")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_accepted_event_runs_whatever_is_killed(tmp_path, witness):
    port = free_port()
    server = Server(
        tmp_path / "state",
        "--port",
        str(port),
        env={
            "HOTFORK_SANDBOX_NETWORK": "host",
            "HOTFORK_ASYNC_INVOKE_RETRY_BASE_DELAY_S": "0.1",
            "HOTFORK_ASYNC_INVOKE_CONCURRENCY": str(CONCURRENCY),
        },
    ).start()
    create(server.client(), "tell", TELL, Timeout=20)
    clients = [Client(str(number), port, witness.port, EVENTS // CLIENTS) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    kills = kill_at_random(server, clients, random.Random(1))
    for client in clients:
        client.join()
    assert [wrong for client in clients for wrong in client.wrong] == []
    accepted = [name for client in clients for name in client.accepted]
    assert len(accepted) == EVENTS // CLIENTS * CLIENTS
    settle(server)
    missing = set(accepted) - set(witness.ran)
    assert not missing
    again = sum(witness.ran.values()) - len(witness.ran)
    in_flight = CONCURRENCY + 1
    most = kills["worker"] + kills["zygote"] * in_flight + kills["server"] * (in_flight + dispatcher.UNWRITTEN)
    summary = f"{len(accepted)} events, killed {dict(kills)}, {again} ran again, at most {most} may"
    (tmp_path / "summary.txt").write_text(summary)
    # An event that was sent twice because its first answer was lost is the client's second event, not our duplicate.
    assert again <= most + kills["server"] * CLIENTS
    assert server.stop() == 0


def kill_at_random(server, clients, dice):
    """Kill something whenever some more events were accepted, until all clients are done."""
    kills = collections.Counter()
    threshold = 0

    def enough():
        return done() or sum(len(client.accepted) for client in clients) >= threshold

    def done():
        return not any(client.is_alive() for client in clients)

    while not done():
        threshold += dice.randint(EVENTS_PER_KILL // 2, EVENTS_PER_KILL * 3 // 2)
        until(enough, 120)
        victim = dice.choices(["server", "zygote", "worker"], [3, 3, 6])[0]
        if kill(server, victim, dice):
            kills[victim] += 1
    return kills


def kill(server, victim, dice):
    if victim == "server":
        server.kill()
        server.start()
        return True
    family = psutil.Process(server.process.pid).children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        leaves = [one for one in family if not one.children()]
        chosen = [one for one in family if one not in leaves] if victim == "zygote" else leaves
        if chosen:
            dice.choice(chosen).kill()
            return True
    return False


def settle(server):
    """Let everything run to its end, what failed too often under all this included."""

    def empty():
        return json.loads(server.get("/_hotfork/events/queue")[1]) == {"queues": [], "letters": 0}

    def rest():
        found = json.loads(server.get("/_hotfork/events/queue")[1])
        if not found["queues"] and found["letters"]:
            command = [str(HOTFORK), "events", "redrive", "--all", "--url", server.url]
            subprocess.run(command, check=True, capture_output=True)
        return empty()

    until(rest, 120)


def test_the_queue_is_where_it_is_said_to_be(tmp_path):
    # Or the test above would prove nothing: the very file that holds the events, away, loses them.
    server = Server(tmp_path / "state").start()
    client = server.client()
    create(client, "f", "import time\ndef handler(event, context): time.sleep(30)", Timeout=60)
    client.invoke(FunctionName="f", InvocationType="Event", Payload=b"{}")
    server.kill()
    for file in (tmp_path / "state").glob("events.db*"):
        file.unlink()
    server.start()
    assert json.loads(server.get("/_hotfork/events/queue")[1])["queues"] == []
    assert server.stop() == 0
