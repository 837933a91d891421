import mmap
import os
import signal
import subprocess

import psutil

from runtime.pool import cgroups
from runtime.pool.cgroups import soft

LIMITS = cgroups.Limits(memory_bytes=100, pids=10, cpu_share=0.5)


def test_the_watch_decides_once_and_remembers_the_peak():
    watch = soft.Watch(100)
    assert not watch.see(100)
    assert watch.see(101)
    assert watch.see(50), "a worker that was over its limit stays condemned"
    assert watch.peak_bytes == 101
    watch.restart()
    assert watch.peak_bytes == 50


def test_a_group_reports_what_its_watch_saw():
    group = soft.Backend().acquire(LIMITS)
    assert (group.join_fds, group.clone_fd) == ((), None)
    assert not group.freeze()
    assert not group.kill()
    assert group.oom_kills() == 0
    group.watch.see(500)
    assert (group.memory_bytes(), group.peak_bytes(), group.oom_kills()) == (500, 500, 1)


def test_memory_of_a_process_is_measured_and_of_a_dead_one_is_zero():
    assert soft.measure(os.getpid()) > 1 << 20
    assert soft.measure(2**22 + 1) == 0


def test_who_is_looked_at_by_themselves_are_not_counted_for_whom_they_descend_from():
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        try:
            assert child.pid in soft.family(os.getpid())
            assert child.pid not in soft.family(os.getpid(), {child.pid})
        finally:
            child.kill()


def test_the_backstop_is_far_above_the_limit():
    assert soft.address_space(128 << 20) == (1 << 30) + (4 << 30)


def test_the_controls_say_why_there_is_no_cgroup_and_what_to_do():
    backend = soft.Backend(cgroups.Unavailable("not delegated", "use Delegate=yes"))
    control = backend.controls["memory"]
    assert (control.engaged, control.why, control.cure) == (False, "not delegated", "use Delegate=yes")


def test_a_quota_is_never_below_what_the_kernel_takes():
    quota = [cgroups.Limits(memory_bytes=1, pids=1, cpu_share=share).quota_us for share in (0.001, 0.5, 2.0)]
    assert quota == [1000, 10_000, 40_000]


def test_a_worker_is_stopped_with_all_it_started_and_goes_on_with_them():
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        if not os.fork():
            os.setsid()
            os.write(theirs, b"x")
        signal.pause()
    os.read(ours, 1)
    try:
        assert len(soft.family(pid)) == 2
        while not soft.stop(pid):
            pass
        assert [psutil.Process(one).status() for one in soft.family(pid)] == ["stopped"] * 2
        soft.go_on(pid)
        assert not soft.stop(pid)
    finally:
        for one in reversed(soft.family(pid)):
            os.kill(one, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ours)
        os.close(theirs)
    assert soft.stop(2**22 + 1), "one that is gone stands"


def test_files_that_an_opaque_process_maps_are_not_its_own(monkeypatch):
    def refuse(_process):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
    process = psutil.Process()
    memory = process.memory_info()
    assert memory.shared > 1 << 20, "the control: the interpreter and its libraries"
    assert abs(soft.measure_one(os.getpid()) - (memory.rss - memory.shared)) < 4 << 20
    with mmap.mmap(-1, 32 << 20) as shared:
        before = soft.measure_one(os.getpid())
        shared.write(bytes(32 << 20))
        assert soft.measure_one(os.getpid()) - before > 24 << 20, "memory that it shares with its children is"
