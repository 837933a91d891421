"""Templates and their copies, as a function sees them from inside."""

import asyncio
import os
import signal
import struct
from pathlib import Path

import pytest
import pytest_asyncio
import sabotage
import sandbox_rig
import template_rig

from runtime import wire
from runtime.pool import touched


@pytest_asyncio.fixture(scope="module", params=sandbox_rig.STRONG, loop_scope="module")
async def rig(request):
    async with sandbox_rig.rig(sandbox_rig.public(), request.param) as one:
        template_rig.furnish(one)
        yield one


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_init_runs_once_and_copies_serve(rig):
    async with template_rig.snapped(rig) as template:
        one, other = await template.copy(WHO="one"), await template.copy(WHO="other")
        assert await one.run("result = [probe.marks, probe.pid]") == [["before 2", "before 1", "after one"], 2]
        assert await other.run("result = probe.marks") == ["before 2", "before 1", "after other"]
        assert await one.run("import email.message; result = 6 * 7") == 42
        drawn = [await each.run("result = probe.drawn") for each in (one, other)]
        assert drawn[0] == drawn[1]


async def test_copies_share_nothing_that_changes(rig):
    async with template_rig.snapped(rig) as template:
        one, other = await template.copy(), await template.copy()
        for name in ("mnt", "pid", "ipc", "user"):
            source = f"import os; result = os.readlink('/proc/self/ns/{name}')"
            assert await one.run(source) != await other.run(source)
        await one.run("open('/tmp/mine', 'w').write('x'); probe.marks.append(1)")
        assert await one.run("import os; result = os.listdir('/tmp')") == ["mine"]
        assert await other.run(
            "import os; result = [os.listdir('/tmp'), os.listdir('/dev/shm'), len(probe.marks)]"
        ) == [[], [], 3]
        assert await one.run("result = probe.file.read(6)") == await other.run("result = probe.file.read(6)")


async def test_a_copy_sees_itself_alone(rig):
    async with template_rig.snapped(rig) as template:
        copy = await template.copy(WHO="copy")
        await template.copy()
        source = """
        import os
        result = [os.getpid(), os.getppid(), [name for name in os.listdir('/proc') if name.isdigit()], os.environ["WHO"],
                  os.getcwd(), "PATH" in os.environ, sorted(os.listdir('/proc/self/fd'), key=int)[:5]]
        """
        assert await copy.run(source) == [1, 0, ["1"], "copy", "/var/task", False, ["0", "1", "2", "3", "4"]]


STATUS = "result = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines())"


async def test_a_copy_has_no_privilege_and_both_filters(rig):
    async with template_rig.snapped(rig) as template:
        copy = await template.copy()
        status = await copy.run(STATUS)
        uid, gid = (sandbox_rig.UID, sandbox_rig.UID) if rig.mode == "root" else (993, 990)
        assert status["Uid"].split() == [str(uid)] * 4
        assert status["Gid"].split() == [str(gid)] * 4
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp_filters"] == "2"
        assert await copy.run("import ctypes; result = ctypes.CDLL(None).prctl(3)") == 0  # PR_GET_DUMPABLE
        for call in ("libc.unshare(0x10000000)", "libc.unshare(0x02000000)", "libc.syscall(430, b'proc', 0)"):
            source = f"""
            import ctypes
            libc = ctypes.CDLL(None, use_errno=True)
            if {call} < 0:
                raise OSError(ctypes.get_errno(), "refused")
            """
            assert (await copy.attempt(source))["errno"] == 1


async def test_randomness_differs_between_copies(rig):
    async with template_rig.snapped(
        rig, {"INIT": "import ssl, uuid, random, secrets, tempfile; ssl.RAND_bytes(8)"}
    ) as template:
        copies = [await template.copy() for _ in range(3)]
        source = """
        import random, secrets, ssl, tempfile, uuid
        result = [random.random(), secrets.token_hex(8), ssl.RAND_bytes(8).hex(), str(uuid.uuid4()), str(uuid.uuid1()),
                  next(tempfile._get_candidate_names())]
        """
        drawn = [await copy.run(source) for copy in copies]
        for values in zip(*drawn, strict=True):
            assert len(set(values)) == len(copies), values


LARGE = """
import ctypes, mmap
large = mmap.mmap(-1, 512 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
large[:] = b"x" * len(large)
first = ctypes.addressof(ctypes.c_char.from_buffer(large))
"""


@pytest.mark.skipif(not sandbox_rig.ROOT, reason="which pages a copy wrote to is for root to see")
async def test_a_copy_that_waits_makes_its_own_what_others_wrote_to(rig):
    async with template_rig.snapped(rig, {"INIT": LARGE}) as template:
        first = await (await template.copy()).run("result = probe.first")
        wrong = [(1 << 46, 4096), (1 << 63, 4096), (first + 1, 4096)]
        spans = b"".join(struct.pack("=QQ", *span) for span in [*wrong, (first, 300 * 4096)])
        template.door.send(wire.encode(wire.Touched(spans)))
        copy = template.order_copy()
        _, copy.pid = await template.hear()
        assert type(await copy.receive()) is wire.Confined

        def own():
            found = struct.iter_unpack("=QQ", touched.spans(copy.pid))
            return sum(length for address, length in found if first <= address < first + 512 * 4096)

        async with asyncio.timeout(sandbox_rig.DEADLINE):
            while own() < 300 * 4096:
                await asyncio.sleep(0)
        assert own() == 300 * 4096
        copy.send(wire.Assign("", {"WHO": "copy"}, "", "", "", 128, "g", "s"))
        assert type(await copy.receive()) is wire.Ready
        assert await copy.run("result = probe.large[:2] == b'xx'") is True


async def test_a_copy_leaves_by_its_own_door(rig):
    async with template_rig.snapped(rig) as template:
        copy = await template.copy()
        os.close(copy.requests)
        copy.requests = os.open("/dev/null", os.O_WRONLY)
        assert (await template.hear())[0] == wire.Exited(copy.slot, 0)
        other = await template.copy()
        os.kill(other.pid, signal.SIGKILL)
        assert (await template.hear())[0] == wire.Exited(other.slot, signal.SIGKILL)
        assert await (await template.copy()).run("result = 1") == 1


def status_of(pid):
    """Return what /proc says of a process."""
    return dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())


async def test_the_kernel_tells_who_the_copy_is(rig):
    async with template_rig.snapped(rig) as template:
        copy = await template.copy()
        status = status_of(copy.pid)
        assert status["NSpid"].split()[-1] == "1"
        parent = status_of(status["PPid"])
        assert parent["NSpid"].split()[-1] == "2"
        assert int(parent["PPid"]) == sandbox_rig.pid_of(await template.listener.pidfd)


async def test_killing_a_template_ends_its_copies(rig):
    async with template_rig.snapped(rig) as template:
        copy = await template.copy()
        rig.spawner.kill(template.slot)
        await template.ended()
        await sandbox_rig.gone([copy.pid])


async def test_a_template_ends_when_its_door_is_closed(rig):
    async with template_rig.snapped(rig) as template:
        template.door.close()
        assert await template.ended() == ("exit", 0)


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
            "1 other threads",
        ),
        ("import subprocess; child = subprocess.Popen(['/bin/sleep', '99'])", "child processes"),
        (
            "import subprocess; subprocess.Popen(['/bin/sh', '-c', 'sleep 99 & exit']).wait()",
            "1 processes that it started",
        ),
        (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 5353))",
            "127.0.0.1",
        ),
        ("import socket; a, b = socket.socketpair()", "a socket"),
        ("import os; ends = os.pipe()", "a pipe"),
        ("import select; poll = select.epoll()", "[eventpoll]"),
        ("import tempfile; f = tempfile.NamedTemporaryFile()", "is open for writing"),
        ("open('/tmp/cache', 'w').close()", "files in /tmp (such as 'cache')"),
        ("open('/dev/shm/cache', 'w').close()", "files in /dev/shm"),
        ("import mmap; m = mmap.mmap(-1, 4096)", "memory shared"),
        ("import signal; signal.setitimer(signal.ITIMER_REAL, 99)", "a timer (ITIMER_REAL)"),
    ],
)
async def test_what_is_unsafe_to_copy_is_named_and_not_copied(rig, init, reason):
    async with template_rig.ordered(rig) as template:
        answer = await template.snap({"INIT": init})
        assert type(answer) is wire.Snapped, (answer, template.read_log())
        assert reason in answer.unsafe, answer.unsafe
        assert await template.ended() == ("exit", 0)


@pytest.mark.parametrize(
    "init",
    [
        "import threading; t = threading.Thread(target=print); t.start(); t.join()",
        "import subprocess; subprocess.run(['/bin/true'], check=True)",
        "import mmap; m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
        "f = open('/dev/urandom', 'rb'); d = os.open('/var/task', os.O_RDONLY)",
        "import tempfile; tempfile.TemporaryFile().close()",
        "import ssl, asyncio, decimal, sqlite3, multiprocessing, concurrent.futures, urllib.request",
    ],
)
async def test_what_is_safe_to_copy_is_copied(rig, init):
    async with template_rig.snapped(rig, {"INIT": init}) as template:
        assert await (await template.copy()).run("result = 1") == 1


async def test_an_import_that_fails_ends_the_template(rig):
    async with template_rig.ordered(rig) as template:
        answer = await template.snap({"INIT": "raise ValueError('no')"})
        assert (type(answer), answer.error_type) == (wire.InitError, "ValueError")
        assert await template.ended() == ("exit", 1 << 8)


async def test_a_hook_that_fails_before_the_snapshot_is_told_as_aws_does(rig):
    async with template_rig.ordered(rig) as template:
        answer = await template.snap({"INIT": "hooks.register_before_snapshot(lambda: 1 / 0)"})
        assert (type(answer), answer.error_type) == (wire.InitError, "Runtime.BeforeSnapshotError")
        assert await template.ended() == ("exit", 64 << 8)


async def test_a_hook_that_fails_after_the_restore_is_told_as_aws_does(rig):
    async with template_rig.snapped(rig, {"INIT": "hooks.register_after_restore(lambda: 1 / 0)"}) as template:
        copy = template.order_copy()
        copy.send(wire.Assign("", {"WHO": "x"}, "", "", "", 128, "g", "s"))
        assert type(await copy.receive()) is wire.Confined
        answer = await copy.receive()
        assert (type(answer), answer.error_type) == (wire.InitError, "Runtime.AfterRestoreError")


async def test_a_warm_up_call_comes_before_the_snapshot(rig):
    warm_up = b'{"source": "probe.warmed = True; print(1, flush=True)"}'
    async with template_rig.snapped(rig, warm_up=warm_up) as template:
        assert await (await template.copy()).run("result = probe.warmed") is True
        assert b"1\n" in template.read_log()


async def test_signals_are_what_they_are_in_a_worker(rig):
    async with template_rig.snapped(rig) as template:
        copy = await template.copy()
        plain = await rig.worker({"WHO": "plain"})
        source = (
            "import signal; result = [str(signal.getsignal(n)).split(' at ')[0] for n in (1, 2, 6, 10, 12, 15, 17)]"
        )
        assert await copy.run(source) == await plain.run(source)


async def test_there_are_no_templates_without_namespaces():
    async with sandbox_rig.rig(sandbox_rig.public(), "bare") as one, template_rig.ordered(one) as template:
        refused = await template.receive()
        assert (type(refused), refused.step) == (wire.Refused, "order")


@pytest.mark.parametrize("mode", sandbox_rig.STRONG)
async def test_a_step_of_a_copy_that_fails_is_named_and_no_copy_comes_of_it(mode):
    async with sabotage.rig(sandbox_rig.public(), mode) as one:
        template_rig.furnish(one)
        async with template_rig.snapped(one) as template:
            for step in sabotage.COPY_STEPS:
                copy = template.order_copy(hostname=f"fail.{step}")
                spawned, _ = await template.hear()
                assert spawned == wire.Spawned(copy.slot)
                assert await copy.receive() == wire.Refused(step, 1, "[Errno 1] sabotage")
                assert await copy.receive() is None
                assert (await template.hear())[0] == wire.Exited(copy.slot, 70 << 8)
            assert await (await template.copy()).run("result = 1") == 1, "the control"
