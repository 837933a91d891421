"""The supervisor's side of a zygote, against real ones."""

import asyncio
import os
import signal
import socket
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import sandbox_rig
import uvloop

from runtime import errors, wire
from runtime.pool import packets, spawner


@pytest.fixture(params=sandbox_rig.MODES)
async def rig(request):
    async with sandbox_rig.rig(sandbox_rig.public(), request.param) as one:
        yield one


@pytest.fixture
async def any_rig():
    async with sandbox_rig.rig(sandbox_rig.public(), "root" if sandbox_rig.ROOT else "user") as one:
        yield one


async def test_a_worker_is_forked_serves_and_its_end_is_told(rig):
    worker = await rig.worker()
    assert await worker.run("result = 6 * 7") == 42
    assert (await worker.listener.pidfd) > 2
    os.close(worker.requests)
    worker.requests = os.open("/dev/null", os.O_WRONLY)
    assert await worker.ended() == ("exit", 0)
    assert rig.spawner.live == 0


async def test_many_orders_at_once_all_become_workers(any_rig):
    workers = [any_rig.order() for _ in range(40)]
    assert any_rig.spawner.live == 40
    for worker in workers:
        assert type(await worker.receive()) is wire.Confined
    pids = {await worker.listener.pidfd for worker in workers}
    assert len(pids) == 40


async def test_orders_that_the_socket_cannot_hold_wait_and_are_served(any_rig):
    os.kill(zygote_pid(any_rig), signal.SIGSTOP)
    workers = []
    while not any_rig.spawner._channel.waiting:
        workers.append(any_rig.order())
    workers += [any_rig.order() for _ in range(3)]
    assert any_rig.spawner._channel.waiting == 4
    os.kill(zygote_pid(any_rig), signal.SIGCONT)
    for worker in workers:
        assert type(await worker.receive()) is wire.Confined
        any_rig.spawner.kill(worker.slot)
    for worker in workers:
        assert await worker.ended() == ("exit", signal.SIGKILL)


async def test_more_orders_than_the_queue_holds_are_refused(any_rig, monkeypatch):
    monkeypatch.setattr(packets, "QUEUE_LIMIT", 2)
    os.kill(zygote_pid(any_rig), signal.SIGSTOP)
    with pytest.raises(errors.WorkerLost, match="wait"):
        order_for_ever(any_rig)
    os.kill(zygote_pid(any_rig), signal.SIGCONT)


async def test_kill_ends_a_worker_with_its_children(rig):
    worker = await rig.worker()
    started = """
        import subprocess
        subprocess.Popen(["/bin/sleep", "1000"])
        subprocess.run(["/bin/sh", "-c", "setsid sh -c 'sleep 1000 & sleep 1000' & exit"])
        result = 1
    """
    await worker.run(textwrap.dedent(started))
    worker_pid = sandbox_rig.pid_of(await worker.listener.pidfd)
    async with asyncio.timeout(sandbox_rig.DEADLINE):
        while len(family := psutil.Process(worker_pid).children(recursive=True)) < 3:
            await asyncio.sleep(0.01)
    rig.spawner.kill(worker.slot)
    assert await worker.ended() == ("exit", signal.SIGKILL)
    rig.spawner.kill(worker.slot)
    await sandbox_rig.gone([one.pid for one in family])


async def test_kill_before_the_fork_is_known_is_kept(any_rig):
    worker = any_rig.order()
    any_rig.spawner.kill(worker.slot)
    assert await worker.ended() == ("exit", signal.SIGKILL)


async def test_killing_the_zygote_ends_its_workers_and_is_told(rig):
    workers = [await rig.worker() for _ in range(3)]
    pids = [sandbox_rig.pid_of(await worker.listener.pidfd) for worker in workers]
    os.kill(rig.spawner.pid, signal.SIGKILL)
    for worker in workers:
        assert await worker.ended() == ("lost",)
        assert await worker.receive() is None
    assert len(rig.lost) == 1
    assert not rig.spawner.alive
    with pytest.raises(errors.WorkerLost):
        rig.order()
    await sandbox_rig.gone(pids)


async def test_the_end_of_the_control_socket_ends_everything(rig):
    worker = await rig.worker()
    pid = sandbox_rig.pid_of(await worker.listener.pidfd)
    rig.spawner._channel._socket.shutdown(socket.SHUT_RDWR)
    assert await worker.ended() == ("lost",)
    await sandbox_rig.gone([pid, rig.spawner.pid])


async def test_closing_tells_listeners_but_is_no_loss(any_rig):
    worker = await any_rig.worker()
    await any_rig.spawner.close()
    assert await worker.ended() == ("lost",)
    assert any_rig.lost == []


async def test_wrong_descriptors_make_no_worker(any_rig):
    read_end, write_end = os.pipe()
    worker = any_rig.order(netns_fd=read_end)
    refused = await worker.receive()
    assert (type(refused), refused.step) == (wire.Refused, "network")
    assert await worker.ended() == ("exit", 70 << 8)
    os.close(read_end)
    os.close(write_end)


async def test_an_interpreter_that_does_not_exist():
    with pytest.raises(errors.WorkerLost, match="No such file"):
        await spawner.Spawner(print).start(settings(python="/nowhere/python3"))


async def test_an_interpreter_that_ends_at_once():
    with pytest.raises(errors.WorkerLost, match="ended"):
        await spawner.Spawner(print).start(settings(python="/bin/true"))


async def test_a_zygote_that_cannot_set_itself_up_says_which_step_failed(tmp_path):
    with pytest.raises(errors.IsolationError, match="the zygote failed at root: ENOENT"):
        await spawner.Spawner(print).start(settings(mode="user", sdk=str(tmp_path / "nothing")))


async def test_a_zygote_that_is_never_ready_is_given_up(tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec sleep 1000\n")
    script.chmod(0o755)
    one = spawner.Spawner(print)
    with pytest.raises(errors.WorkerLost, match="in time"):
        await one.start(settings(python=str(script), start_timeout_s=0.05))
    assert one._process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "packet",
    [
        b"x",
        b"\0\0\0\1\xc0",
        wire.encode(wire.Spawned(77)),
        wire.encode(wire.Exited(77, 0)),
        wire.encode(wire.SpawnFailed(77, "a", 1, "b")),
        wire.encode(wire.Ready()),
        wire.encode(wire.ZygoteReady({})),
        wire.encode(wire.ZygoteFailed("a", 1, "b")),
    ],
)
async def test_a_zygote_that_breaks_the_protocol_is_lost(any_rig, packet):
    worker = await any_rig.worker()
    any_rig.spawner._on_packet(packet, [])
    assert await worker.ended() == ("lost",)
    assert len(any_rig.lost) == 1


def test_it_serves_on_uvloop_too():
    async def serve():
        async with sandbox_rig.rig(sandbox_rig.public(), "root" if sandbox_rig.ROOT else "user") as one:
            worker = await one.worker()
            assert await worker.run("result = 1") == 1
            one.spawner.kill(worker.slot)
            assert await worker.ended() == ("exit", signal.SIGKILL)

    uvloop.run(serve())


def order_for_ever(rig):
    while True:
        rig.order()


def settings(**changes):
    folders = tuple(
        sorted({str(sandbox_rig.Path(module.__file__).parents[1]) for module in (errors, __import__("msgpack"))})
    )
    defaults = {"python": sys._base_executable, "library": folders, "sdk": None, "mode": "bare"}
    return spawner.Settings(**{**defaults, **changes})


def zygote_pid(rig):
    """Return the pid of the zygote proper: the child of what was started, where there are namespaces."""
    pid = rig.spawner.pid
    return int((Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or [pid])[0])


async def test_a_worker_is_in_the_cgroups_it_was_ordered_into(cgroup_v1, any_rig):
    worker = await any_rig.worker(cgroup_fds=cgroup_v1.tasks)
    assert await worker.run("result = open('/proc/self/cgroup').read()")
    pid = sandbox_rig.pid_of(await worker.listener.pidfd)
    assert cgroup_v1.pids() == {pid}


async def test_a_worker_is_born_in_a_v2_cgroup(cgroup_v2, any_rig):
    worker = await any_rig.worker(cgroup_folder_fd=cgroup_v2.folder)
    pid = sandbox_rig.pid_of(await worker.listener.pidfd)
    assert cgroup_v2.pids() == {pid}
    # It is a process like any other: it knows its own number, and starts threads and processes.
    source = """
    import os, subprocess, threading
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    result = [os.getpid(), threading.get_native_id(), subprocess.run(["/bin/true"]).returncode]
    """
    assert await worker.run(source) == [1, 1, 0]


async def test_no_worker_comes_of_an_order_without_a_cgroup(any_rig):
    worker = any_rig.order(skip={"cgroup": ""}, cgroup_fds=())
    assert type(await worker.receive()) is wire.Confined
    worker = any_rig.order(bare_of_cgroup=True)
    assert await worker.ended() == ("failed", "fork", 9, "[Errno 9] no cgroup was passed")
    assert await worker.receive() is None


async def test_no_worker_comes_of_an_order_whose_cgroup_cannot_be_joined(any_rig):
    read_only = os.open("/dev/null", os.O_RDONLY)
    worker = any_rig.order(cgroup_fds=(read_only,))
    assert await worker.receive() == wire.Refused("cgroup", 9, "[Errno 9] Bad file descriptor")
    worker = any_rig.order(cgroup_folder_fd=read_only)
    kind, step, _, _ = await worker.ended()
    assert (kind, step) == ("failed", "fork")
    os.close(read_only)


class Cgroup:
    def __init__(self, folders):
        self.folders = folders
        self.tasks = tuple(os.open(folder / "tasks", os.O_WRONLY) for folder in folders if (folder / "tasks").exists())
        self.folder = os.open(folders[0], os.O_RDONLY | os.O_DIRECTORY)

    def pids(self):
        return {int(pid) for folder in self.folders for pid in (folder / "cgroup.procs").read_text().split()}

    def close(self):
        for fd in (*self.tasks, self.folder):
            os.close(fd)


@pytest.fixture
def cgroup_v1():
    yield from made_cgroup([Path("/sys/fs/cgroup") / name for name in ("pids", "freezer")])


@pytest.fixture
def cgroup_v2():
    yield from made_cgroup(
        [
            path
            for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
            if (path / "cgroup.controllers").exists()
        ][:1]
    )


def made_cgroup(parents):
    folders = [parent / f"hotfork-test-{os.getpid()}" for parent in parents]
    try:
        for folder in folders:
            folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    if not folders:
        pytest.skip("no such cgroup here")
    cgroup = Cgroup(folders)
    yield cgroup
    cgroup.close()
    for folder in folders:
        folder.rmdir()
