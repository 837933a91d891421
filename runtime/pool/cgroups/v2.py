"""Cgroup v2: one directory per worker, below one parent, in a sub-tree that was delegated to us.

What decides here:

- A group that holds processes cannot hand controllers to its children ("no internal processes", cgroups(7)). So the
  supervisor moves itself into a leaf, ``supervisor``, beside the parent of its workers; this one write to
  ``cgroup.procs`` happens at start. There it runs before them: see ``precedence``.
- Joining is free with clone3's CLONE_INTO_CGROUP. Writing "0" to ``cgroup.procs`` works too, at 5 to 22 ms.
- ``memory.oom.group``: the OOM killer takes the whole worker, as Lambda takes the whole environment.
- ``memory.peak`` can be reset through an open file since Linux 6.12. Before that it only grows, so a used group is
  replaced instead of cleaned; before 5.19 there is none, and the peak is the most that was seen.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from runtime.pool.cgroups import page_cache, place, precedence, stock
from runtime.pool.cgroups.port import CPU_PERIOD_US, Control, CpuMode, Limits, Unavailable

WEIGHT = 100
"""Weight of one core's worth of share; the kernel's default for a group."""

LEAF = "supervisor"

_DELEGATE = "start it in a delegated cgroup: systemd-run --user --scope -p Delegate=yes hotfork serve, or Delegate=yes"


class Group:
    """One worker's directory, and open files in it. Controllers that are not enabled are passed over."""

    def __init__(self, name: str, directories: Mapping[str, Path]) -> None:
        self.name = name
        self.directory = directories[place.UNIFIED]
        self._open: dict[str, int] = {}
        self.clone_fd: int | None = self._opened(".", os.O_RDONLY | os.O_DIRECTORY)
        self.join_fds: tuple[int, ...] = (self._opened("cgroup.procs", os.O_WRONLY),)
        self._can_reset = self._may_open("memory.peak", os.O_RDWR) or not self._may_open("memory.peak", os.O_RDONLY)
        self._may_open("memory.events", os.O_RDONLY)
        self._limits: Limits | None = None
        self._throttled = False
        self._seen = self._kills = self._cpu_us = 0
        self._cache = page_cache.PageCache()
        self._fill("memory.swap.max", b"0")
        self._fill("memory.oom.group", b"1")

    def limit(self, limits: Limits) -> None:
        """Set limits; one that is below what is used now makes the kernel reclaim, then kill."""
        old = self._limits
        if limits == old:
            return
        if old is None or limits.memory_bytes != old.memory_bytes:
            self._fill("memory.max", b"%d" % limits.memory_bytes)
        if old is None or limits.pids != old.pids:
            self._fill("pids.max", b"%d" % limits.pids)
        if old is None or limits.weight != old.weight:
            self._fill("cpu.weight", b"%d" % max(1, round(WEIGHT * limits.weight)))
        self._limits = limits
        if self._throttled:
            self.throttle()

    def throttle(self) -> None:
        """Start the CPU quota, if there is one."""
        limits = self._limits
        if limits is not None and limits.cpu_mode is CpuMode.QUOTA:
            self._fill("cpu.max", b"%d %d" % (limits.quota_us, CPU_PERIOD_US))
            self._throttled = True

    def memory_bytes(self) -> int:
        """Return what is used now, page cache included; 0 without the controller."""
        return int(self._text("memory.current") or 0)

    def reset_peak(self) -> None:
        """Start to measure the peak anew, as far as the kernel can."""
        self._cache.forget()
        fd = self._open.get("memory.peak")
        if fd is None:
            self._seen = 0
        elif self._can_reset:
            os.pwrite(fd, b"0", 0)

    def peak_bytes(self) -> int:
        """Return the most memory used since ``reset_peak``, less the page cache that is there now."""
        fd = self._open.get("memory.peak")
        if fd is None:
            self._seen = max(self._seen, self.memory_bytes())
            return self._seen
        return self._cache.left_out(int(os.pread(fd, 32, 0)), lambda: self._text("memory.stat"))

    def cpu_us(self) -> int:
        """Return the CPU time used since ``acquire``."""
        return self._cpu_total() - self._cpu_us

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory since ``acquire``."""
        return self._kill_total() - self._kills

    def freeze(self) -> bool:
        """Stop every process of the worker."""
        return self._fill("cgroup.freeze", b"1")

    def thaw(self) -> None:
        """Undo ``freeze``."""
        self._fill("cgroup.freeze", b"0")

    def holds(self, pid: int) -> bool:
        """Return whether a process is in it."""
        return pid in stock.members(self.directory)

    def kill(self) -> bool:
        """Kill every process in it, frozen or not; False before Linux 5.14."""
        return self._fill("cgroup.kill", b"1")

    # What the stock asks

    def empty(self) -> bool:
        """Return whether no process is in it."""
        return b"populated 1" not in self._text("cgroup.events")

    def clean(self) -> bool:
        """Make an empty group as new; False where its peak cannot be reset."""
        if not self._can_reset:
            return False
        self.thaw()
        if self._throttled:
            self._fill("cpu.max", b"max %d" % CPU_PERIOD_US)
            self._throttled = False
        left_bytes = self.memory_bytes()
        if left_bytes > stock.LITTLE_BYTES:
            with contextlib.suppress(OSError):  # EAGAIN: it reclaimed less than all
                self._fill("memory.reclaim", b"%d" % left_bytes)
        self.reset_peak()
        self._kills = self._kill_total()
        self._cpu_us = self._cpu_total()
        return True

    def kill_members(self) -> None:
        """Kill every process in it, by pid where there is no other way."""
        if not self.kill():
            for pid in stock.members(self.directory):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.thaw()

    def held_bytes(self) -> int:
        """Return the memory charged to it that is no cache of files; 0 without the controller."""
        statistics = self._text("memory.stat")
        return self.memory_bytes() - stock.count(statistics, b"file") + stock.count(statistics, b"shmem")

    def remove(self) -> None:
        """Close its files and remove its directory; it must be empty."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        with contextlib.suppress(FileNotFoundError):
            self.directory.rmdir()

    def _cpu_total(self) -> int:
        return stock.count(self._text("cpu.stat"), b"usage_usec")

    def _kill_total(self) -> int:
        fd = self._open.get("memory.events")
        return 0 if fd is None else stock.count(os.pread(fd, 512, 0), b"oom_kill")

    def _opened(self, file: str, flags: int) -> int:
        fd = self._open[file] = os.open(f"{self.directory}/{file}", flags | os.O_CLOEXEC)
        return fd

    def _may_open(self, file: str, flags: int) -> bool:
        # EINVAL is kernfs's answer to opening a read-only file for writing, whoever asks.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            try:
                self._opened(file, flags)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            else:
                return True
        return False

    def _fill(self, file: str, value: bytes) -> bool:
        return stock.write(f"{self.directory}/{file}", value)

    def _text(self, file: str) -> bytes:
        return stock.read(f"{self.directory}/{file}")


def open_backend(where: place.Place) -> stock.Stock:
    """Return the back-end for the v2 hierarchy; raise Unavailable with cause and cure."""
    own = where.own.get(place.UNIFIED)
    if own is None:
        raise Unavailable("no cgroup2 file system is mounted", "mount one: mount -t cgroup2 none /sys/fs/cgroup")
    if own.name == LEAF:  # started again inside the leaf of a supervisor before us
        own = own.parent
    top = where.mounts[place.UNIFIED]
    try:
        controllers = _delegated(own, whole=own == top or os.geteuid() != 0)
    except Unavailable:
        # The root of the hierarchy is not bound by the rule of no internal processes, and may be root's to use.
        if top == own or not _is_root(top) or os.geteuid() != 0:
            raise
        own, controllers = top, _delegated(top, whole=False)
    try:
        parent = stock.adopt(where, own)
        _enable(parent, controllers)
    except OSError as error:
        raise Unavailable(f"cannot make a cgroup in {own}: {error.strerror}", _DELEGATE) from error
    told = {name: Control(engaged=True) for name in ("memory", "pids", "cpu", "freeze", "kill")}
    if "cpu" not in controllers:
        told["cpu"] = Control(engaged=False, why=f"the cpu controller is not delegated to {own}", cure=_DELEGATE)
    if not (parent / "cgroup.kill").exists():
        told["kill"] = Control(engaged=False, why="the kernel is older than 5.14", cure="the pid namespace does it")
    return stock.Stock("v2", told, {place.UNIFIED: parent}, Group)


def _delegated(own: Path, *, whole: bool) -> list[str]:
    """Make a cgroup ready to hold groups with limits: what it offers of memory, pids and cpu; raise Unavailable.

    ``whole``: it is all ours (delegated to this user, or to this container), so other processes in it, such as the
    shell that started us, may be moved into the leaf as well. A login session that systemd keeps for root is not.
    """
    offered = (own / "cgroup.controllers").read_text().split()
    for needed in ("memory", "pids"):
        if needed not in offered:
            raise Unavailable(f"the {needed} controller is not available in {own}", _DELEGATE)
    controllers: list[str] = [name for name in ("memory", "pids", "cpu") if name in offered]
    leaf = None if _is_root(own) else own / LEAF
    try:
        if leaf is not None:
            inside = {b"%d" % os.getpid(), *stock.read(f"{own}/cgroup.procs").split()}
            if not whole and len(inside) > 1:
                raise Unavailable(f"other processes are in {own}, so it cannot be divided", _DELEGATE)
            leaf.mkdir(exist_ok=True)
            for pid in inside:
                with contextlib.suppress(ProcessLookupError):
                    stock.write(f"{leaf}/cgroup.procs", pid)
        _enable(own, controllers)
        if leaf is not None:
            stock.write(f"{leaf}/cpu.weight", b"%d" % (precedence.FACTOR * WEIGHT))
    except OSError as error:
        raise Unavailable(f"{own} is not delegated to this user: {error.strerror}", _DELEGATE) from error
    return controllers


def _enable(directory: Path, controllers: list[str]) -> None:
    (directory / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _is_root(directory: Path) -> bool:
    """Return whether a directory is the root of the whole hierarchy: only the root has no type (cgroups(7))."""
    return not (directory / "cgroup.type").exists()
