"""The mounter: it gives sealed blanks their functions' folders, each once and before any code of a function runs."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
import sandbox_rig

from runtime import wire
from runtime.pool import mounting
from runtime.worker import sandbox

TASK_MOUNTS = "result = [line.split()[3:6] for line in open('/proc/self/mountinfo') if line.split()[4] == '/var/task']"
ROOT_OR_USER = "root" if sandbox_rig.ROOT else "user"


@pytest_asyncio.fixture(params=sandbox_rig.STRONG)
async def rig(request):
    async with sandbox_rig.rig(sandbox_rig.public(), request.param, ahead=True) as one:
        yield one


def blank(rig):
    """Order a blank with a gate; return it, its folders not ordered yet."""
    gate = mounting.Gate()
    worker = rig.order(code=None, layers=None, gate_fd=gate.theirs_fd)
    gate.passed()
    worker.gate = gate
    return worker


def folder(rig, name, content="value = 1"):
    """Return another folder of code."""
    made = rig.folder / name
    made.mkdir()
    (made / "probe.py").write_text(content)
    sandbox_rig.open_to_all(rig.folder)
    return str(made)


def status_of(pid):
    """Return what the kernel tells of a process: proc_pid_status(5)."""
    return dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def order_for_ever(mounter, gate):
    while True:
        mounter.mount({"code": "x" * 4000}, gate)


def mounter_pid(rig):
    return rig.spawner.mounter._pid


async def adopted(rig, worker, folders):
    """Give a blank its folders, and have it become the probing function; return its answer."""
    rig.spawner.mounter.mount(folders, worker.gate)
    assert type(await worker.receive()) is wire.Confined
    return await worker.become()


async def test_a_sealed_blank_waits_and_then_serves_what_it_was_given(rig):
    worker = blank(rig)
    assert type(await worker.receive()) is wire.Confined
    kept = status_of(sandbox_rig.pid_of(await worker.listener.pidfd))
    assert (kept["Seccomp"], kept["NoNewPrivs"], int(kept["CapPrm"], 16)) == ("2", "1", 0)
    rig.spawner.mounter.mount({"code": str(rig.code)}, worker.gate)
    assert type(await worker.become()) is wire.Ready
    assert worker.gate.refusal() == ""
    assert await worker.run("import os; result = [os.getcwd(), os.listdir('.')]") == ["/var/task", ["probe.py"]]


async def test_an_order_may_come_before_the_blank_is_sealed_and_others_need_not_wait_for_it(rig):
    late, early = mounting.Gate(), blank(rig)
    rig.spawner.mounter.mount({"code": str(rig.code)}, late)
    assert type(await adopted(rig, early, {"code": str(rig.code)})) is wire.Ready
    worker = rig.order(code=None, layers=None, gate_fd=late.theirs_fd)
    late.passed()
    worker.gate = late
    assert type(await worker.receive()) is wire.Confined
    assert type(await worker.become()) is wire.Ready


async def test_a_worker_that_was_assigned_is_never_entered_again(rig):
    worker = blank(rig)
    assert type(await adopted(rig, worker, {"code": str(rig.code)})) is wire.Ready
    before = await worker.run(TASK_MOUNTS)
    assert len(before) == 1
    # As no supervisor does: the same gate a second time.
    rig.spawner.mounter.mount({"code": folder(rig, "other")}, worker.gate)
    # Orders are served in turn, so when the next one is, this one was, too.
    assert type(await adopted(rig, blank(rig), {"code": str(rig.code)})) is wire.Ready
    assert await worker.run(TASK_MOUNTS) == before


@pytest.mark.skipif(not sandbox_rig.ROOT, reason="needs root")
async def test_what_a_worker_could_pass_through_a_gate_would_be_entered(rig):
    """The control of the tests around it: nothing but the gate, which a worker has no more, keeps the mounter out."""
    worker = blank(rig)
    assert type(await adopted(rig, worker, {"code": str(rig.code)})) is wire.Ready
    namespace = os.open(f"/proc/{sandbox_rig.pid_of(await worker.listener.pidfd)}/ns/mnt", os.O_RDONLY)
    gate = mounting.Gate()
    with socket.socket(fileno=os.dup(gate.theirs_fd)) as as_a_blank:
        socket.send_fds(as_a_blank, [wire.NAMESPACE], [namespace])
        rig.spawner.mounter.mount({"code": folder(rig, "other")}, gate)
        await sandbox_rig.readable(as_a_blank)
        assert as_a_blank.recv(wire.GATE_LIMIT) == wire.PLACED
    assert len(await worker.run(TASK_MOUNTS)) == 2
    os.close(namespace)
    rig.spawner.mounter.forget(gate)
    gate.close()


async def test_a_blank_that_was_entered_but_has_not_gone_on_is_not_entered_again(rig):
    worker = blank(rig)
    rig.spawner.mounter.mount({"code": str(rig.code)}, worker.gate)
    rig.spawner.mounter.mount({"code": folder(rig, "other")}, worker.gate)
    assert type(await worker.receive()) is wire.Confined
    assert type(await worker.become()) is wire.Ready
    assert len(await worker.run(TASK_MOUNTS)) == 1


async def test_folders_that_are_not_there_end_the_blank_and_are_named_and_the_next_is_served(rig):
    worker = blank(rig)
    rig.spawner.mounter.mount({"code": "/nowhere/at/all"}, worker.gate)
    assert type(await worker.receive()) is wire.Confined
    worker.send(wire.Assign("probe.handler", {}, "/var/task", "/opt", "/var/runtime", 128, "g", "s"))
    assert await worker.ended() == ("exit", 70 << 8)
    assert "No such file" in worker.gate.refusal()
    assert type(await adopted(rig, blank(rig), {"code": str(rig.code)})) is wire.Ready


async def test_an_order_for_a_blank_that_died_harms_nobody(rig):
    worker = blank(rig)
    assert type(await worker.receive()) is wire.Confined
    rig.spawner.kill(worker.slot)
    assert await worker.ended() == ("exit", signal.SIGKILL)
    rig.spawner.mounter.mount({"code": str(rig.code)}, worker.gate)
    assert type(await adopted(rig, blank(rig), {"code": str(rig.code)})) is wire.Ready


async def test_a_sealed_blank_ends_with_its_gate(rig):
    worker = blank(rig)
    assert type(await worker.receive()) is wire.Confined
    worker.gate.close()
    worker.gate = None
    assert await worker.ended() == ("exit", sandbox.REFUSED << 8)


async def test_a_sealed_blank_that_has_its_folders_ends_with_its_request_pipe(rig):
    worker = blank(rig)
    rig.spawner.mounter.mount({"code": str(rig.code)}, worker.gate)
    assert type(await worker.receive()) is wire.Confined
    os.close(worker.requests)
    worker.requests = os.open("/dev/null", os.O_WRONLY)
    assert await worker.ended() == ("exit", 0)


async def test_it_is_confined(rig):
    assert type(await adopted(rig, blank(rig), {"code": str(rig.code)})) is wire.Ready  # it serves, so it is
    pid = mounter_pid(rig)
    assert psutil.Process(pid).name() == "mounter"
    assert psutil.Process(pid).nice() == (-10 if rig.mode == "root" else 0)
    kept = status_of(pid)
    assert (kept["Seccomp"], kept["NoNewPrivs"], kept["CapInh"], kept["CapBnd"]) == ("2", "1", *["0" * 16] * 2)
    most = 1 << 1 | 1 << 2 | 1 << 18 | 1 << 21
    assert int(kept["CapEff"], 16) | most == most
    if sandbox_rig.ROOT:  # it is opaque to others
        assert {*os.listdir(f"/proc/{pid}/fd")} == {"0", "1", "2", "3", "4", "5"}


async def test_where_it_is_killed_another_takes_its_place_again_and_again():
    async with sandbox_rig.rig(sandbox_rig.public(), ROOT_OR_USER) as one:
        for _ in range(3):
            mounter, process = one.spawner.mounter, psutil.Process(mounter_pid(one))
            process.kill()
            async with asyncio.timeout(sandbox_rig.DEADLINE):
                while one.spawner.mounter in {mounter, None}:
                    await asyncio.sleep(0)
            assert type(await adopted(one, blank(one), {"code": str(one.code)})) is wire.Ready
            others = psutil.Process(one.spawner.pid).children(recursive=True)
            assert [each.pid for each in others if each.name() == "mounter"] == [mounter_pid(one)]
            assert mounter_pid(one) != process.pid
        assert one.lost == []


async def test_where_it_ends_by_itself_none_takes_its_place():
    async with sandbox_rig.rig(sandbox_rig.public(), ROOT_OR_USER) as one:
        process = psutil.Process(mounter_pid(one))
        process.terminate()
        await sandbox_rig.gone([process.pid])
        assert await (await one.worker()).run("result = 6 * 7") == 42  # the zygote has heard of it by then
        assert one.spawner.mounter is None


@pytest.mark.parametrize("how", ["killed", "closed"])
async def test_when_it_ends_those_who_wait_for_it_end_and_the_zygote_serves_on(how):
    lost = []
    async with sandbox_rig.rig(sandbox_rig.public(), ROOT_OR_USER) as one:
        one.spawner._on_mounter_lost = lambda: lost.append("mounter")
        worker = blank(one)
        assert type(await worker.receive()) is wire.Confined
        process, mounter = psutil.Process(mounter_pid(one)), one.spawner.mounter
        process.suspend()
        mounter.mount({"code": str(one.code)}, worker.gate)
        worker.send(wire.Assign("probe.handler", {}, "/var/task", "/opt", "/var/runtime", 128, "g", "s"))
        if how == "killed":
            process.kill()
            async with asyncio.timeout(sandbox_rig.DEADLINE):
                while not lost:
                    await asyncio.sleep(0)
        else:
            mounter.close()
            one.spawner.mounter = None
            process.resume()
        assert await worker.ended() == ("exit", 70 << 8)
        assert worker.gate.refusal() == "the mounter is gone"
        assert one.lost == []
        assert await (await one.worker()).run("result = 6 * 7") == 42
        await sandbox_rig.gone([process.pid])


async def test_it_ends_with_the_zygote():
    async with sandbox_rig.rig(sandbox_rig.public(), ROOT_OR_USER) as one:
        pid = mounter_pid(one)
        os.kill(one.spawner.pid, signal.SIGKILL)
        await sandbox_rig.gone([pid])
        assert one.spawner.mounter is None or one.lost == []


async def test_an_order_that_is_none_ends_it_and_nothing_else():
    async with sandbox_rig.rig(sandbox_rig.public(), ROOT_OR_USER) as one:
        mounter = one.spawner.mounter
        mounter._end.send(b"nonsense")
        os.eventfd_write(mounter._bell, 1)
        async with asyncio.timeout(sandbox_rig.DEADLINE):
            while one.spawner.mounter is not None:
                await asyncio.sleep(0)
        assert await (await one.worker()).run("result = 6 * 7") == 42


async def test_there_is_none_where_nothing_is_mounted_and_a_gate_is_refused():
    async with sandbox_rig.rig(sandbox_rig.public(), "bare") as one:
        assert one.spawner.mounter is None
        worker = blank(one)
        refused = await worker.receive()
        assert (type(refused), refused.step) == (wire.Refused, "order")


async def test_a_worker_with_folders_of_its_own_has_no_gate(rig):
    gate = mounting.Gate()
    worker = rig.order(door_fd=gate.fileno(), gate_fd=gate.theirs_fd)
    refused = await worker.receive()
    assert (type(refused), refused.step) == (wire.Refused, "order")
    gate.close()


async def test_an_order_that_it_cannot_take_is_told():
    async with sandbox_rig.rig(sandbox_rig.public(), ROOT_OR_USER) as one:
        mounter, gate = one.spawner.mounter, mounting.Gate()
        process = psutil.Process(mounter_pid(one))
        process.suspend()
        with pytest.raises(BrokenPipeError, match="takes no order"):
            order_for_ever(mounter, gate)
        process.resume()
        gate.close()
