"""Which pages a process wrote to since it was forked."""

import mmap
import os
import struct
import subprocess
import sys

import pytest

from runtime import wire
from runtime.pool import touched

FORKING = """
import ctypes, mmap, os, sys
memory = mmap.mmap(-1, 64 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = b"x" * len(memory)
first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
child = os.fork()
if child == 0:
    for page in (3, 10, 11, 12):
        memory[page * mmap.PAGESIZE] = 1
    print(os.getpid(), first, flush=True)
    os.read(0, 1)
    os._exit(0)
os.waitpid(child, 0)
"""
PAGE = mmap.PAGESIZE


@pytest.fixture
def forked():
    """Yield the pid of a process that wrote to some pages of those that it shares, and where these are."""
    script = [sys.executable, "-c", FORKING]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        yield map(int, parent.stdout.readline().split())
        parent.stdin.close()


def pages(found, first):
    spans = list(struct.iter_unpack("=QQ", found))
    assert all(address % PAGE == 0 == length % PAGE for address, length in spans)
    return [
        (address - first) // PAGE + number
        for address, length in spans
        for number in range(length // PAGE)
        if first <= address < first + 64 * PAGE
    ]


def test_those_that_it_wrote_to_are_its_own_and_no_others(forked):
    pid, first = forked
    assert pages(touched.spans(pid), first) == [3, 10, 11, 12]


def test_there_are_never_more_than_the_most(forked, monkeypatch):
    monkeypatch.setattr(touched, "MOST_PAGES", 2)
    pid, _ = forked
    assert sum(length for _, length in struct.iter_unpack("=QQ", touched.spans(pid))) == 2 * PAGE


HUGE = """
import mmap, os
held = [mmap.mmap(-1, 1 << 42, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000) for _ in range(4)]
apart = mmap.mmap(-1, 4096 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, 4096, 2):
    apart[page * mmap.PAGESIZE] = 1
print(os.getpid(), flush=True)
os.read(0, 1)
"""


def test_what_is_looked_at_and_told_is_bounded_however_much_there_is():
    with subprocess.Popen([sys.executable, "-c", HUGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        found = touched.spans(int(process.stdout.readline()))
        process.stdin.close()
    assert 0 < len(found) <= 16 * touched.MOST_SPANS
    assert len(wire.encode(wire.Touched(found))) <= wire.PACKET_LIMIT


def test_the_most_that_is_told_fits_into_a_packet():
    assert len(wire.encode(wire.Touched(bytes(16 * touched.MOST_SPANS)))) <= wire.PACKET_LIMIT


def test_one_that_ended_shows_none():
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises((ProcessLookupError, PermissionError)):  # the one for root, the other for everybody else
            touched.spans(child.pid)
    with pytest.raises(OSError, match="No such"):
        touched.spans(child.pid)
