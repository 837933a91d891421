"""Real workers for tests: a zygote, and functions that run whatever source a test sends them."""

import asyncio
import atexit
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path

import msgpack
import psutil
import pytest
import simplejson

import runtime
from runtime import wire
from runtime.pool import mounting, spawner

ROOT = os.geteuid() == 0
ORDINARY = 54321
"""A uid without privilege, for rootless workers when the tests run as root."""
UID = 123456
LIMITS = {"tmp_bytes": 8 << 20, "tmp_inodes": 256, "NOFILE": 1024, "NPROC": 64}
DEADLINE = 30
ROOT_MODE = pytest.param("root", marks=pytest.mark.skipif(not ROOT, reason="needs root"))
MODES = [ROOT_MODE, "user", "bare"]
STRONG = [ROOT_MODE, "user"]

HANDLER = """
import io, json, contextlib, traceback
def handler(event, context):
    scope = {}
    try:
        exec(event["source"], scope)
    except BaseException as error:
        return {"error": type(error).__name__, "errno": getattr(error, "errno", None), "trace": traceback.format_exc()}
    return {"result": scope.get("result")}
"""


@functools.cache
def library():
    """Return a folder with our packages that every uid can read; made once a test run."""
    folder = public()
    for module in (runtime, msgpack, simplejson):
        source = Path(module.__file__).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    open_to_all(folder)
    return folder


def open_to_all(folder):
    for path in (folder, *(one for one in folder.rglob("*") if not one.is_symlink())):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def public():
    """Return a new folder that other uids can reach; it goes at the end of the run.

    Not below pytest's own: the next run that starts, beside this one, closes those to all but their owner.
    """
    folder = Path(tempfile.mkdtemp(prefix="hotfork-tests-"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def invoke(source):
    """Return the call that makes the probing function run a source."""
    payload = json.dumps({"source": textwrap.dedent(source)}).encode()
    return wire.Invoke("request", 1 << 42, "arn", None, None, None, None, False, payload)


class Listener:
    """Collects what becomes of an order."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.pidfd = loop.create_future()
        self.end = loop.create_future()

    def on_spawned(self, pidfd):
        self.pidfd.set_result(pidfd)

    def on_exit(self, status):
        self.end.set_result(("exit", status))

    def on_failed(self, step, errno, reason):
        self.end.set_result(("failed", step, errno, reason))

    def on_lost(self):
        self.end.set_result(("lost",))


class Worker:
    """One worker, from its order on; reads and writes its pipes as the supervisor would."""

    def __init__(self, rig, slot):
        self.rig = rig
        self.slot = slot
        self.listener = Listener()
        self.decoder = wire.Decoder(wire.WORKER_MESSAGES)
        self.messages = []
        self.requests = self.responses = self.log = -1
        self.gate = None
        """Of one that is sealed ahead: what the supervisor holds until it serves."""

    async def receive(self):
        """Return the worker's next message, or None at the end of its pipe."""
        async with asyncio.timeout(DEADLINE):
            while not self.messages:
                await readable(self.responses)
                data = os.read(self.responses, 1 << 20)
                if not data:
                    return None
                self.messages += self.decoder.feed(data)
        return self.messages.pop(0)

    def send(self, message):
        data = wire.encode(message)
        while data:
            data = data[os.write(self.requests, data) :]

    async def become(self, environment=None):
        """Have it import the function; return its answer."""
        rig = self.rig
        bare = rig.mode == "bare"
        environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(rig.tmp) if bare else "/tmp", **(environment or {})}
        task = str(rig.code) if bare else "/var/task"
        sdk = rig.sdk if bare and rig.sdk else "/var/runtime"
        self.send(wire.Assign("probe.handler", environment, task, "/opt", sdk, 128, "g", "s"))
        return await self.receive()

    async def run(self, source):
        """Run Python source in the worker; return what it leaves in ``result``, or raise."""
        answer = await self.attempt(source)
        assert "error" not in answer, answer["trace"]
        return answer["result"]

    async def attempt(self, source):
        """Run Python source in the worker; return {"result": ...} or {"error": ..., "errno": ..., "trace": ...}."""
        self.send(invoke(source))
        answer = await self.receive()
        assert type(answer) is wire.Response, (answer, self.read_log())
        return json.loads(answer.payload)

    async def logged(self):
        """Return what it wrote, once it wrote something."""
        async with asyncio.timeout(DEADLINE):
            await readable(self.log)
        return self.read_log()

    def read_log(self):
        with contextlib.suppress(BlockingIOError):
            return os.read(self.log, 1 << 20)
        return b""

    async def ended(self):
        """Return how it ended."""
        async with asyncio.timeout(DEADLINE):
            return await asyncio.shield(self.listener.end)

    def close(self):
        for fd in (self.requests, self.responses, self.log):
            os.close(fd)
        if self.gate is not None:
            self.gate.close()


async def readable(fd):
    """Wait until a descriptor can be read."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(fd)


def tasks():
    """Return how many processes and threads the user has: without a user namespace, RLIMIT_NPROC counts them all."""
    mine = [one for one in psutil.process_iter(["uids", "num_threads"]) if one.info["uids"].real == os.getuid()]
    return sum(one.info["num_threads"] for one in mine)


def pid_of(pidfd):
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    return int(info.partition("Pid:")[2].split()[0])


async def gone(pids):
    async with asyncio.timeout(DEADLINE):
        while any(running(pid) for pid in pids):
            await asyncio.sleep(0.01)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclasses.dataclass
class Rig:
    """A zygote in one mode, and the workers ordered from it."""

    folder: Path
    mode: str
    python: str = ""
    sdk: str | None = None
    library: str = ""
    preload: tuple[str, ...] = ()
    ahead: bool = False
    """Whether workers are blanks that are sealed before they get their function's folders."""

    def __post_init__(self):
        self.code = self.folder / "code"
        self.tmp = self.folder / "tmp"
        self.lost = []
        self.workers = []
        self.slots = itertools.count(1)
        self.spawner = spawner.Spawner(on_lost=self.lost.append)

    def prepare(self):
        """Lay out what the zygote reads, where its uid can read it."""
        self.code.mkdir()
        (self.code / "probe.py").write_text(HANDLER)
        self.tmp.mkdir()
        open_to_all(self.folder)
        if ROOT and self.mode != "root":
            os.chown(self.tmp, ORDINARY, ORDINARY)

    async def start(self):
        python = self.python or sys._base_executable
        if ROOT and self.mode != "root":
            python = self._as_ordinary("/usr/bin/python3")
        await self.spawner.start(
            spawner.Settings(
                python=python,
                library=(self.library or str(library()),),
                sdk=self.sdk,
                mode=self.mode,
                preload=self.preload,
            )
        )

    def _as_ordinary(self, python):
        wrapper = self.folder / "python"
        wrapper.write_text(
            f'#!/bin/sh\nexec /usr/bin/env -i /usr/bin/setpriv --reuid={ORDINARY} --regid={ORDINARY} --clear-groups {python} "$@"\n'
        )
        wrapper.chmod(0o755)
        return str(wrapper)

    def order(self, **changes):
        """Order a worker; its pipes are open, its answers not read yet."""
        worker = Worker(self, next(self.slots))
        request, worker.requests = os.pipe()
        worker.responses, response = os.pipe()
        worker.log, log = os.pipe()
        os.set_blocking(worker.log, False)
        self.workers.append(worker)
        skip = {"cgroup": "no cgroup in this test"}
        if changes.pop("bare_of_cgroup", False) or changes.keys() & {"cgroup_fds", "cgroup_folder_fd"}:
            skip = {}
        shared = self.mode == "bare" and not ROOT  # workers are of our own uid
        defaults = {
            "slot": worker.slot,
            "uid": UID,
            "gid": UID,
            "hostname": "sandbox",
            "code": str(self.code),
            "tmp": str(self.tmp),
            "limits": {**LIMITS, "NPROC": LIMITS["NPROC"] + (tasks() if shared else 0)},
        }
        wanted = {**defaults, **changes}
        folders = {name: wanted[name] for name in ("code", "layers") if wanted.get(name) is not None}
        if self.ahead and "code" in folders and wanted.get("door_fd") is None:
            worker.gate = mounting.Gate()
            wanted |= {"code": None, "layers": None, "gate_fd": worker.gate.theirs_fd}
        order = spawner.Order(
            request_fd=request,
            response_fd=response,
            log_fd=log,
            **{**wanted, "skip": {**skip, **changes.get("skip", {})}},
        )
        try:
            self.spawner.spawn(order, worker.listener)
            if worker.gate is not None:
                worker.gate.passed()
                self.spawner.mounter.mount(folders, worker.gate)
        finally:
            for fd in (request, response, log):
                os.close(fd)
        return worker

    async def worker(self, environment=None, **changes):
        """Return a worker that serves the probing function."""
        worker = self.order(**changes)
        worker.confined = await worker.receive()
        assert type(worker.confined) is wire.Confined, (worker.confined, worker.read_log())
        ready = await worker.become(environment)
        assert type(ready) is wire.Ready, (ready, worker.read_log())
        return worker

    async def close(self):
        await self.spawner.close()
        for worker in self.workers:
            worker.close()


@contextlib.asynccontextmanager
async def rig(folder, mode, **settings):
    """A started rig; at its end nothing is left of it: no descriptor, no process."""
    before = open_fds()
    one = Rig(folder, mode, **settings)
    one.prepare()
    try:
        await one.start()
        pid = one.spawner.pid
        yield one
    finally:
        await one.close()
    assert open_fds() == before
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def open_fds():
    return sorted(os.listdir("/proc/self/fd"))
