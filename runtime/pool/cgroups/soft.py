"""No cgroups: nothing is limited by the kernel as a whole, so memory is watched from outside and the limit is soft.

Three things stand in for the memory limit, none of them exact:

- RLIMIT_AS per process, wide (``address_space``): address space is not memory, and threads and mapped files take
  much of the former and little of the latter.
- ``Watch``: the proportional set size of the worker and all its descendants, looked at by the pool. A worker can take
  more than its limit between two looks.
- RLIMIT_NPROC stands in for the limit of processes.
"""

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Container, Mapping

import psutil

from runtime.pool.cgroups import port

_ADDRESS_SPACE_SLACK = 4 << 30
_ADDRESS_SPACE_FACTOR = 8


def address_space(memory_bytes: int) -> int:
    """Return RLIMIT_AS, in bytes, as the backstop for a memory limit: wide enough for numpy, OpenBLAS and threads."""
    return _ADDRESS_SPACE_FACTOR * memory_bytes + _ADDRESS_SPACE_SLACK


def family(pid: int, besides: Container[int] = ()) -> list[int]:
    """Return a process and its descendants, as far as they live, but for some and what descends from them."""
    found = [pid]
    for one in found:
        try:
            with open(f"/proc/{one}/task/{one}/children") as file:  # noqa: PTH123 - often, and a Path each is waste
                found += [child for child in map(int, file.read().split()) if child not in besides]
        except OSError:
            continue
    return found


def measure(pid: int, besides: Container[int] = ()) -> int:
    """Return the memory of a process and its ``family`` in bytes; 0 if it is gone."""
    return sum(measure_one(one) for one in family(pid, besides))


def measure_one(pid: int) -> int:
    """Return the memory of one process in bytes, without its descendants; quicker than ``measure``.

    PSS where it can be read: of a worker that is opaque to us, all but the files that it maps, as those are other
    workers' too. What its processes share by fork is then counted for each of them.
    """
    try:
        process = psutil.Process(pid)
        try:
            return int(process.memory_full_info().pss)
        except psutil.AccessDenied:
            memory = process.memory_info()
            return int(memory.rss - memory.shared + _shared_memory(pid))
    except psutil.NoSuchProcess:
        return 0


def _shared_memory(pid: int) -> int:
    """Return the memory that a process maps and that is no file's, in bytes: a part of what proc(5) calls shared."""
    try:
        with open(f"/proc/{pid}/status") as file:  # noqa: PTH123
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("RssShmem:")), 0)
    except OSError:
        return 0


def stop(pid: int) -> bool:
    """Send SIGSTOP to a process and its descendants that run; return whether none did."""
    moving = [one for one in family(pid) if not _stands(one)]
    _signal(moving, signal.SIGSTOP)
    return not moving


def go_on(pid: int) -> None:
    """Undo ``stop``."""
    _signal(family(pid), signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _stands(pid: int) -> bool:
    """Return whether a process is stopped or dead (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            state = file.read().rpartition(b")")[2].split()
    except OSError:
        return True
    return not state or state[0] in (b"T", b"t", b"Z", b"X")


class Watch:
    """Decides, look after look, whether a worker is over its limit; pure."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.last_bytes = 0
        self.peak_bytes = 0
        self.over = False
        """Whether it ever was over its limit."""

    def see(self, used_bytes: int) -> bool:
        """Take note of a measurement; return whether the worker is to be killed."""
        self.last_bytes = used_bytes
        self.peak_bytes = max(self.peak_bytes, used_bytes)
        self.over = self.over or used_bytes > self.limit_bytes
        return self.over

    def restart(self) -> None:
        """Forget the peak."""
        self.peak_bytes = self.last_bytes


class Group:
    """A worker without a cgroup. ``watch`` is the pool's to feed: ``group.watch.see(soft.measure(pid))``."""

    join_fds: tuple[int, ...] = ()
    clone_fd: int | None = None

    def __init__(self, name: str, limits: port.Limits) -> None:
        self.name = name
        self.watch = Watch(limits.memory_bytes)

    def limit(self, limits: port.Limits) -> None:
        """Set another limit for the watch."""
        self.watch.limit_bytes = limits.memory_bytes

    def throttle(self) -> None:
        """Do nothing: there is no quota without a cgroup."""

    def memory_bytes(self) -> int:
        """Return what the watch saw last."""
        return self.watch.last_bytes

    def reset_peak(self) -> None:
        """Forget the peak."""
        self.watch.restart()

    def peak_bytes(self) -> int:
        """Return the most that the watch saw since ``reset_peak``."""
        return self.watch.peak_bytes

    def cpu_us(self) -> int:
        """Return 0: not known."""
        return 0

    def oom_kills(self) -> int:
        """Return 1 once the watch has said that the worker is to be killed."""
        return int(self.watch.over)

    def freeze(self) -> bool:
        """Return False: SIGSTOP is the pool's to send."""
        return False

    def thaw(self) -> None:
        """Do nothing."""

    def holds(self, pid: int) -> bool:  # noqa: ARG002 - the port's
        """Return True: there is nothing to be in."""
        return True

    def kill(self) -> bool:
        """Return False: the pid namespace, or the process group, is all there is."""
        return False


class Backend:
    """The back-end where there are no cgroups; ``reason`` says why they cannot be used."""

    kind = "none"

    def __init__(self, reason: port.Unavailable | None = None) -> None:
        why, cure = (reason.why, reason.cure) if reason else ("asked for", "")
        missing = port.Control(engaged=False, why=why, cure=cure)
        self.controls: Mapping[str, port.Control] = dict.fromkeys(("memory", "pids", "cpu", "freeze", "kill"), missing)
        self._numbers = itertools.count(1)

    def acquire(self, limits: port.Limits) -> Group:
        """Return a group that limits nothing by itself."""
        return Group(f"{next(self._numbers):06d}", limits)

    def release(self, group: port.Group, *, spent: Callable[[str], None] | None = None) -> None:
        """Do nothing."""

    def recycle(self, spare: int, keep: int = 0) -> int:  # noqa: ARG002 - the port's
        """Return 0: there is nothing to clean."""
        return 0

    def close(self) -> None:
        """Do nothing."""
