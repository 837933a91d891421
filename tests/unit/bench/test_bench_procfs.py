import os
import signal
import subprocess
import sys

import pytest

from bench import procfs


@pytest.fixture
def sleeper():
    """A child that has used some CPU time, waited for a child of its own, and now waits."""
    program = (
        "# Started as a zygote is, as far as bench can tell.\n"
        "import os, time\n"
        "pid = os.fork()\n"
        "while time.process_time() < (0.1 if pid else 0.2): pass\n"
        "if not pid: os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "print('ready', flush=True); input()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_a_process_and_its_figures(sleeper):
    pid = sleeper.pid
    found = procfs.stat(pid)
    assert found.parent == os.getpid()
    assert found.threads == 1
    # In steps of 10 ms; user and system are each rounded down.
    assert found.cpu.total >= 0.08
    assert found.reaped.total >= 0.18
    assert pid in procfs.children()[os.getpid()]
    assert 0 < procfs.pss(pid) <= procfs.rss(pid) + 4096
    assert procfs.descriptors(pid) >= 3
    assert procfs.mounts(pid) >= 1
    assert procfs.namespace_depth(pid) == procfs.namespace_depth(os.getpid())


def test_a_family_is_told_apart_where_there_are_no_namespaces(sleeper):
    found = procfs.family(os.getpid())
    assert sleeper.pid in found.zygotes
    assert sleeper.pid not in (*found.workers, *found.helpers)
    taken = procfs.family_cpu(os.getpid())
    assert taken.zygote.total >= 0.08
    assert taken.workers.total >= 0.18
    assert (procfs.family_cpu(os.getpid()) - taken).zygote.total < taken.zygote.total


def test_the_cpu_time_of_a_tree_holds_that_of_those_who_ended(sleeper):
    assert procfs.tree_cpu(sleeper.pid) >= 0.26
    assert procfs.tree_cpu(os.getpid()) >= procfs.tree_cpu(sleeper.pid)


@pytest.fixture
def stranger():
    """What starts a process that is nobody's of ours, as far as can be told: it says its number, and when it has run."""
    program = (
        "import os, signal, time\n"
        "if os.fork(): os._exit(0)\n"
        "print(os.getpid(), flush=True)\n"
        "while time.process_time() < 0.5: pass\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    pids = []

    def start():
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        pids.append(int(process.stdout.readline()))
        assert process.wait() == 0
        with process.stdout as said:
            assert said.readline() == b"ready\n"

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_what_others_take_is_told_apart(stranger):
    before = procfs.family_cpu(os.getpid())
    stranger()
    taken = procfs.family_cpu(os.getpid()) - before
    assert taken.others_s >= 0.4
    assert taken.kernel_threads_s >= 0.0


def test_a_process_that_is_gone_has_none(sleeper):
    pid = sleeper.pid
    sleeper.kill()
    sleeper.wait()
    assert procfs.stat(pid) is None
    assert procfs.pss(pid) is None
    assert procfs.rss(pid) is None
    assert procfs.descriptors(pid) is None
    assert procfs.mounts(pid) is None
    assert procfs.namespace_depth(pid) == 0


def test_there_is_memory():
    assert procfs.memory_available() > 2**20
