"""Starts worker processes for the pool, and holds what each is confined by.

What a worker holds (cgroup, mounts, uid) is taken at its launch and given back at its end, by one object, so that
nothing is left however it ends.
"""

import asyncio
import dataclasses
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import psutil

from runtime import model, wire
from runtime.pool import cgroups, environment, memory_class, process, spawner, uids, zygotes

_RLIMITS = {"NOFILE": 1024, "CORE": 0}
_MB = 1024 * 1024
SPARE_GROUPS = 16
"""Clean cgroups kept ready: a group from the stock costs microseconds, a new one 170."""
_STILL_DYING_S = 0.01
"""How long to wait for killed processes to leave their cgroups."""
_READING_AGE_S = 0.05
"""How long a reading of the host's free memory is believed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all launches share, settled at start."""

    mode: str
    """Of the zygotes; in "bare" there are no mount namespaces, and workers see the host's paths."""
    skip: Mapping[str, str]
    """Controls that this machine cannot give, with reasons."""
    sdk: str
    """Folder that functions see as /var/runtime."""
    region: str
    extra_environment: Mapping[str, str]
    """What every function's environment holds besides AWS's variables: credentials, endpoints."""
    host_memory_bytes: int
    """Memory in use on the host from which on no worker is started."""
    cpu_mode: cgroups.CpuMode


class Launcher:
    """The real launcher; implements ``process.Launcher``."""

    def __init__(
        self,
        plan: Plan,
        forks: zygotes.Zygotes,
        groups: cgroups.Backend,
        ids: uids.Uids,
        spawn_task: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """``spawn_task`` runs a coroutine that never raises as a task with a parent."""
        self.plan = plan
        self.forks = forks
        self.groups = groups
        self.ids = ids
        self._room = True
        self._room_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._spawn_task = spawn_task
        self._released = False
        self._recycled = asyncio.Event()
        self._recycled.set()
        self._closing = False

    def launch(
        self, slot_id: int, version: model.Version, fds: tuple[int, int, int], listener: process.Listener
    ) -> "Started":
        """Start a worker's process; see ``process.Launcher``."""
        started = Started(self, slot_id, version, fds, listener)
        try:
            self.forks.place(version.runtime, started)
        except BaseException:
            started.placed()
            started.release()
            raise
        return started

    def has_room(self) -> bool:
        """Return whether the host has memory for one more worker, from a reading that is at most 50 ms old."""
        now = self._loop.time()
        if now >= self._room_until:
            memory = psutil.virtual_memory()
            self._room = memory.total - memory.available < self.plan.host_memory_bytes
            self._room_until = now + _READING_AGE_S
        return self._room

    def assign(self, version: model.Version, stream: str) -> wire.Assign:
        """Return what turns a confined process into a worker of a version."""
        plan = self.plan
        bare = plan.mode == "bare"
        task_root = version.code_path if bare else environment.TASK_ROOT
        layer_root = version.layer_path if bare and version.layer_path else environment.LAYER_ROOT
        variables = environment.variables(
            version,
            stream=stream,
            region=plan.region,
            extra=plan.extra_environment,
            task_root=task_root,
            layer_root=layer_root,
        )
        return wire.Assign(
            version.handler,
            variables,
            task_root,
            layer_root,
            plan.sdk if bare else environment.SDK_ROOT,
            version.memory_mb,
            version.log_group,
            stream,
        )

    def release(self, group: cgroups.Group, function_name: str) -> None:
        """Take back what a worker held; its cgroup is cleaned later, in a thread."""
        self.groups.release(group)
        self.ids.give_back(function_name)
        self._released = True
        if self._recycled.is_set() and not self._closing:
            self._recycled.clear()
            self._spawn_task(self._recycle())

    async def close(self) -> None:
        """Remove every cgroup; the workers must be gone."""
        self._closing = True
        await self._recycled.wait()
        await asyncio.to_thread(self.groups.close)

    async def _recycle(self) -> None:
        try:
            while self._released and not self._closing:
                self._released = False
                while await asyncio.to_thread(self.groups.recycle, SPARE_GROUPS) and not self._closing:
                    await asyncio.sleep(_STILL_DYING_S)
        finally:
            self._recycled.set()

    def limits(self, version: model.Version) -> cgroups.Limits:
        """Return what a worker of a version may use."""
        return cgroups.Limits(
            memory_bytes=version.memory_mb * _MB,
            pids=memory_class.PIDS,
            cpu_share=version.memory_mb / memory_class.CORE_MB,
            cpu_mode=self.plan.cpu_mode,
        )


class Started:
    """One worker's process and what is held for it; implements ``process.Process`` and ``zygotes.Ordered``."""

    __slots__ = ("_fds", "_group", "_listener", "_owner", "_slot_id", "_uid", "_version", "missing")

    def __init__(
        self,
        owner: Launcher,
        slot_id: int,
        version: model.Version,
        fds: tuple[int, int, int],
        listener: process.Listener,
    ) -> None:
        self._owner = owner
        self._slot_id = slot_id
        self._version = version
        self._fds = fds
        self._listener = listener
        self.missing: dict[str, str] = {}
        self._uid = owner.ids.take(version.function_name)
        try:
            self._group = owner.groups.acquire(owner.limits(version))
        except BaseException:
            owner.ids.give_back(version.function_name)
            raise

    # zygotes.Ordered

    def order(self) -> spawner.Order:
        """Return what the zygote is to do."""
        version, owner = self._version, self._owner
        request_fd, response_fd, log_fd = self._fds
        return spawner.Order(
            slot=self._slot_id,
            uid=self._uid,
            gid=self._uid,
            hostname="169-254-100-1",
            request_fd=request_fd,
            response_fd=response_fd,
            log_fd=log_fd,
            code=version.code_path,
            layers=version.layer_path,
            cgroup_fds=self._group.join_fds,
            limits={**_RLIMITS, "tmp_bytes": version.ephemeral_storage_mb * _MB},
            skip=owner.plan.skip,
        )

    def placed(self) -> None:
        """Close the child's ends of the pipes: the child has its own."""
        for fd in self._fds:
            os.close(fd)
        self._fds = (-1, -1, -1)

    def on_spawned(self, pidfd: int) -> None:
        """Hear that the process exists."""

    def on_exit(self, status: int) -> None:
        """Pass its end on."""
        self._listener.process_exited(status)

    def on_failed(self, step: str, errno: int, reason: str) -> None:
        """Pass on that there is no process."""
        self._listener.process_failed(step, f"{reason} (errno {errno})" if errno else reason)

    def on_lost(self) -> None:
        """Pass on that it went with its zygote: killed, as far as anyone can tell."""
        self._listener.process_exited(9)

    # process.Process

    def kill(self) -> None:
        """Kill it and everything it started: the process is pid 1 of its namespace."""
        self._owner.forks.kill(self._version.runtime, self._slot_id)
        self._group.kill()

    def memory_peak(self) -> int:
        """Return the most memory it has used so far, in bytes."""
        return self._group.peak_bytes()

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel killed something of it for want of memory."""
        return self._group.oom_kills() > 0

    def release(self) -> None:
        """Give back the cgroup and the uid."""
        self._owner.release(self._group, self._version.function_name)
