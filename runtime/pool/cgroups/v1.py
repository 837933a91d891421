"""Cgroup v1: one directory per worker in each of up to four hierarchies.

What decides here:

- Joining is a write of "0" to ``tasks`` by the single-threaded child (16 us a hierarchy). A pid in
  ``cgroup.procs`` would take a lock that waits for an RCU grace period.
- CPU time is counted by ``cpuacct``. Where that is a hierarchy of its own, and not one with ``cpu``, it would cost each
  worker 0.15 ms: only those are in it whose time is asked for.
- The kernel checks that write with the credentials of whoever *opened* the file, so a passed descriptor works.
- The OOM killer takes one process, not the group. When that is the worker, pid 1 of its pid namespace, everything
  goes; when it is a child, the counter in ``memory.oom_control`` tells: ask ``oom_kills`` after each invocation.
  An eventfd per group would tell sooner, at the price of a descriptor and a wake-up each; a function whose child was
  killed hears of it from wait(2) anyway.
- The freezer is not used: a process that it froze does not die of SIGKILL, so what a killed supervisor had frozen
  would outlive it. Workers are stopped by signal instead.
"""

import contextlib
import functools
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from runtime.pool.cgroups import page_cache, place, stock
from runtime.pool.cgroups.port import CPU_PERIOD_US, Control, CpuMode, Limits, Unavailable

SHARES = 1024
"""Weight of one core's worth of share; the kernel's default for a group."""

TCP_LEAST = 16 << 20
"""Bytes of socket buffers that any worker may have; a larger one an eighth of its memory."""

_NEEDED = "memory"
_WANTED = ("memory", "pids", "cpu", "cpuacct")
_UNLIMITED = 1 << 63


class Group:
    """One worker's directories, and open files in them."""

    clone_fd: int | None = None

    def __init__(self, name: str, directories: Mapping[str, Path], *, counter: Path | None = None) -> None:
        """``counter`` is the parent in a cpuacct hierarchy where there is no directory yet."""
        self.name = name
        self._directories = directories
        self._counter = counter
        # Hierarchies may be mounted together, as cpu and cpuacct often are.
        self._paths = tuple(dict.fromkeys(directories.values()))
        memory = directories["memory"]
        self._open: list[int] = []
        self.join_fds: tuple[int, ...] = tuple(self._opened(f"{path}/tasks", os.O_WRONLY) for path in self._paths)
        self._peak_fd = self._opened(f"{memory}/memory.max_usage_in_bytes", os.O_RDWR)
        self._oom_fd = self._opened(f"{memory}/memory.oom_control", os.O_RDONLY)
        self._stat_fd = self._opened(f"{memory}/memory.stat", os.O_RDONLY)
        cpuacct = directories.get("cpuacct")
        self._cpu_fd = self._opened(f"{cpuacct}/cpuacct.usage", os.O_RDONLY) if cpuacct else -1
        self._memory_bytes = _UNLIMITED
        self._limits: Limits | None = None
        self._throttled = False
        self._kills = self._cpu_ns = 0
        self._cache = page_cache.PageCache()

    def limit(self, limits: Limits) -> None:
        """Set limits; one that is below what is used now makes the kernel reclaim, or refuse with EBUSY."""
        old = self._limits
        if limits == old:
            return
        if limits.counted and self._counter is not None:
            self._count(self._counter / self.name)
        # A write costs 15 to 30 us: only what changed is written.
        if limits.memory_bytes != self._memory_bytes:
            self._limit_memory(limits.memory_bytes)
        if old is None or limits.pids != old.pids:
            self._fill("pids", "pids.max", b"%d" % limits.pids)
        if old is None or limits.weight != old.weight:
            self._fill("cpu", "cpu.shares", b"%d" % max(2, round(SHARES * limits.weight)))
        self._limits = limits
        if self._throttled:
            self.throttle()

    def _count(self, directory: Path) -> None:
        directory.mkdir()
        self._counter = None
        self._paths += (directory,)
        self.join_fds += (self._opened(f"{directory}/tasks", os.O_WRONLY),)
        self._cpu_fd = self._opened(f"{directory}/cpuacct.usage", os.O_RDONLY)

    def _limit_memory(self, memory_bytes: int) -> None:
        files = ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]
        # Memory and swap together may never be less than memory: the one that gives way goes first.
        for file in files if memory_bytes > self._memory_bytes else reversed(files):
            self._fill("memory", file, b"%d" % memory_bytes)  # without swap accounting there is no memsw
        # Buffers of TCP sockets count apart on v1, and against a limit of the whole machine: one function could take
        # all of it.
        self._fill("memory", "memory.kmem.tcp.limit_in_bytes", b"%d" % max(TCP_LEAST, memory_bytes // 8))
        self._memory_bytes = memory_bytes

    def throttle(self) -> None:
        """Start the CPU quota, if there is one."""
        limits = self._limits
        if limits is not None and limits.cpu_mode is CpuMode.QUOTA:
            self._fill("cpu", "cpu.cfs_period_us", b"%d" % CPU_PERIOD_US)
            self._fill("cpu", "cpu.cfs_quota_us", b"%d" % limits.quota_us)
            self._throttled = True

    def memory_bytes(self) -> int:
        """Return what is used now, page cache included."""
        return int(stock.read(self._path("memory", "memory.usage_in_bytes")))

    def reset_peak(self) -> None:
        """Start to measure the peak anew, from what is used now."""
        os.pwrite(self._peak_fd, b"0", 0)

    def peak_bytes(self) -> int:
        """Return the most memory used since ``reset_peak``, less the page cache that is there now."""
        return self._cache.left_out(int(os.pread(self._peak_fd, 32, 0)), self._statistics)

    def _statistics(self) -> bytes:
        return os.pread(self._stat_fd, 4096, 0)

    def cpu_us(self) -> int:
        """Return the CPU time used since ``acquire``; 0 where it is not counted, or there is no cpuacct hierarchy."""
        return (self._cpu_total() - self._cpu_ns) // 1000

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory since ``acquire``."""
        return self._kill_total() - self._kills

    def freeze(self) -> bool:
        """Stop every process of the worker; True once all stand still, else call it again in a moment.

        One that forks while it is stopped may get away with a child, which may wake its parent: whoever is still not
        still after some calls does not want to be.
        """
        moving = [pid for pid in stock.members(self._directories["memory"]) if not _stands(pid)]
        for pid in moving:
            _signal(pid, signal.SIGSTOP)
        return not moving

    def thaw(self) -> None:
        """Let go on what ``freeze`` stopped."""
        for pid in stock.members(self._directories["memory"]):
            _signal(pid, signal.SIGCONT)

    def holds(self, pid: int) -> bool:
        """Return whether a process is in it, with every thread, in every hierarchy."""
        place = b"/%s/%s\n" % (self._paths[0].parent.name.encode(), self.name.encode())
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - a Path each is waste
        return all(
            stock.read(f"/proc/{pid}/task/{thread}/cgroup").count(place) == len(self._paths) for thread in threads
        )

    def kill(self) -> bool:
        """Return False: SIGKILL by pidfd is all there is, and a stopped process dies of it."""
        return False

    # What the stock asks

    def empty(self) -> bool:
        """Return whether no process is in it."""
        return not any(stock.members(path) for path in self._paths)

    def clean(self) -> bool:
        """Make an empty group as new; True: a v1 group can always be used again."""
        if self._throttled:
            self._fill("cpu", "cpu.cfs_quota_us", b"-1")
            self._throttled = False
        if self.memory_bytes() > stock.LITTLE_BYTES:
            self._fill("memory", "memory.force_empty", b"0")
        self.reset_peak()
        self._kills = self._kill_total()
        self._cpu_ns = self._cpu_total()
        self._cache.forget()
        return True

    def kill_members(self) -> None:
        """Send SIGKILL to every process in it, by pid: only for groups that nobody looks after."""
        for path in self._paths:
            for pid in stock.members(path):
                _signal(pid, signal.SIGKILL)

    def held_bytes(self) -> int:
        """Return the memory charged to it that is no cache of files."""
        statistics = stock.read(self._path("memory", "memory.stat"))
        return self.memory_bytes() - stock.count(statistics, b"cache") + stock.count(statistics, b"shmem")

    def remove(self) -> None:
        """Close its files and remove its directories; they must be empty."""
        for fd in self._open:
            os.close(fd)
        self._open.clear()
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()

    def _cpu_total(self) -> int:
        return int(os.pread(self._cpu_fd, 32, 0)) if self._cpu_fd >= 0 else 0

    def _kill_total(self) -> int:
        return stock.count(os.pread(self._oom_fd, 256, 0), b"oom_kill")

    def _opened(self, path: str, flags: int) -> int:
        fd = os.open(path, flags | os.O_CLOEXEC)
        self._open.append(fd)
        return fd

    def _path(self, controller: str, file: str) -> str:
        return f"{self._directories[controller]}/{file}"

    def _fill(self, controller: str, file: str, value: bytes) -> bool:
        return controller in self._directories and stock.write(self._path(controller, file), value)


def _stands(pid: int) -> bool:
    """Return whether a process is stopped or dead (proc_pid_stat(5))."""
    state = stock.read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return not state or state[0] in (b"T", b"t", b"Z", b"X")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def open_backend(where: place.Place) -> stock.Stock:
    """Return the back-end for the v1 hierarchies that this process is in; raise Unavailable with cause and cure."""
    if _NEEDED not in where.own:
        raise Unavailable("no cgroup v1 memory hierarchy is mounted", "mount one, or run under a system with cgroup v2")
    parents: dict[str, Path] = {}
    controls: dict[str, Control] = {}
    for controller in _WANTED:
        directory = where.own.get(controller)
        if directory is None:
            controls[controller] = Control(engaged=False, why=f"no cgroup v1 {controller} hierarchy is mounted")
            continue
        try:
            parents[controller] = stock.adopt(where, directory)
        except OSError as error:
            if controller == _NEEDED:
                raise Unavailable(
                    f"cannot make a cgroup in {directory}: {error.strerror}",
                    "cgroup v1 cannot be delegated safely: run as root, or boot with cgroup v2",
                ) from error
            controls[controller] = Control(engaged=False, why=f"{directory}: {error.strerror}", cure="run as root")
    told = {
        "memory": Control(engaged=True),
        "pids": controls.get("pids", Control(engaged=True)),
        "cpu": controls.get("cpu", Control(engaged=True)),
        "freeze": Control(engaged=True),
        "kill": Control(engaged=False, why="cgroup v1 cannot kill a group", cure="the pid namespace does it"),
    }
    later: dict[str, Path] = {}
    if parents.get("cpuacct") != parents.get("cpu"):
        later = {"cpuacct": parents.pop("cpuacct")} if "cpuacct" in parents else {}
    return stock.Stock("v1", told, parents, functools.partial(Group, counter=later.get("cpuacct")), later=later)
