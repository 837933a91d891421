"""Workers without namespaces: what Landlock, the filter and their limits still keep them from."""

import errno
import os
import signal
import socket

import attacks
import pytest
import pytest_asyncio
import sandbox_rig

from runtime.worker import kernel, landlock

pytestmark = pytest.mark.asyncio(loop_scope="module")
NO_LANDLOCK = {"landlock": "the control of a test"}


def abi():
    try:
        return kernel.landlock_abi()
    except OSError:
        return 0


needs_landlock = pytest.mark.skipif(abi() < 1, reason="no Landlock")
needs_scopes = pytest.mark.skipif(abi() < landlock.SCOPES_ABI, reason="Landlock of an older ABI")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig():
    async with sandbox_rig.rig(sandbox_rig.public(), "bare") as one:
        yield one


async def test_what_is_missing_is_told(rig):
    worker = await rig.worker()
    assert {"pid", "namespaces", "network", "proc", "mounts", "hostname"} <= worker.confined.missing.keys()
    assert {"landlock", "seccomp", "limits", "privileges", "descriptors"}.isdisjoint(worker.confined.missing)
    status = await worker.run(
        "result = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines())"
    )
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0


@needs_landlock
async def test_files_of_the_host_cannot_be_opened(rig, tmp_path):
    other = rig.folder / "other"
    other.mkdir(exist_ok=True)
    secret = other / "secret"
    secret.write_text("secret")
    worker = await rig.worker()
    for path in (
        "/etc/passwd",
        str(secret),
        "/proc/1/status",
        f"/proc/{os.getpid()}/status",
        "/sys/kernel/uevent_seqnum",
    ):
        assert (await worker.attempt(f"open({path!r}).read()"))["errno"] == errno.EACCES, path
    control = await rig.worker(skip=NO_LANDLOCK)
    assert await control.run(f"result = open({str(secret)!r}).read()") == "secret"


@needs_landlock
async def test_only_its_tmp_can_be_written(rig):
    worker = await rig.worker()
    open_folder = rig.folder / "open"
    open_folder.mkdir(exist_ok=True)
    open_folder.chmod(0o777)
    for place in (open_folder, rig.code, "/tmp", "/var/tmp", "/dev/shm"):
        assert (await worker.attempt(f"open('{place}/new', 'w')"))["errno"] in (errno.EACCES, errno.EROFS), place
    assert await worker.run("import tempfile; result = tempfile.gettempdir()") == str(rig.tmp)
    await worker.run("import tempfile; tempfile.NamedTemporaryFile().write(b'x')")
    control = await rig.worker(skip=NO_LANDLOCK)
    await control.run(f"open('{open_folder}/new', 'w').close()")


@needs_scopes
async def test_signals_reach_nobody_else(rig):
    sibling, worker = await rig.worker(), await rig.worker()
    pid = sandbox_rig.pid_of(await sibling.listener.pidfd)
    for target in (pid, rig.spawner.pid, os.getpid()):
        assert (await worker.attempt(f"import os; os.kill({target}, 0)"))["errno"] == errno.EPERM
    control = await rig.worker(skip=NO_LANDLOCK)
    assert await control.run(f"import os; result = os.kill({pid}, 0)") is None
    await worker.attempt(f"import os; os.kill(-1, {int(signal.SIGKILL)})")
    assert await sibling.run("result = 'alive'") == "alive"
    assert rig.spawner.alive


@needs_landlock
async def test_a_sibling_cannot_be_read(rig):
    sibling = await rig.worker(environment={"SECRET": "of the sibling"})
    pid = sandbox_rig.pid_of(await sibling.listener.pidfd)
    worker = await rig.worker(skip={"seccomp": "the control of a test"})
    for name in ("mem", "environ", "maps", "fd", "root", "cwd"):
        answer = await worker.attempt(f"import os; os.open('/proc/{pid}/{name}', os.O_RDONLY)")
        assert answer["errno"] in (errno.EACCES, errno.EPERM), name
    ptrace = attacks.source(f"if libc.ptrace(16, {pid}, 0, 0) == -1: raise OSError(ctypes.get_errno(), 'ptrace')")
    assert (await worker.attempt(ptrace))["errno"] == errno.EPERM


@needs_scopes
async def test_abstract_sockets_of_the_host(rig):
    name = f"\0hotfork-bare-{os.getpid()}"
    source = f"""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect({name!r})
        result = "connected"
    """
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert (await (await rig.worker()).attempt(attacks.source(source)))["errno"] == errno.EPERM
        assert await (await rig.worker(skip=NO_LANDLOCK)).run(attacks.source(source)) == "connected"


async def test_namespaces_cannot_be_made(rig):
    worker = await rig.worker()
    answer = await worker.attempt(
        attacks.source("if libc.unshare(0x10000000): raise OSError(ctypes.get_errno(), 'unshare')")
    )
    assert answer["errno"] == errno.EPERM
    control = await rig.worker(skip={"seccomp": "the control of a test", **NO_LANDLOCK})
    assert await control.run(attacks.source("result = libc.unshare(0x10000000)")) == 0


async def test_the_interpreter_finds_its_library(rig):
    worker = await rig.worker()
    source = """
    import sqlite3, ssl, subprocess, sys, zoneinfo
    result = subprocess.run([sys.executable, "-c", "import json; print(json.dumps(1))"], capture_output=True, text=True).stdout
    """
    assert await worker.run(source) == "1\n"
