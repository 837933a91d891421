"""Reaching other processes: workers, the zygote, the supervisor; and outliving one's own end."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import attacks
import pytest
import sandbox_rig

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def alive(worker):
    return await worker.run("result = 'alive'") == "alive"


@pytest.mark.parametrize("target", ["-1", "0", "2", "-2", "os.getppid()"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
async def test_signals_reach_nobody_else(rig, target, number):
    sibling, worker = await rig.worker(), await rig.worker()
    worker.send(sandbox_rig.invoke(f"import os; os.kill({target}, {int(number)})"))
    await worker.receive()  # an answer, or the end of a worker that hit itself
    assert await alive(sibling)
    assert type(await rig.order().receive()).__name__ == "Confined"  # the zygote serves


async def test_killing_all_does_reach_ones_own_children(rig):
    """The control: the calls above are made, and are heard where they may be."""
    worker = await rig.worker()
    source = """
    child = subprocess.Popen(["/bin/sleep", "1000"])
    os.kill(-1, signal.SIGKILL)
    result = child.wait()
    """
    assert await worker.run(attacks.source(source)) == -signal.SIGKILL


async def test_a_worker_of_the_same_function_cannot_be_traced_or_read(rig):
    """Both have one uid; neither has a number for the other, and the calls are refused anyway."""
    sibling, worker = await rig.worker(), await rig.worker()
    pid = sandbox_rig.pid_of(await sibling.listener.pidfd)
    source = f"""
    import errno
    result = []
    for nr, arguments in ((101, (16, {pid}, 0, 0)), (310, ({pid}, 0, 0, 0, 0, 0)), (438, (3, 3, 0)), (434, ({pid}, 0))):
        try:
            syscall(nr, *arguments)
            result.append(0)
        except OSError as error:
            result.append(errno.errorcode[error.errno])
    """
    assert await worker.run(attacks.source(source)) == ["EPERM", "EPERM", "EPERM", "ESRCH"]


async def test_limits_of_pid_1_are_its_own(rig):
    worker = await rig.worker()
    source = "import resource; result = resource.prlimit(1, resource.RLIMIT_NOFILE, (100, 100))"
    await worker.run(source)
    assert await (await rig.worker()).run("import resource; result = resource.getrlimit(resource.RLIMIT_NOFILE)") == [
        1024,
        1024,
    ]
    answer = await worker.attempt("import resource; resource.prlimit(0, resource.RLIMIT_NOFILE, (4096, 4096))")
    assert answer["error"] in ("PermissionError", "ValueError")


IGNORE = """
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
"""


async def test_ignoring_every_signal_does_not_help_against_the_end(rig):
    worker = await rig.worker()
    await worker.run(attacks.source(IGNORE))
    rig.spawner.kill(worker.slot)
    assert await worker.ended() == ("exit", signal.SIGKILL)


async def test_stopping_oneself_does_not_help(rig):
    worker = await rig.worker()
    source = "pid = os.fork()\nif not pid:\n    os.kill(os.getpid(), signal.SIGSTOP)\nresult = os.waitpid(pid, os.WUNTRACED)[1]"
    assert os.WIFSTOPPED(await worker.run(attacks.source(source)))
    rig.spawner.kill(worker.slot)
    assert await worker.ended() == ("exit", signal.SIGKILL)


DAEMON = """
if not os.fork():
    os.setsid()
    if not os.fork():
        os.close(3), os.close(4)
        while True:
            time.sleep(1000)
    os._exit(0)
result = 1
"""


async def test_a_daemon_dies_with_its_worker(rig):
    worker = await rig.worker()
    await worker.run(attacks.source(DAEMON))
    pid = sandbox_rig.pid_of(await worker.listener.pidfd)
    family = await descendants(pid, 2)
    rig.spawner.kill(worker.slot)
    await worker.ended()
    assert not [one for one in family if sandbox_rig.running(one)]


async def test_the_end_of_the_supervisor_is_the_end_of_everything():
    folder = sandbox_rig.public()
    mode = "root" if sandbox_rig.ROOT else "user"
    program = f"""
    import asyncio, pathlib, sys
    sys.path.insert(0, {str(Path(sandbox_rig.__file__).parent)!r})
    import attacks, sandbox_rig
    async def main():
        rig = sandbox_rig.Rig(pathlib.Path({str(folder)!r}), {mode!r}, library={str(sandbox_rig.library())!r})
        rig.prepare()
        await rig.start()
        workers = [await rig.worker() for _ in range(10)]
        for worker in workers:
            await worker.run(attacks.source({DAEMON!r}))
        pids = [sandbox_rig.pid_of(await worker.listener.pidfd) for worker in workers]
        print(*pids, rig.spawner.pid, flush=True)
        await asyncio.sleep(1000)
    asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(program), stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    pids = [int(pid) for pid in (await process.stdout.readline()).split()]
    family = {one for pid in pids[:-1] for one in await descendants(pid, 2)} | {pids[-1]}
    assert len(family) >= 21
    process.kill()
    await process.wait()
    await sandbox_rig.gone(family)


async def descendants(pid, count):
    """Return a process and what it started, once that are ``count`` processes."""
    async with asyncio.timeout(sandbox_rig.DEADLINE):
        while True:
            found = [pid]
            for one in found:
                found += children(one)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_nothing_is_left_for_the_next_worker(rig):
    first = await rig.worker()
    leave = """
    open("/tmp/left", "w").write("x")
    open("/dev/shm/left", "w").write("x")
    import ctypes
    key = libc.shmget(4711, 4096, 0o1666)
    assert key >= 0
    queue = libc.msgget(4711, 0o1666)
    assert queue >= 0
    result = 1
    """
    await first.run(attacks.source(leave))
    find = """
    result = [os.listdir("/tmp"), os.listdir("/dev/shm"), libc.shmget(4711, 4096, 0), libc.msgget(4711, 0)]
    """
    second = await rig.worker()
    assert await second.run(attacks.source(find)) == [[], [], -1, -1]
    assert (await first.run(attacks.source(find)))[2] >= 0
    rig.spawner.kill(first.slot)
    await first.ended()
    third = await rig.worker()
    assert await third.run(attacks.source(find)) == [[], [], -1, -1]


async def test_system_v_memory_is_shared_where_the_ipc_namespace_is(rig):
    """The control of the test above."""
    skip = {"ipc": "the control of a test"}
    first, second = await rig.worker(skip=skip), await rig.worker(skip=skip)
    key = 4712 + os.getpid()
    shm = await first.run(attacks.source(f"result = libc.shmget({key}, 4096, 0o1666)"))
    try:
        assert await second.run(attacks.source(f"result = libc.shmget({key}, 4096, 0)")) == shm
    finally:
        await first.run(attacks.source(f"libc.shmctl({shm}, 0, 0)"))


# The pattern is written so that its own text does not match it.
SEARCH = """
import re
result = 0
for line in open("/proc/self/maps"):
    span, flags, _, _, _, *name = line.split()
    if flags.startswith("r") and not name[:1] in (["[vvar]"], ["[vsyscall]"], ["[vvar_vclock]"]):
        start, end = (int(part, 16) for part in span.split("-"))
        result += bool(re.search(rb"[c]anary-of-the-supervisor", ctypes.string_at(start, end - start)))
"""


async def test_no_secret_of_the_supervisor_is_in_a_workers_memory(monkeypatch):
    secret = "canary-of-the-supervisor-0123456789"
    monkeypatch.setenv("HOTFORK_CANARY", secret)
    async with sandbox_rig.rig(sandbox_rig.public(), "root" if sandbox_rig.ROOT else "user") as one:
        worker = await one.worker()
        assert await worker.run(attacks.source(SEARCH)) == 0
        control = await one.worker(environment={"GIVEN": secret})
        assert await control.run(attacks.source(SEARCH)) > 0
