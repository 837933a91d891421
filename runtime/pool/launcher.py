"""Starts worker processes for the pool: places an order at the zygote of the version's runtime."""

import asyncio
import dataclasses
import os
import signal
from collections.abc import Callable, Mapping

import psutil

from runtime import errors, model, wire
from runtime.pool import environment, holding, process, spawner, zygotes

_RLIMITS = {"NOFILE": 1024}
"""docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: file descriptors."""
_HOSTNAME = "169-254-100-1"
_MB = 1024 * 1024
_READING_AGE_S = 0.05
"""How long a reading of the host's free memory is believed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all launches share, settled at start."""

    mode: str
    """Of the zygotes; in "bare" there are no mount namespaces, and workers see the host's paths."""
    skip: Mapping[str, str]
    """Controls that orders leave out, with reasons."""
    sdk: str
    """Folder that functions see as /var/runtime."""
    region: str
    extra_environment: Callable[[model.Version], Mapping[str, str]]
    """What a worker's environment holds besides AWS's variables: credentials of its own, endpoints."""
    host_memory_bytes: int
    """Memory in use on the host from which on no worker is started."""


class Launcher:
    """The real launcher; implements ``process.Launcher``."""

    def __init__(self, plan: Plan, forks: zygotes.Zygotes, holdings: holding.Holdings) -> None:
        self.plan = plan
        self.forks = forks
        self._holdings = holdings
        self._room = True
        self._room_until = 0.0
        self._loop = asyncio.get_running_loop()

    def launch(
        self, slot_id: int, version: model.Version, fds: tuple[int, int, int], listener: process.Listener
    ) -> "Started":
        """Start a worker's process; see ``process.Launcher``."""
        try:
            held = self._holdings.take(version)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        started = Started(self, slot_id, version, fds, listener, held)
        held.furnish(started.place)
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
            extra=plan.extra_environment(version),
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

    def soon(self, call: Callable[..., None], *arguments: object) -> None:
        """Call something in the loop's next turn."""
        self._loop.call_soon(call, *arguments)


class Started:
    """One worker's process and what is held for it; implements ``process.Process`` and ``zygotes.Ordered``."""

    __slots__ = ("_fds", "_held", "_listener", "_owner", "_slot_id", "_version", "doomed", "missing")

    def __init__(
        self,
        owner: Launcher,
        slot_id: int,
        version: model.Version,
        fds: tuple[int, int, int],
        listener: process.Listener,
        held: holding.Holding,
    ) -> None:
        self._owner = owner
        self._slot_id = slot_id
        self._version = version
        self._fds = fds
        self._listener = listener
        self._held = held
        self.missing: dict[str, str] = {}
        self.doomed = False
        """Killed; where its order was not placed yet, it never will be."""

    def place(self) -> None:
        """Place the order, now that all is there for it."""
        try:
            self._owner.forks.place(self._version.runtime, self)
        except errors.WorkerLost as error:
            self.placed()
            self._owner.soon(self._listener.process_failed, "zygote", error.message)

    # zygotes.Ordered

    def order(self) -> spawner.Order:
        """Return what the zygote is to do."""
        version, held = self._version, self._held
        request_fd, response_fd, log_fd = self._fds
        return spawner.Order(
            slot=self._slot_id,
            uid=held.uid,
            gid=held.uid,
            hostname=_HOSTNAME,
            request_fd=request_fd,
            response_fd=response_fd,
            log_fd=log_fd,
            code=version.code_path,
            layers=version.layer_path,
            tmp=held.folder,
            tmp_fd=held.image.fd if held.image is not None else None,
            netns_fd=held.netns_fd,
            cgroup_fds=held.group.join_fds,
            limits={**_RLIMITS, "tmp_bytes": version.ephemeral_storage_mb * _MB},
            skip=self._owner.plan.skip,
        )

    def placed(self) -> None:
        """Close what the child has now for itself."""
        for fd in self._fds:
            os.close(fd)
        self._fds = (-1, -1, -1)
        self._held.settle()

    def on_spawned(self, pidfd: int) -> None:
        """Hear that the process exists."""
        self._held.spawned(pidfd, self.kill)

    def on_exit(self, status: int) -> None:
        """Pass its end on."""
        self._listener.process_exited(status)

    def on_failed(self, step: str, errno: int, reason: str) -> None:
        """Pass on that there is no process."""
        self._listener.process_failed(step, f"{reason} (errno {errno})" if errno else reason)

    def on_lost(self) -> None:
        """Pass on that it went with its zygote: killed, as far as anyone can tell."""
        self._listener.process_exited(signal.SIGKILL)

    # process.Process

    def kill(self) -> None:
        """Kill it and everything it started: the process is pid 1 of its namespace."""
        self.doomed = True
        self._owner.forks.kill(self._version.runtime, self._slot_id)
        self._held.group.kill()

    def freeze(self) -> None:
        """Stop it and everything it started; without cgroups, the process alone."""
        self._held.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self._held.thaw()

    def memory_peak(self) -> int:
        """Return the most memory it has used so far, in bytes."""
        return self._held.peak_bytes()

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel killed something of it for want of memory."""
        return self._held.group.oom_kills() > 0

    def release(self) -> None:
        """Give back what it held."""
        self._held.give_back()
