"""The order of the sandbox's steps, and what becomes of one that fails, with steps that only take notes."""

import os

import pytest

from runtime import wire
from runtime.worker import sandbox, seccomp
from runtime.worker.job import Job, Setting, StepFailed


def job(missing=(), skip=(), response=-1):
    order = wire.Spawn(1, 1000, 1000, "host", {"code": "/"}, "", {}, dict.fromkeys(skip, "because"))
    setting = Setting("root", seccomp.program("x86_64"), 7, (), {}, -1)
    return Job(setting, order, {"response": response}, (), dict.fromkeys(missing, "because"))


def test_the_order_is_the_one_that_is_explained():
    names = [name for name, _ in sandbox.PREPARE + sandbox.SEAL]
    explained = [line.split()[0] for line in sandbox.__doc__.splitlines() if line.startswith("    ") and line[4] != " "]
    assert [name for name in explained if name != "---"] == names
    assert names[0] == "cgroup"
    assert names[-1] == "seccomp"
    assert names.index("user") < names.index("limits") < names.index("identity") < names.index("privileges")


def test_steps_run_in_order_until_one_fails():
    notes = []

    def fail(_job):
        raise OSError(13, "no entry")

    steps = (("a", lambda _: notes.append("a")), ("b", fail), ("c", lambda _: notes.append("c")))
    with pytest.raises(StepFailed) as caught:
        sandbox.run(steps, job())
    assert (caught.value.step, caught.value.errno, caught.value.reason) == ("b", 13, "[Errno 13] no entry")
    assert notes == ["a"]


def test_any_exception_is_a_failure_of_its_step():
    with pytest.raises(StepFailed) as caught:
        sandbox.run((("a", lambda job: job.fds["nothing"]),), job())
    assert (caught.value.step, caught.value.errno, caught.value.reason) == ("a", 0, "KeyError: 'nothing'")


def test_what_is_missing_is_not_run():
    notes = []
    sandbox.run((("a", lambda _: notes.append("a")), ("b", lambda _: notes.append("b"))), job(missing=["a"]))
    assert notes == ["b"]


@pytest.mark.parametrize("name", sorted(sandbox.OPTIONAL))
def test_what_may_be_left_out(name):
    sandbox.check(job(skip=[name]))


@pytest.mark.parametrize(
    "name", ["namespaces", "proc", "mounts", "identity", "privileges", "descriptors", "secomp", ""]
)
def test_what_may_not(name):
    with pytest.raises(StepFailed, match="cannot be left out"):
        sandbox.check(job(skip=[name, "ipc"]))


@pytest.mark.parametrize("broken", [name for name, _ in sandbox.PREPARE + sandbox.SEAL])
def test_a_failure_is_told_and_the_process_never_serves(monkeypatch, broken):
    def step(name):
        def run(_job):
            if name == broken:
                raise PermissionError(1, "not you")

        return name, run

    monkeypatch.setattr(sandbox, "PREPARE", tuple(step(name) for name, _ in sandbox.PREPARE))
    monkeypatch.setattr(sandbox, "SEAL", tuple(step(name) for name, _ in sandbox.SEAL))
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        sandbox.confine(job(response=write_end), lambda *_: os._exit(0), lambda: None)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        told = list(wire.Decoder(wire.WORKER_MESSAGES).feed(pipe.read()))
    assert told == [wire.Refused(broken, 1, "[Errno 1] not you")]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == sandbox.REFUSED
