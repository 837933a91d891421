"""A template whose process the test plays: who hears of its making, and of its end."""

import asyncio
import os
import signal
import socket

import pytest
import scripted

from runtime import wire
from runtime.pool import link, template


class Process:
    """A template's process: real pipes, nobody behind them."""

    pid = 0

    def __init__(self, door_fd):
        self.fds, (self.request_fd, self.response_fd, self.log_fd) = link.pipes()
        self.door_fd = door_fd
        self.missing = {}
        self.heard = []

    def confined(self):
        self.heard.append("confined")

    def waits(self):
        self.heard.append("waits")

    def kill(self):
        self.heard.append("killed")

    def release(self):
        self.heard.append("released")

    def memory_used(self):
        return 1 << 20

    def cpu_s(self):
        return 0.0

    def make_room(self, _charged_bytes, newborn_bytes):
        assert newborn_bytes > 0

    def say(self, message):
        os.write(self.response_fd, wire.encode(message))

    def close(self):
        for fd in (self.request_fd, self.response_fd, self.log_fd, self.door_fd):
            os.close(fd)


class Listener:
    def __init__(self):
        self.heard = []

    def process_forked(self):
        self.heard.append("forked")

    def process_doomed(self, reason):
        self.heard.append(f"doomed: {reason}")

    def process_exited(self, status):
        self.heard.append(status)

    def process_failed(self, step, reason):
        self.heard.append(f"{step}: {reason}")


@pytest.fixture
async def made():
    before = len(os.listdir("/proc/self/fd"))
    ended = []
    one = template.Template(
        scripted.VERSION,
        lambda _listener, door_fd: Process(door_fd),
        assign=wire.Assign("h.f", {}, "/var/task", "/opt", "/var/runtime", 128, "group", "stream"),
        warm_up=None,
        born=0.0,
        on_log=lambda _data: None,
        on_ready=lambda _one, _import_s: None,
        on_end=lambda _one, reason: ended.append(reason),
    )
    yield one
    one._process.close()
    one.process_exited(signal.SIGKILL)
    assert len(ended) == 1
    assert one._process.heard[-1] == "released"
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_its_sandbox_stands_as_a_workers_does_so_that_it_is_not_in_the_making_for_ever(made):
    made._process.say(wire.Confined({"cgroup": "none"}))
    await scripted.until(lambda: made._process.heard)
    assert made._process.heard == ["confined"]
    assert made._process.missing == {"cgroup": "none"}


async def test_why_its_init_failed_is_heard_though_its_door_closes_first(made):
    made._process.say(wire.Confined({}))
    made._process.say(wire.InitError("ZeroDivisionError", b"{}"))
    made._door_ended("it ended")
    assert made.failed
    assert made._reason == "its init failed: ZeroDivisionError"


async def test_one_that_ends_in_its_init_failed_though_its_door_closes_first(made):
    made._door_ended("it ended")
    assert (made.failed, made._reason) == (True, "it ended")


async def test_who_is_born_of_it_hears_at_once_that_it_ends_and_who_is_not_when_it_did(made, monkeypatch):
    monkeypatch.setattr(template.copied, "_is_copy", lambda _pid, _template: True)
    made._process.say(wire.Snapped("", 0))
    await scripted.until(lambda: made.state is template.State.READY)
    born, unborn = Listener(), Listener()
    copies = [made.copy(number, scripted.Held(), listener, {}) for number, listener in enumerate((born, unborn))]
    copies[0].spawned(os.getpid())
    made.distrust("the test says so")
    assert born.heard == ["forked"], "not from inside of what the listener may have asked for itself"
    await asyncio.sleep(0)
    assert (born.heard, unborn.heard) == (["forked", "doomed: its template ended"], [])
    made.distrust("again")
    await asyncio.sleep(0)
    assert born.heard == ["forked", "doomed: its template ended"]
    copies[1].orphaned()
    assert unborn.heard == ["snapshot: its template ended"]
    copies[0]._loop.remove_reader(copies[0]._pidfd)
    os.close(copies[0]._pidfd)
    made._copies.clear()
    for fd in (*copies[0].fds, *copies[1].fds):
        os.close(fd)


def told(one):
    """Return what its process was told at its door."""
    door = socket.socket(fileno=os.dup(one._process.door_fd))
    with door:
        door.setblocking(False)
        found = []
        while True:
            try:
                found.append(wire.parse_packet(door.recv(wire.PACKET_LIMIT), wire.TEMPLATE_ORDERS))
            except BlockingIOError:
                return found


async def test_it_is_told_once_what_a_copy_wrote_to_and_not_before_it_forks_any(made, monkeypatch):
    found = {7: b"", 8: b"spans", 9: b"others"}
    monkeypatch.setattr(template.touched, "spans", found.__getitem__)
    made.learn(8)
    made._process.say(wire.Snapped("", 0))
    await scripted.until(lambda: made.state is template.State.READY)
    assert told(made) == []
    for pid in (7, 8, 9):  # the first is gone
        made.learn(pid)
    assert told(made) == [wire.Touched(b"spans")]


@pytest.mark.parametrize(("error", "looks"), [(PermissionError, 1), (ProcessLookupError, 2)])
async def test_where_it_is_not_to_be_seen_what_copies_write_to_nobody_looks_again(made, monkeypatch, error, looks):
    looked = []

    def spans(pid):
        looked.append(pid)
        raise error

    monkeypatch.setattr(template.touched, "spans", spans)
    made._process.say(wire.Snapped("", 0))
    await scripted.until(lambda: made.state is template.State.READY)
    made.learn(7)
    made.learn(8)
    assert (len(looked), told(made)) == (looks, [])
