"""What the watch sees of a worker, and of what it started."""

import subprocess
import sys

import pytest

from runtime.pool import memory_watch
from runtime.pool.cgroups import port, soft

HELD_MB = 48
FAMILY = f"""
import os, sys
if os.fork():
    sys.stdin.read()
else:
    held = bytearray(os.urandom({HELD_MB} << 20))
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def family():
    """Start a process whose child holds memory, as a template's first process has one that ran init."""
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout.readline() == "held\n"
        yield parent.pid
        parent.stdin.close()


async def test_a_look_is_at_the_first_process_and_where_asked_at_all_of_it(family):
    watch = memory_watch.MemoryWatch()
    watch.close()  # its own looks are at all of it, and might come in between
    group = soft.Group("one", port.Limits(memory_bytes=1 << 30, pids=8, cpu_share=1.0))
    watch.watch(family, group, kill=lambda: None)
    watch.look(family)
    assert 0 < group.memory_bytes() < HELD_MB << 20
    watch.look(family, all_of_it=True)
    assert group.memory_bytes() > HELD_MB << 20
