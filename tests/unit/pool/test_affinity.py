"""When the event loop and a worker share a processor, and that they part."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading

import pytest

from runtime.pool import affinity

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
ALL = os.sched_getaffinity(0)


class Fake:
    """A worker that notes where it may run."""

    def __init__(self, last_s=0.0001, *, willing=True):
        self.last_s = last_s
        self.processors = set(ALL)
        self.willing = willing

    def bind(self, processors):
        if self.willing:
            self.processors = set(processors)
        return self.willing


class Loop:
    """An event loop that has timers and nothing else."""

    def __init__(self):
        self.timers = []

    def call_later(self, _delay, callback):
        timer = asyncio.TimerHandle(0.0, callback, (), self)
        self.timers.append(timer)
        return timer

    def _timer_handle_cancelled(self, timer):
        self.timers.remove(timer)

    def ring(self):
        for timer in self.timers.copy():
            self.timers.remove(timer)
            timer._run()

    def call_exception_handler(self, context):
        raise context["exception"]

    def get_debug(self):
        return False


@pytest.fixture
def loop():
    return Loop()


class Busy:
    """Clocks of a loop that runs for a share of the time."""

    def __init__(self, share):
        self.share = share
        self.now = 0.0

    def clock(self):
        self.now += 1.0
        return self.now

    def cpu_clock(self):
        return self.now * self.share


@pytest.fixture
def busy():
    return Busy(0.5)


@pytest.fixture
def shared(loop, busy):
    shared = affinity.Affinity(loop, clock=busy.clock, cpu_clock=busy.cpu_clock)
    yield shared
    shared.part()
    assert os.sched_getaffinity(0) == ALL


def call(shared, *workers):
    """Run calls that overlap."""
    for one in workers:
        shared.given(one)
    for _ in workers:
        shared.ended()


def settle(shared, one):
    for _ in range(affinity.ENOUGH + 1):
        call(shared, one)


def test_short_calls_one_at_a_time_bring_loop_and_worker_together(shared):
    one = Fake()
    for _ in range(affinity.ENOUGH):
        call(shared, one)
    assert one.processors == os.sched_getaffinity(0) == ALL
    call(shared, one)
    assert len(one.processors) == 1
    assert os.sched_getaffinity(0) == one.processors


def test_a_second_worker_joins(shared):
    one, other = Fake(), Fake()
    settle(shared, one)
    call(shared, other)
    assert other.processors == one.processors == os.sched_getaffinity(0)


def test_no_more_than_some_are_bound_at_a_time(shared):
    workers = [Fake() for _ in range(affinity.MOST + 3)]
    settle(shared, workers[0])
    for one in workers:
        call(shared, one)
    assert sum(len(one.processors) == 1 for one in workers) == affinity.MOST


def test_calls_that_wait_for_one_worker_do_not_come_one_at_a_time(shared):
    one = Fake()
    settle(shared, one)
    shared.given(one, waited=True)
    shared.ended()
    assert one.processors == os.sched_getaffinity(0) == ALL
    for _ in range(2 * affinity.ENOUGH):
        shared.given(one, waited=True)
        shared.ended()
    assert one.processors == os.sched_getaffinity(0) == ALL


@pytest.mark.parametrize("last_s", [0.0, affinity.SHORT_S * 1.01], ids=["none yet", "long"])
def test_a_worker_that_is_not_known_for_short_calls_is_left_alone(shared, last_s):
    one = Fake(last_s)
    settle(shared, one)
    assert one.processors == os.sched_getaffinity(0) == ALL


def test_a_long_call_parts_them(shared):
    one = Fake()
    settle(shared, one)
    one.last_s = 1.0
    call(shared, one)
    assert one.processors == os.sched_getaffinity(0) == ALL


def test_a_loop_that_has_more_to_do_keeps_its_processor_to_itself(shared, busy):
    one = Fake()
    busy.share = 0.95
    settle(shared, one)
    assert one.processors == os.sched_getaffinity(0) == ALL
    busy.share = 0.0
    settle(shared, one)
    assert len(one.processors) == 1


def test_calls_that_overlap_part_them(shared, loop):
    one, other = Fake(), Fake()
    settle(shared, one)
    call(shared, one, other)
    assert one.processors == other.processors == os.sched_getaffinity(0) == ALL
    assert not loop.timers


def test_calls_that_always_overlap_never_meet(shared):
    one, other = Fake(), Fake()
    for _ in range(affinity.ENOUGH * 3):
        call(shared, one, other)
    assert one.processors == os.sched_getaffinity(0) == ALL


def test_the_kernel_chooses_anew_in_between(shared, loop):
    one = Fake()
    settle(shared, one)
    loop.ring()
    assert one.processors == os.sched_getaffinity(0) == ALL
    for _ in range(affinity.AGAIN):
        call(shared, one)
    assert os.sched_getaffinity(0) == ALL
    call(shared, one)
    assert len(one.processors) == 1


def test_a_call_that_goes_on_is_released_soon(shared, loop):
    one = Fake()
    settle(shared, one)
    shared.given(one)
    assert len(one.processors) == 1
    loop.ring()
    assert one.processors == ALL
    assert not loop.timers
    shared.ended()


def test_a_worker_that_may_not_be_bound_is_the_end_of_it(shared, loop):
    one = Fake(willing=False)
    settle(shared, one)
    loop.ring()
    settle(shared, one)
    assert os.sched_getaffinity(0) == ALL
    assert not loop.timers


def test_a_dead_worker_is_forgotten(shared):
    one = Fake()
    settle(shared, one)
    shared.forget(one)
    one.willing = False
    shared.part()
    assert len(one.processors) == 1


def test_threads_that_began_meanwhile_are_released(shared):
    settle(shared, Fake())
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert len(os.sched_getaffinity(thread.native_id)) == 1
        shared.part()
        assert os.sched_getaffinity(thread.native_id) == ALL
    finally:
        end.set()
        thread.join()


THREADS = """
import sys, threading
threads = [threading.Thread(target=sys.stdin.read) for _ in range(int(sys.argv[1]) - 1)]
[thread.start() for thread in threads]
print(flush=True)
"""


@contextlib.contextmanager
def process_of(count):
    """Run a process of so many threads; yield its pid and theirs."""
    command = [sys.executable, "-c", THREADS, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        threads = [int(name) for name in os.listdir(f"/proc/{process.pid}/task")]
        assert len(threads) == count
        yield process.pid, threads


def test_all_threads_of_a_process_are_bound_and_released():
    with process_of(affinity.FEW) as (pid, threads):
        assert affinity.bind(pid, {min(ALL)})
        assert [os.sched_getaffinity(thread) for thread in threads] == [{min(ALL)}] * affinity.FEW
        assert affinity.bind(pid, ALL)
        assert [os.sched_getaffinity(thread) for thread in threads] == [ALL] * affinity.FEW


def test_a_process_of_many_threads_is_released_alone():
    with process_of(affinity.FEW + 1) as (pid, threads):
        assert affinity.bind(pid, {min(ALL)})
        assert [os.sched_getaffinity(thread) for thread in threads] == [ALL] * len(threads)
        os.sched_setaffinity(threads[-1], {min(ALL)})
        assert affinity.bind(pid, ALL)
        assert os.sched_getaffinity(threads[-1]) == ALL


def test_a_process_that_is_gone_needs_no_binding():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert affinity.bind(process.pid, ALL)


def test_who_is_about_to_be_woken_may_run_on_any_processor_but_ours():
    held = subprocess.Popen(["/bin/sleep", "1000"])
    try:
        affinity.keep_off(held.pid)
        assert len(os.sched_getaffinity(held.pid)) == len(ALL) - 1
        home = next(iter(ALL))
        os.sched_setaffinity(0, (home,))
        assert affinity.keep_off(held.pid) == home
        assert os.sched_getaffinity(held.pid) == ALL - {home}
        os.sched_setaffinity(held.pid, ALL)
        assert affinity.keep_off(held.pid, home) == home
        assert os.sched_getaffinity(held.pid) == ALL, "it was known to be kept off"
        other = next(iter(ALL - {home}))
        os.sched_setaffinity(0, (other,))
        assert affinity.keep_off(held.pid, home) == other
        assert os.sched_getaffinity(held.pid) == ALL - {other}
        assert os.sched_getaffinity(0) == {other}
    finally:
        affinity.release()
        held.kill()
        held.wait()
    affinity.keep_off(held.pid)  # gone: nothing to keep off


def test_where_there_is_one_processor_nobody_is_kept_off_it(monkeypatch):
    monkeypatch.setattr(affinity, "_ALLOWED", frozenset({affinity._getcpu()}))
    monkeypatch.setattr(affinity, "_getcpu", lambda: next(iter(affinity._ALLOWED)))
    before = os.sched_getaffinity(0)
    affinity.keep_off(os.getpid())
    assert os.sched_getaffinity(0) == before
