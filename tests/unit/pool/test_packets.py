"""Packets with descriptors over a socket pair: bounds, back-pressure, and nothing leaked."""

import asyncio
import os
import socket

import pytest

from runtime import wire
from runtime.pool import packets


class End:
    """A PacketSocket, the plain socket it talks to, and what was heard."""

    def __init__(self):
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.packets = []
        self.ends = []
        self.kept = []
        self.heard = asyncio.Event()
        self.channel = packets.PacketSocket(asyncio.get_running_loop(), ours, self.on_packet, self.on_end)

    def on_packet(self, packet, fds):
        self.packets.append(packet)
        if packet == b"keep":
            self.kept.append(fds.pop())
        self.heard.set()

    def on_end(self, reason):
        self.ends.append(reason)
        self.heard.set()

    async def hear(self):
        async with asyncio.timeout(10):
            await self.heard.wait()
        self.heard.clear()


@pytest.fixture
async def end():
    before = sorted(os.listdir("/proc/self/fd"))
    one = End()
    yield one
    one.channel.close()
    one.theirs.close()
    for fd in one.kept:
        os.close(fd)
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_descriptors_that_nobody_takes_are_closed(end):
    fds = os.pipe()
    socket.send_fds(end.theirs, [b"leave"], fds)
    socket.send_fds(end.theirs, [b"keep"], fds)
    for fd in fds:
        os.close(fd)
    await end.hear()
    assert end.packets == [b"leave", b"keep"]
    assert len(end.kept) == 1


@pytest.mark.parametrize("packet", [bytes(wire.PACKET_LIMIT + 1), b""])
async def test_a_packet_that_is_too_large_or_empty_is_the_end(end, packet):
    end.theirs.send(packet)
    await end.hear()
    assert len(end.ends) == 1
    assert end.packets == []
    assert end.channel.closed


async def test_too_many_descriptors_are_the_end(end):
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(30)]
    socket.send_fds(end.theirs, [b"x"], fds)
    for fd in fds:
        os.close(fd)
    await end.hear()
    assert end.ends == ["it sent too large a packet"]


async def test_what_finds_no_room_waits_with_copies_of_its_descriptors(end):
    sent = 0
    while not end.channel.waiting:
        read_end, write_end = os.pipe()
        end.channel.send(b"%d" % sent, [read_end])
        os.write(write_end, b"%d" % sent)
        os.close(read_end)
        os.close(write_end)
        sent += 1
    end.theirs.setblocking(True)
    for number in range(sent):
        packet, fds, _, _ = await asyncio.to_thread(socket.recv_fds, end.theirs, 100, 4)
        assert packet == b"%d" % number
        assert os.read(fds[0], 100) == packet
        os.close(fds[0])
    assert end.channel.waiting == 0


async def test_the_queue_is_bounded_and_forgotten_at_the_end(end, monkeypatch):
    monkeypatch.setattr(packets, "QUEUE_LIMIT", 3)
    while end.channel.waiting < 3:
        end.channel.send(bytes(1000), [0])
    with pytest.raises(packets.QueueFull):
        end.channel.send(bytes(1000), [0])
    assert end.channel.waiting == 3
    end.channel.close()
    end.channel.close()
    assert end.channel.waiting == 0


async def test_sending_to_an_end_that_is_gone_is_heard_as_its_end(end):
    end.theirs.close()
    end.channel.send(b"x", [])
    await end.hear()
    assert end.ends == ["it ended"]


async def test_no_descriptor_leaks_where_none_is_left(end, monkeypatch):
    while not end.channel.waiting:
        end.channel.send(bytes(1000), [])
    made = []

    def dup(_fd):
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        made.append(os.open("/dev/null", os.O_RDONLY))
        return made[-1]

    monkeypatch.setattr(packets.os, "dup", dup)
    with pytest.raises(OSError, match="Too many"):
        end.channel.send(b"x", [0, 0, 0])


async def test_of_many_packets_it_hands_over_some_in_a_turn_of_the_loop_and_all_in_the_end(end):
    turns = []
    for number in range(40):
        end.theirs.send(b"%d" % number)
    while len(end.packets) < 40:
        await end.hear()
        turns.append(len(end.packets))
    assert end.packets == [b"%d" % number for number in range(40)]
    assert turns[0] < 40


async def test_a_flood_at_a_door_is_read_a_few_packets_a_turn():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    heard = []
    loop = asyncio.get_running_loop()

    def hear(_packet, sender):
        heard.append(sender)
        theirs.send(b"one more")  # who floods is never done

    door = packets.Door(loop, ours, hear, heard.append)
    with theirs:
        theirs.send(b"first")
        door.read()
        assert heard == [os.getpid()] * packets.Door._most
        door.close()


async def test_a_door_takes_no_descriptors():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = len(os.listdir("/proc/self/fd"))
    heard, ends = [], []
    door = packets.Door(asyncio.get_running_loop(), ours, lambda *one: heard.append(one), ends.append)
    with theirs:
        socket.send_fds(theirs, [b"take these"], [0, 1])
        door.read()
    assert (heard, ends) == ([], ["it sent too large a packet"])
    assert len(os.listdir("/proc/self/fd")) == before - 2
