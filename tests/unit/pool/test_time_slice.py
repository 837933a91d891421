"""Time slices, as the kernel tells of them."""

import os
import subprocess
import sys

import pytest

from runtime.pool import time_slice

KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])
pytestmark = pytest.mark.skipif(KERNEL < (6, 12), reason="before Linux 6.12 every process has the same time slice")

SHORTEN_OWN = """
import subprocess, sys, threading
from runtime.pool import time_slice
before = time_slice.of(0)
time_slice.shorten_own()
slices = [time_slice.of(0)]
thread = threading.Thread(target=lambda: slices.append(time_slice.of(0)))
thread.start()
thread.join()
show = "from runtime.pool import time_slice; print(time_slice.of(0))"
slices.append(int(subprocess.run([sys.executable, "-c", show], capture_output=True, check=True).stdout))
print(before, *slices)
"""


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def test_a_process_gets_a_short_one_and_keeps_its_nice_value(sleeper):
    os.setpriority(os.PRIO_PROCESS, sleeper, 3)
    assert time_slice.of(sleeper) > time_slice.SLICE_NS
    time_slice.shorten(sleeper)
    assert time_slice.of(sleeper) == time_slice.SLICE_NS
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 3
    assert os.sched_getscheduler(sleeper) == os.SCHED_OTHER


def test_a_threads_own_is_nobody_elses():
    done = subprocess.run([sys.executable, "-c", SHORTEN_OWN], capture_output=True, text=True, check=True)
    before, own, thread, child = map(int, done.stdout.split())
    assert own == time_slice.SLICE_NS < before
    assert thread == child == before


def test_one_that_is_gone_is_nobodys_trouble(sleeper):
    os.kill(sleeper, 9)
    os.waitpid(sleeper, 0)
    time_slice.shorten(sleeper)
    with pytest.raises(OSError, match="sched"):
        time_slice.of(sleeper)
