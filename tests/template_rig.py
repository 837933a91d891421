"""Templates and their copies for tests, driven as the supervisor would."""

import asyncio
import contextlib
import os
import socket

import sandbox_rig

from runtime import wire

FUNCTION = """
import io, json, os, random, sys, uuid
import snapshot_restore_py as hooks
exec(os.environ.get("INIT", ""))
marks = []
pid = os.getpid()
drawn = random.random()
file = open("/var/task/probe.py")
file.read(7)
hooks.register_before_snapshot(marks.append, "before 1")
hooks.register_before_snapshot(marks.append, "before 2")
hooks.register_after_restore(lambda: marks.append("after " + os.environ["WHO"]))
def handler(event, context):
    scope = {"probe": sys.modules[__name__]}
    try:
        exec(event["source"], scope)
    except BaseException as error:
        return {"error": type(error).__name__, "errno": getattr(error, "errno", None), "trace": repr(error)}
    return {"result": scope.get("result")}
"""
HOOKS = """
before, after = [], []
def register_before_snapshot(function, *args, **kwargs):
    before.append((function, args, kwargs))
    return function
def register_after_restore(function, *args, **kwargs):
    after.append((function, args, kwargs))
    return function
def get_before_snapshot():
    return before
def get_after_restore():
    return after
"""


class Template(sandbox_rig.Worker):
    """A template; its copies are workers."""

    async def snap(self, environment=None, warm_up=None):
        """Have it import the function; return its answer."""
        environment = {"PATH": "/usr/bin:/bin", "WHO": "template", **(environment or {})}
        self.send(wire.Assign("probe.handler", environment, "/var/task", "/opt", "/var/runtime", 128, "g", "s"))
        self.send(wire.Snap(warm_up))
        confined = await self.receive()
        assert type(confined) is wire.Confined, (confined, self.read_log())
        self.confined = confined
        return await self.receive()

    def order_copy(self, hostname="", **changes):
        """Order a copy; its pipes are open, its answers not read yet."""
        rig = self.rig
        copy = sandbox_rig.Worker(rig, next(rig.slots))
        request, copy.requests = os.pipe()
        copy.responses, response = os.pipe()
        copy.log, log = os.pipe()
        os.set_blocking(copy.log, False)
        rig.workers.append(copy)
        order = wire.Spawn(
            copy.slot,
            0,
            0,
            hostname,
            {},
            "request response log",
            {**sandbox_rig.LIMITS, **changes},
            {"cgroup": "not here"},
        )
        socket.send_fds(self.door, [wire.encode(order)], [request, response, log])
        for fd in (request, response, log):
            os.close(fd)
        return copy

    async def copy(self, **environment):
        """Return a copy that serves."""
        copy = self.order_copy()
        spawned, copy.pid = await self.hear()
        assert spawned == wire.Spawned(copy.slot)
        copy.confined = await copy.receive()
        assert type(copy.confined) is wire.Confined, (copy.confined, copy.read_log())
        copy.send(wire.Assign("", {"WHO": "copy", **environment}, "", "", "", 128, "g", "s"))
        ready = await copy.receive()
        assert type(ready) is wire.Ready, (ready, copy.read_log())
        return copy

    async def hear(self):
        """Return what is said at the door, and the pid of who says it, as the kernel knows it."""
        async with asyncio.timeout(sandbox_rig.DEADLINE):
            await sandbox_rig.readable(self.door.fileno())
        packet, ancillary, _, _ = self.door.recvmsg(wire.PACKET_LIMIT, socket.CMSG_SPACE(12))
        ((_, _, credentials),) = ancillary
        return wire.parse_packet(packet, wire.TEMPLATE_MESSAGES), int.from_bytes(credentials[:4], "little")


def furnish(rig):
    """Give a rig's workers the function that templates are tried with."""
    (rig.code / "probe.py").write_text(FUNCTION)
    (rig.code / "snapshot_restore_py.py").write_text(HOOKS)


@contextlib.asynccontextmanager
async def ordered(rig, **changes):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    plain = rig.order(door_fd=theirs.fileno(), **changes)
    theirs.close()
    template = Template(rig, plain.slot)
    template.__dict__.update(plain.__dict__)
    template.door = ours
    with ours:
        yield template
        rig.spawner.kill(template.slot)
        await template.ended()


@contextlib.asynccontextmanager
async def snapped(rig, environment=None, **options):
    async with ordered(rig) as template:
        answer = await template.snap(environment, **options)
        assert answer == wire.Snapped("", answer.import_us), (answer, template.read_log())
        yield template
