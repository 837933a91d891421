"""The supervisor's side of the mounter, with the test as the mounter and the blank."""

import asyncio
import os
import socket

import pytest

from runtime import wire
from runtime.pool import mounting

pytestmark = pytest.mark.usefixtures("no_leaks")


def mounter(ended):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    bell = os.eventfd(0)
    loop = asyncio.get_running_loop()
    return mounting.Mounter(loop, os.getpid(), ours, bell, lambda: ended.append("it")), theirs, bell


def waiting():
    """Return a gate, and the end of it that a blank has."""
    gate = mounting.Gate()
    blank = socket.socket(fileno=os.dup(gate.theirs_fd))
    gate.passed()
    gate.passed()
    return gate, blank


async def test_an_order_goes_out_with_the_gate_and_rings():
    one, theirs, bell = mounter([])
    gate, blank = waiting()
    one.mount({"code": "/a", "layers": "/b"}, gate)
    packet, fds, _, _ = socket.recv_fds(theirs, wire.PACKET_LIMIT, 4)
    assert wire.parse_packet(packet, wire.MOUNTER_ORDERS) == wire.Mount({"code": "/a", "layers": "/b"})
    assert os.eventfd_read(bell) == 1
    with socket.socket(fileno=fds[0]) as passed:
        passed.send(wire.PLACED)
    assert blank.recv(10) == wire.PLACED
    one.close()
    for end in (theirs, gate, blank):
        end.close()


async def test_its_end_is_told_once_and_nobody_waits_on():
    ended = []
    one, theirs, _ = mounter(ended)
    (first, first_blank), (second, second_blank) = waiting(), waiting()
    one.mount({"code": "/a"}, first)
    one.mount({"code": "/a"}, second)
    one.forget(second)
    one.forget(second)
    theirs.close()
    while not ended:
        await asyncio.sleep(0)
    assert ended == ["it"]
    assert first_blank.recv(10) == b""
    with pytest.raises(BlockingIOError):
        second_blank.recv(10, socket.MSG_DONTWAIT)
    with pytest.raises(BrokenPipeError, match="takes no order"):
        one.mount({"code": "/a"}, second)
    for end in (first, first_blank, second, second_blank):
        end.close()


async def test_a_word_of_its_is_the_end_of_it():
    ended = []
    one, theirs, _ = mounter(ended)
    theirs.send(b"hello")
    while not ended:
        await asyncio.sleep(0)
    assert one._end.fileno() == -1
    theirs.close()


@pytest.mark.parametrize(
    ("word", "refusal"),
    [
        (wire.PLACED, ""),
        (b"OSError: no such folder", "OSError: no such folder"),
        (wire.NAMESPACE, "the mounter is gone"),
        (None, "the mounter is gone"),
    ],
)
async def test_what_a_blank_leaves_in_its_gate(word, refusal):
    gate, blank = waiting()
    if word is not None:
        blank.send(word)
    blank.close()
    assert gate.refusal() == refusal
    gate.close()
