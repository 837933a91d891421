"""One process that a zygote forks: made for a version, or as a blank that is given one later.

A blank has its namespaces, its cgroup and its /tmp, and waits. Where there is a mounter it is sealed, too, and all that
it lacks are the function's folders, which are placed in it when it is adopted. Elsewhere, and where its limits depend
on the function, adopting it sends it what a function's worker needs beyond that; it takes no descriptors then, so its
request pipe is all the channel that it needs.
"""

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping

from runtime import errors, model, wire
from runtime.pool import holder, holding, link, mounting, process, spawner, zygotes

_RLIMITS = {"NOFILE": 1024, "RTPRIO": 0, "NICE": 0, "MSGQUEUE": 819_200, "SIGPENDING": 4096}
"""docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: file descriptors. The others are what an account
of this machine may have been given more of, for itself, or what all workers of one account share."""
_HOSTNAME = "169-254-100-1"
_MB = 1024 * 1024


class Forked(holder.Holder):
    """A process and what is held for it; implements ``process.Process`` and ``zygotes.Ordered``."""

    __slots__ = (
        "_child_fds",
        "_door_fd",
        "_forks",
        "_gate",
        "_mounter",
        "_skip",
        "_version",
        "born",
        "doomed",
        "fds",
        "kind",
        "missing",
        "number",
        "on_placed",
        "runtime",
    )

    def __init__(
        self,
        number: int,
        forks: zygotes.Zygotes,
        runtime: str,
        held: holding.Holding,
        listener: process.Listener,
        *,
        version: model.Version | None = None,
        skip: Mapping[str, str],
        door_fd: int | None = None,
    ) -> None:
        """Make its pipes; ``place`` orders the process. ``number`` is unique among all; no version: a blank.

        ``door_fd``, which is closed when it was passed on, makes it a template.
        """
        super().__init__(held, listener)
        self._forks = forks
        self.runtime = runtime
        self._version = version
        self._skip = skip
        self._door_fd = door_fd
        self._gate: mounting.Gate | None = None
        """Of a blank that is sealed before it is adopted, until it is known that it got its folders."""
        self._mounter: mounting.Mounter | None = None
        """Who was told to give it these."""
        self.number = number
        self.kind = model.StartKind.BLANK if version is None else model.StartKind.PLAIN
        self.born: float | None = None
        self.missing: dict[str, str] = {}
        self.doomed = False
        """Killed; where its order was not placed yet, it never will be."""
        self.on_placed: Callable[[], None] | None = None
        """Called once: when the process exists, or will not."""
        self.fds, self._child_fds = link.pipes()

    def furnish(self) -> None:
        """Get it what it is to hold, and then place its order."""
        if self.doomed:
            self.place()
            return
        try:
            self._held.furnish(self.place)
        except (errors.WorkerLost, OSError) as error:
            self._not_placed(error)

    def place(self) -> None:
        """Place the order, now that all is there for it."""
        try:
            self._forks.place(self.runtime, self)
        except (errors.WorkerLost, OSError) as error:
            self._not_placed(error)

    def _not_placed(self, error: Exception) -> None:
        self.placed()
        # Later: whoever launched it does not have it yet.
        asyncio.get_running_loop().call_soon(self.on_failed, "zygote", 0, str(error))

    def adopt(self, version: model.Version, listener: process.Listener) -> None:
        """Make a blank a version's; raise WorkerLost or OSError where what it is to hold cannot be had.

        BrokenPipeError: it can be nobody's, since it or its mounter is no more, and the news may be on their way.
        """
        if not self._held.acquired:
            raise BrokenPipeError
        if self._gate is None:
            self._held.adopt(version)
            # The pipe is empty, so it takes the message whole.
            seal = wire.Seal(self._held.uid, self._held.uid, self._folders(version), self._limits())
            os.write(self.fds[0], wire.encode(seal))
        else:
            self._open(self._gate, version)
            self._held.adopt(version)  # meanwhile
        self._version = version
        self._listener = listener

    def _open(self, gate: mounting.Gate, version: model.Version) -> None:
        """Have a version's folders placed in a sealed blank; raise BrokenPipeError where it or the mounter is gone."""
        poll = select.poll()
        poll.register(self.fds[0], 0)
        mounter = self._forks.mounter(self.runtime)
        if poll.poll(0) or mounter is None or self._mounter is not None:
            raise BrokenPipeError
        mounter.mount(self._folders(version), gate)
        self._mounter = mounter

    def _close_gate(self) -> None:
        if self._gate is not None:
            if self._mounter is not None:
                self._mounter.forget(self._gate)
            self._gate.close()
            self._gate = None

    # zygotes.Ordered

    def order(self) -> spawner.Order:
        """Return what the zygote is to do."""
        held, version = self._held, self._version
        request_fd, response_fd, log_fd = self._child_fds
        if version is None and not held.rlimits and self._forks.mounter(self.runtime) is not None:
            with contextlib.suppress(OSError):  # out of descriptors: then it is sealed later, if it can be made at all
                self._gate = mounting.Gate()
        return spawner.Order(
            slot=self.number,
            uid=held.uid,
            gid=held.uid,
            hostname=_HOSTNAME,
            request_fd=request_fd,
            response_fd=response_fd,
            log_fd=log_fd,
            code=version.code_path if version is not None and self.kind is model.StartKind.PLAIN else None,
            layers=version.layer_path if version is not None and self.kind is model.StartKind.PLAIN else None,
            tmp=held.folder,
            tmp_fd=held.image.fd if held.image is not None else None,
            gate_fd=self._gate.theirs_fd if self._gate is not None else None,
            door_fd=self._door_fd,
            netns_fd=held.netns_fd,
            cgroup_folder_fd=held.group.clone_fd,
            cgroup_fds=held.group.join_fds,
            limits=self._limits(),
            skip=self._skip,
        )

    def _folders(self, version: model.Version) -> dict[str, str]:
        folders = {"code": version.code_path, "layers": version.layer_path, "tmp": self._held.folder}
        return {name: path for name, path in folders.items() if path is not None}

    def _limits(self) -> dict[str, int]:
        return {**_RLIMITS, **self._held.rlimits, "tmp_bytes": self._held.tmp_mb * _MB}

    def placed(self) -> None:
        """Close what the child has now for itself."""
        for fd in (*self._child_fds, self._door_fd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._child_fds = (-1, -1, -1)
        self._door_fd = None
        if self._gate is not None:
            self._gate.passed()
        self._held.settle()

    def on_spawned(self, pidfd: int) -> None:
        """Hear that the process exists."""
        self._held.spawned(pidfd, self.kill)
        self._listener.process_forked()
        self._say_placed()

    def on_exit(self, status: int) -> None:
        """Pass its end on."""
        refusal = ""
        if self._mounter is not None and self._gate is not None and os.WIFEXITED(status):
            refusal = self._gate.refusal()
        if refusal:
            self._listener.process_failed("mounts", refusal)
        else:
            self._listener.process_exited(status)
        self.confined()

    def on_failed(self, step: str, errno: int, reason: str) -> None:
        """Pass on that there is no process."""
        self._listener.process_failed(step, f"{reason} (errno {errno})" if errno else reason)
        self._say_placed()
        self.confined()

    def on_lost(self) -> None:
        """Pass on that it went with its zygote: killed, as far as anyone can tell."""
        self._listener.process_exited(signal.SIGKILL)
        self._say_placed()
        self.confined()

    def _say_placed(self) -> None:
        if self.on_placed is not None:
            said, self.on_placed = self.on_placed, None
            said()

    # process.Process

    def flaw(self) -> str:
        """Return "": until it said so, all that ran in it was ours."""
        return ""

    def kill(self) -> None:
        """Kill it and everything it started: the process is pid 1 of its namespace."""
        self.doomed = True
        self._forks.kill(self.runtime, self.number)
        self._held.kill()

    def initialised(self) -> None:
        """Hold it to its share of the CPU."""
        super().initialised()
        self._close_gate()

    def release(self) -> None:
        """Give back what it held."""
        self._close_gate()
        super().release()

    @property
    def is_sealed(self) -> bool:
        """Return whether it is a blank that lacks nothing but a function's folders, or soon will be."""
        return self._gate is not None

    @property
    def pid(self) -> int:
        """Return its pid in our namespace, once it is forked."""
        return self._held.pid

    def memory_used(self) -> int:
        """Return the memory it uses now, in bytes."""
        return self._held.memory_bytes()

    def make_room(self, charged_bytes: int, newborn_bytes: int) -> None:
        """Let a template use more memory, for its copies: see ``holding.Holding``."""
        self._held.make_room(charged_bytes, newborn_bytes)
