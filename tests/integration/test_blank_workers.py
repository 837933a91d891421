"""Workers that were blanks: what they wait with, and that in the end nothing tells them from others."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
import pytest_asyncio
import sandbox_rig

from runtime import wire
from runtime.pool import holding, mounting

LOOKS = """
import os, resource, sys, warnings
def fds():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink("/proc/self/fd/" + name).partition(":")[0]
        except OSError:
            pass
    return found
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
kept = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Seccomp_filters", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk", "SigIgn", "SigCgt", "Umask")
result = {
    "status": {name: status.get(name, "") for name in kept},
    "fds": fds(),
    "mounts": [line.split()[3:] for line in open("/proc/self/mountinfo")],
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")},
    "modules": sorted(name for name in sys.modules),
    "path": sys.path,
    "importers": sorted(sys.path_importer_cache),
    "environment": dict(os.environ),
    "cwd": os.getcwd(),
    "ids": [os.getpid() == os.getpgrp(), os.getppid()],
    "tmp": os.listdir(os.environ["TMPDIR"]),
    "filters": warnings.filters == __import__("warnings").filters,
    "handlers": [type(one).__name__ for one in __import__("logging").getLogger().handlers],
    "argv": sys.argv,
}
"""


@pytest_asyncio.fixture(scope="module", params=sandbox_rig.MODES, loop_scope="module")
async def rig(request):
    async with sandbox_rig.rig(sandbox_rig.public(), request.param) as one:
        yield one


pytestmark = pytest.mark.asyncio(loop_scope="module")


def folders(rig, **more):
    return {"code": str(rig.code), **({"tmp": str(rig.tmp)} if rig.mode == "bare" else {}), **more}


async def sealed(rig, *, at_once=True, ahead=False, **changes):
    """Return a worker that was a blank, and serves the probing function; or has waited for that before.

    ``ahead``: it was sealed before it had its function's folders.
    """
    gate = mounting.Gate() if ahead else None
    fds = {"gate_fd": gate.theirs_fd} if gate is not None else {}
    worker = rig.order(code=None, limits=sandbox_rig.LIMITS, **fds, **changes)
    if gate is None:
        while not at_once and not _reads(holding.pid_of(await worker.listener.pidfd)):
            await asyncio.sleep(0)
        worker.send(wire.Seal(sandbox_rig.UID, sandbox_rig.UID, folders(rig), sandbox_rig.LIMITS))
        confined = await worker.receive()
    else:
        gate.passed()
        worker.gate = gate
        confined = None if at_once else await worker.receive()
        rig.spawner.mounter.mount({"code": str(rig.code)}, gate)
        confined = confined or await worker.receive()
    assert type(confined) is wire.Confined, (confined, worker.read_log())
    ready = await worker.become()
    assert type(ready) is wire.Ready, (ready, worker.read_log())
    return worker


def _reads(pid):
    """Return whether a process sleeps in read(2), whose number is 0 on x86_64 and 63 on aarch64: proc_pid_syscall(5)."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in {"0", "63"}


@pytest.mark.parametrize("ahead", [False, True], ids=["sealed later", "sealed ahead"])
@pytest.mark.parametrize("at_once", [False, True], ids=["rehearsed", "at once"])
async def test_in_the_end_nothing_tells_it_from_a_worker_that_was_ordered_for_its_function(rig, at_once, ahead):
    if ahead and rig.mode == "bare":
        pytest.skip("nothing is mounted there")
    # One that is sealed later has its ids from what it is told then.
    ids = {} if ahead else {"uid": 0, "gid": 0}
    # The rig leaves others of a shared uid room, which differs from one worker to the next: not here.
    was_blank = await sealed(rig, at_once=at_once, ahead=ahead, **ids)
    plain = await rig.worker(limits=sandbox_rig.LIMITS)
    assert await was_blank.run(LOOKS) == await plain.run(LOOKS)


async def test_it_serves_more_than_once_and_imports_what_it_needs(rig):
    worker = await sealed(rig)
    assert await worker.run("import json, decimal, email.message; result = 6 * 7") == 42
    assert await worker.run("result = open('/var/task/probe.py').read(2) if 0 else 'again'") == "again"


async def test_it_waits_and_ends_with_its_request_pipe(rig):
    worker = rig.order(code=None)
    await worker.listener.pidfd
    assert worker.messages == []
    os.close(worker.requests)
    worker.requests = os.open("/dev/null", os.O_WRONLY)
    assert await worker.ended() == ("exit", 0)


async def test_it_can_be_killed_while_it_waits(rig):
    worker = rig.order(code=None)
    await worker.listener.pidfd
    rig.spawner.kill(worker.slot)
    assert await worker.ended() == ("exit", signal.SIGKILL)


async def test_a_step_that_fails_after_the_wait_is_named(rig):
    if rig.mode == "bare":
        pytest.skip("nothing is mounted there")
    worker = rig.order(code=None)
    worker.send(wire.Seal(sandbox_rig.UID, sandbox_rig.UID, {"code": "/nowhere/at/all"}, sandbox_rig.LIMITS))
    refused = await worker.receive()
    assert (type(refused), refused.step) == (wire.Refused, "mounts")
    assert await worker.ended() == ("exit", 70 << 8)


async def test_anything_but_a_seal_is_refused(rig):
    worker = rig.order(code=None)
    worker.send(wire.Assign("probe.handler", {}, "/", "/opt", "/", 128, "g", "s"))
    refused = await worker.receive()
    assert (type(refused), refused.step) == (wire.Refused, "order")


async def test_layers_come_with_the_seal(rig):
    if rig.mode == "bare":
        pytest.skip("layers are read where they lie")
    layers = rig.folder / "layers"
    layers.mkdir(exist_ok=True)
    (layers / "here").write_text("a layer")
    worker = rig.order(code=None)
    seal = folders(rig, layers=str(layers))
    worker.send(wire.Seal(sandbox_rig.UID, sandbox_rig.UID, seal, sandbox_rig.LIMITS))
    assert type(await worker.receive()) is wire.Confined
    assert type(await worker.become()) is wire.Ready
    assert await worker.run("result = open('/opt/here').read()") == "a layer"
    assert await worker.run("import os; result = os.listdir('/var/task')") == ["probe.py"]
