"""Workers whose part the test plays itself: real pipes, no process."""

import asyncio
import contextlib
import os
import time

from runtime import model, observer, wire
from runtime.pool import call, link, pool, rules

VERSION = model.Version(
    function_name="f",
    version="$LATEST",
    function_arn="arn:aws:lambda:us-east-1:000000000000:function:f",
    runtime="python3.11",
    handler="h.f",
    code_sha256="one",
    code_path="/code",
    log_group="/aws/lambda/f",
    generation="g1",
    timeout_s=30,
)


class Actor:
    """One scripted worker: the far ends of its pipes, and what the supervisor did to it."""

    def __init__(self, version, listener):
        self.version = version
        self.listener = listener
        self.fds, (self.request_fd, self.response_fd, self.log_fd) = link.pipes()
        self.kind = model.StartKind.PLAIN
        self.born = None
        os.set_blocking(self.request_fd, False)
        self.decoder = wire.Decoder(wire.SUPERVISOR_MESSAGES)
        self.missing = {}
        self.lacks = ""
        self.killed = False
        self.frozen = False
        self.freezes = 0
        self.evades = False
        self.released = False
        self.oom = False
        self.peak = 30 * 1024 * 1024
        self.heard = []
        self.firsts = []
        """Whether it was killed when it was heard that it served its first call."""

    # the process port

    def flaw(self):
        return self.lacks

    def kill(self):
        self.killed = True

    def freeze(self):
        self.freezes += 1
        self.frozen = not self.evades
        return self.frozen

    def confined(self):
        """Have nobody who waits for that."""

    def served(self):
        self.firsts.append(self.killed)

    def initialised(self):
        """Have no share to be held to."""

    def thaw(self):
        self.frozen = False

    def bind(self, _processors):
        return True

    def memory_peak(self):
        return self.peak

    def ran_out_of_memory(self):
        return self.oom

    def release(self):
        assert not self.released
        self.released = True

    # what the test makes it do

    def say(self, message):
        os.write(self.response_fd, wire.encode(message))

    def write_raw(self, data):
        os.write(self.response_fd, data)

    def log(self, text):
        os.write(self.log_fd, text.encode())

    def hear(self):
        with contextlib.suppress(BlockingIOError):
            self.heard.extend(self.decoder.feed(os.read(self.request_fd, 1 << 20)))
        return self.heard

    def exit(self, status=0):
        for fd in (self.request_fd, self.response_fd, self.log_fd):
            os.close(fd)
        self.listener.process_exited(status)


class Launcher:
    """Hands out actors."""

    def __init__(self):
        self.actors = []
        self.room = True
        self.error = None
        self.starts = []
        self.distrusted = []

    def launch(self, version, listener, *, copied=True):
        if self.error is not None:
            raise self.error
        actor = Actor(version, listener)
        self.actors.append(actor)
        return actor

    def has_room(self, version):
        return self.room

    def started(self, version, kind, phases):
        self.starts.append(kind)

    def prepare(self, version):
        pass

    def distrust(self, version, reason):
        self.distrusted.append(reason)

    def retire(self, function_name, *, keep):
        pass

    def make_room(self):
        return False

    def assign(self, version, stream, kind):
        return wire.Assign(version.handler, {}, "/var/task", "/opt", "/var/runtime", 128, version.log_group, stream)


class Listener(observer.Silent):
    """Remembers."""

    def __init__(self):
        self.logs = b""
        self.moves = []
        self.failures = []
        self.outcomes = []
        self.started = 0

    def invocation_started(self, invocation):
        self.started += 1

    def invocation_finished(self, invocation, outcome):
        self.outcomes.append(outcome)

    def worker_moved(self, version, old, new):
        self.moves.append((old, new))

    def worker_failed(self, version, cause):
        self.failures.append(cause)

    def log_written(self, version, stream, data, *, platform=False, whole=False):
        self.logs += data


class Stage:
    """A pool on scripted workers."""

    def __init__(self, **options):
        self.launcher = Launcher()
        self.listener = Listener()
        clock = {"clock": options.pop("clock")} if "clock" in options else {}
        self.pool = pool.Pool(
            self.launcher, self.listener, rules.Rules(**options), new_stream=lambda version: "stream", **clock
        )
        self.requests = 0

    @property
    def actors(self):
        return self.launcher.actors

    def submit(self, version=VERSION, **fields):
        """Submit a call; the future holds its outcome, or the error that refused it."""
        self.requests += 1
        future = asyncio.get_running_loop().create_future()
        invocation = model.Invocation(
            request_id=f"r{self.requests}", version=version, payload=b"{}", invoked_arn="arn", **fields
        )
        made = call.Call(invocation, time.perf_counter(), future.set_result, future.set_exception)
        future.call = made
        self.pool.submit(made)
        return future

    async def ready(self, actor):
        """Play an actor up to its readiness."""
        actor.say(wire.Confined({}))
        await until(lambda: any(isinstance(m, wire.Assign) for m in actor.hear()))
        actor.say(wire.Ready())

    async def request(self, actor):
        """Return the request that an actor has and did not answer yet."""
        await until(lambda: actor.hear() and isinstance(actor.heard[-1], wire.Invoke))
        return actor.heard.pop()

    async def answer(self, actor, payload=b"1"):
        """Answer the request that an actor has."""
        request = await self.request(actor)
        actor.say(wire.Response(request.request_id, "application/json", payload))

    async def warm(self, **fields):
        """Have the first worker start and serve a call; return its outcome."""
        call = self.submit(**fields)
        await self.ready(self.actors[0])
        await self.answer(self.actors[0])
        return await call

    async def close(self):
        """End everything, and check that nothing is left."""
        closing = asyncio.get_running_loop().create_task(self.pool.close())
        await asyncio.sleep(0)
        for actor in self.actors:
            if not actor.released:
                actor.exit(9)
        await closing
        assert all(actor.released for actor in self.actors)
        assert self.pool.workers == 0


async def until(condition):
    """Let the loop turn until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


class Group:
    """A cgroup that everybody is in."""

    join_fds = ()

    @staticmethod
    def holds(_pid):
        return True


class Held:
    """What is held for a process: nothing."""

    image, tmp_mb, group = None, 512, Group

    def furnish(self, then):
        then()

    def settle(self):
        """Let go."""

    def made(self):
        """Count nobody."""

    def spawned(self, pidfd, kill):
        """Watch nothing."""

    def kill(self):
        """Kill nobody."""
