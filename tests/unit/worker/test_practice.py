"""The steps of the sandbox, practised: as if, and without any effect."""

import os
import resource
from pathlib import Path

import pytest

from runtime import wire
from runtime.worker import kernel, practice, sandbox, seccomp
from runtime.worker.job import Job, Setting

SETTING = Setting("root", seccomp.program(kernel.MACHINE), 7, (), {}, -1)


def state():
    """What the steps change in a process that they confine."""
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    kept = ("Uid", "Gid", "Groups", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")
    return (
        {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},  # noqa: PTH115
        Path("/proc/self/mountinfo").read_text(),
        [resource.getrlimit(limit) for limit in range(16)],
        {name: status[name] for name in kept},
        os.getpgid(0),
        os.uname().nodename,
        sorted(os.listdir("/proc/self/fd")),
    )


def begin_with(seen, setting=SETTING):
    def begin(order, fds, cgroups):
        seen.append(Job(setting, order, fds, cgroups, dict(setting.absent)))
        return seen[-1]

    return begin


@pytest.fixture
def ran(monkeypatch):
    """Names of the steps that are run to their end, in the folder of a function."""
    names = []
    run = sandbox.run

    def noted(steps, job):
        for step in steps:
            run((step,), job)
            if step[0] not in job.missing:
                names.append(step[0])

    monkeypatch.setattr(sandbox, "run", noted)
    monkeypatch.setattr(os, "chdir", names.append)
    return names


def test_all_steps_run_that_call_the_kernel_by_our_functions_alone_and_none_has_an_effect(ran):
    before, jobs = state(), []
    practice.steps(begin_with(jobs))
    assert state() == before
    practised = [name for name in ran if name != "/var/task"]
    others = {"group", "hostname", "user", "identity", "descriptors"}
    assert practised == [name for name, _ in sandbox.PREPARE + sandbox.SEAL if name not in others]
    assert {function for name, function in sandbox.PREPARE + sandbox.SEAL if name in others} == {*practice.OTHERS}
    assert ran[practised.index("directory")] == "/var/task"
    assert [job.has_gate for job in jobs] == [False, True]


def test_the_kernel_is_called_again_afterwards_whatever_happened():
    def begin(*_given):
        kernel.unshare(1 << 40)  # nothing that the kernel knows
        raise LookupError

    with pytest.raises(LookupError):
        practice.steps(begin)
    with pytest.raises(OSError, match="unshare"):
        kernel.unshare(1 << 40)
    allowed = resource.getrlimit(resource.RLIMIT_SIGPENDING)[1]
    lower = allowed - 1 if allowed != resource.RLIM_INFINITY else 10_000
    kernel.hold_to(resource.RLIMIT_SIGPENDING, lower)
    assert resource.getrlimit(resource.RLIMIT_SIGPENDING) == (lower, lower)


def test_a_step_that_fails_is_told_by_the_workers(ran, monkeypatch):
    def fail(*_given):
        raise OSError(28, "no space")

    monkeypatch.setattr(kernel, "new_filesystem", fail)
    before = state()
    practice.steps(begin_with([]))
    assert state() == before
    assert "namespaces" in ran
    assert "proc" not in ran


def test_what_is_missing_is_not_practised(ran):
    setting = Setting("root", b"", 0, (), {"landlock": "the kernel has none", "network": "none"}, -1)
    practice.steps(begin_with([], setting))
    assert not {"landlock", "network"} & {*ran}
    assert "seccomp" in ran


def test_the_order_is_one_that_is_accepted():
    seen = []
    practice.steps(begin_with(seen))
    assert wire.parse_packet(wire.encode(seen[0].order), wire.ZYGOTE_ORDERS) == seen[0].order
