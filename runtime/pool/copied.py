"""A worker's process that a template forked: a copy of it.

The template ran the function's code and is not trusted. Who the copy is is told by the kernel, which names the sender
of its first packet, and held against what a copy must be: the first process of a pid namespace of its own, made by this
template. When it ends is told by the kernel, too; only how, by the template.
"""

import asyncio
import os
import select
import signal
from typing import Protocol

from runtime import errors, model, wire
from runtime.pool import holder, holding, link, process

STATUS_GRACE_S = 0.05
"""How long the template has to say how a copy ended that is gone; after that it was killed, as far as is known."""

_LOOKS = 4
"""How often a copy's processes are looked at, while some of them come and go."""

BIRTH_LIMIT_S = 10.0
"""How long a copy that is to be killed may take to be born; after that its template is killed."""

_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_FAMILY = 64
"""Processes that a copy may have started by the time its sandbox stands."""
_FILTERS = "Seccomp_filters"
_PF_EXITING = 0x4
"""include/linux/sched.h."""
_MB = 1024 * 1024


class Parent(Protocol):
    """The template, as a copy needs it."""

    pid: int
    """Of the template's first process."""
    filters: int
    """Of system calls, that it has."""

    def order(self, order: wire.Spawn, fds: list[int]) -> None:
        """Pass an order on; raise OSError where that cannot be."""

    def forget(self, number: int) -> None:
        """Forget a copy that is gone."""

    def distrust(self, reason: str) -> None:
        """Let go of the template with all its copies."""

    def listen(self) -> None:
        """Hear now what was said at its door."""

    def learn(self, pid: int) -> None:
        """Hear of a copy that served a call, by its pid, which is not sure to live."""


class Copied(holder.Holder):
    """A copy and what is held for it; implements ``process.Process``."""

    __slots__ = (
        *("_child_fds", "_loop", "_missed", "_number", "_orphan", "_parent", "_pidfd", "_skip"),
        *("_status", "_timer", "born", "doomed", "fds", "kind", "missing", "placed"),
    )

    def __init__(
        self,
        number: int,
        parent: Parent,
        held: holding.Holding,
        listener: process.Listener,
        *,
        skip: dict[str, str],
        born: float,
    ) -> None:
        """Make its pipes; ``furnish`` orders it. ``born``: when its template was, on the pool's clock."""
        super().__init__(held, listener)
        self._loop = asyncio.get_running_loop()
        self._number = number
        self._parent = parent
        self._skip = skip
        self._pidfd = -1
        self._missed = False
        """Whether it was gone already when it was heard who it is."""
        self._orphan = False
        self.placed = False
        """Whether it was ordered."""
        self._status: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.kind = model.StartKind.SNAPSHOT
        self.born: float | None = born
        self.missing: dict[str, str] = {}
        self.doomed = False
        self.fds, self._child_fds = link.pipes()

    def furnish(self) -> None:
        """Get it what it is to hold, and then pass its order on."""
        try:
            self._demand_wanted()
            self._held.furnish(self.place)
        except (errors.WorkerLost, OSError) as error:
            self._not_placed(error)

    def place(self) -> None:
        """Pass the order on, now that all is there for it."""
        held = self._held
        names, fds = ["request", "response", "log"], list(self._child_fds)
        if held.image is not None:
            names.append("tmp")
            fds.append(held.image.fd)
        names += ["cgroup"] * len(held.group.join_fds)
        fds += held.group.join_fds
        limits = {"tmp_bytes": held.tmp_mb * _MB}
        try:
            self._demand_wanted()
            self._parent.order(wire.Spawn(self._number, 0, 0, "", {}, " ".join(names), limits, self._skip), fds)
        except (errors.WorkerLost, OSError) as error:
            self._not_placed(error)
        else:
            self.placed = True
            self._settle()

    def _demand_wanted(self) -> None:
        if self.doomed or self._orphan:
            raise errors.WorkerLost("its template ended")

    def _not_placed(self, error: Exception) -> None:
        self._settle()
        # Later: whoever launched it does not have it yet.
        self._loop.call_soon(self.failed, str(error))

    def _settle(self) -> None:
        for fd in self._child_fds:
            os.close(fd)
        self._held.settle()

    # What the template tells

    def spawned(self, pid: int) -> None:
        """Hear that a process says that it is this copy."""
        if self._pidfd >= 0 or self._missed:
            self._parent.distrust("a copy was born twice")
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._missed = True  # the template says how it ended
            return
        if not _is_copy(pid, self._parent.pid):
            self._missed = _ended(pidfd)
            os.close(pidfd)
            if not self._missed:
                self._parent.distrust("what it calls a copy is none")
            return
        self._pidfd = pidfd
        self._loop.add_reader(pidfd, self._gone)
        self._stop_timer()
        self._held.spawned(pidfd, self.kill)
        if self.doomed:
            self.kill()
        self._listener.process_forked()

    def exited(self, status: int) -> None:
        """Hear how the copy ended, or is to have ended."""
        self._status = status
        if self._pidfd < 0:
            # It ended before it was seen. Later: whoever looks at it now (``flaw``) must not lose it meanwhile.
            self._parent.forget(self._number)
            self._loop.call_soon(self._finish)
        elif self._timer is not None:
            self._stop_timer()
            self._finish()

    def failed(self, reason: str) -> None:
        """Hear that there is no copy, and will be none."""
        self._parent.forget(self._number)
        self._stop_timer()
        if self.doomed:
            self._listener.process_exited(signal.SIGKILL)
        else:
            self._listener.process_failed("snapshot", reason)
        self.confined()

    def doom(self) -> None:
        """Hear that the template is to end, and with it every copy."""
        if self._pidfd >= 0:
            self._listener.process_doomed("its template ended")

    def orphaned(self) -> None:
        """Hear that the template ended, and with it every copy."""
        self._orphan = True
        self.doom()
        if self.placed and self._pidfd < 0:
            self.failed("its template ended")
        # Else its turn comes yet, or the kernel tells when it is gone.

    def adopt(self, listener: process.Listener) -> bool:
        """Be a worker's from now on, whose listener hears the rest; return False where it is about to end.

        For a copy that was made before there was anybody who wanted it.
        """
        gone = self.doomed or self._orphan or self._missed or self._status is not None
        if gone or (self._pidfd >= 0 and _ended(self._pidfd)):
            return False
        self._listener = listener
        return True

    # process.Process

    def flaw(self) -> str | None:
        """Return what it lacks: its code ran before its sandbox stood, so that its word is worth nothing."""
        if self._pidfd < 0:
            self._parent.listen()  # what it said first, at another door than this
        if self._pidfd < 0:
            return None if self._missed or self._status is not None else "a copy did not say who it is"
        flaw = "the processes of a copy cannot be looked at"
        for _ in range(_LOOKS):
            try:
                flaw = self._look(holding.pid_of(self._pidfd))
                break
            except (OSError, KeyError):
                continue  # one of them ended while it was looked at
        # Looked at last: what is told of a process that ended is not what it was.
        return None if _ended(self._pidfd) else flaw

    def _look(self, pid: int) -> str:
        """Return what its processes lack, or ""; raise OSError or KeyError where one of them ends meanwhile."""
        # A worker's, on top of those that it was born with.
        filters = 0 if "seccomp" in self._skip else self._parent.filters + 1
        for one in _family(pid):
            flaw = _flaw(one, filters)
            if flaw:
                return flaw
            # A second look: the kernel lists a process that is just being forked here sooner than there.
            if not (self._held.group.holds(one) or self._held.group.holds(one)):
                if one != pid and _exits(one):
                    raise OSError("it ended meanwhile")
                return "a copy is not in its cgroup"
        return ""

    def served(self) -> None:
        """Show its template what it wrote to."""
        if self._pidfd >= 0 and not _ended(self._pidfd):
            self._parent.learn(holding.pid_of(self._pidfd))

    def kill(self) -> None:
        """Kill it and everything it started: the process is pid 1 of its namespace."""
        self.doomed = True
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return
        elif self.placed and self._timer is None and self._status is None:
            self._timer = self._loop.call_later(BIRTH_LIMIT_S, self._parent.distrust, "a copy was not born in time")
        self._held.kill()

    # How

    def _gone(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._stop_timer()
        if self._status is None:
            self._timer = self._loop.call_later(STATUS_GRACE_S, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        self._stop_timer()
        self._parent.forget(self._number)
        self._listener.process_exited(signal.SIGKILL if self._status is None else self._status)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self.confined()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _ended(pidfd: int) -> bool:
    """Return whether a process ended, or is just about to: one that exits is no more in its cgroup, as v1 tells it."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        return bool(poll.poll(0)) or _exits(holding.pid_of(pidfd))
    except OSError:
        return True


def _exits(pid: int) -> bool:
    """Return whether the first thread of a process exits, which none can take back: proc_pid_stat(5), flags."""
    flags = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[6]
    return bool(int(flags) & _PF_EXITING)


def _is_copy(pid: int, template: int) -> bool:
    """Return whether a process is the first of its pid namespace, and a grandchild of a template's first process."""
    try:
        own = _status(pid)
        return own["NSpid"].split()[-1] == "1" and _status(int(own["PPid"]))["PPid"] == str(template)
    except (OSError, KeyError):
        return False


def _family(pid: int) -> list[int]:
    """Return a process and what it started; raise OSError where that are too many to be well."""
    family = [pid]
    for one in family:
        try:
            family += map(int, _read(f"/proc/{one}/task/{one}/children").split())
        except FileNotFoundError:
            continue  # gone, or a kernel without CONFIG_PROC_CHILDREN
        if len(family) > _FAMILY:
            raise OSError("too many processes")
    return family


def _flaw(pid: int, filters: int) -> str:
    """Return what a process of a copy lacks; of ``filters`` of system calls it must have so many."""
    status = _status(pid)
    held = [name for name in _CAPABILITIES if int(status[name], 16)]
    if held:
        return f"a copy has capabilities: {', '.join(held)}"
    if status["NoNewPrivs"] != "1" or int(status.get(_FILTERS, filters)) < filters:
        return "a copy did not seal itself"
    return ""


def filters_of(pid: int) -> int:
    """Return how many filters of system calls a process has; 0 where the kernel does not tell. Raises OSError."""
    return int(_status(pid).get(_FILTERS, 0))


def _status(pid: int) -> dict[str, str]:
    lines = _read(f"/proc/{pid}/status").decode(errors="replace").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a third of what a Path costs, ten times a start
        return file.read()
