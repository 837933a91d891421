"""What is held for one worker while it lives: a uid, a cgroup, a /tmp, a network; taken together, given back together.

``Sources`` are where they come from. Nothing here waits: a /tmp that must be made first is handed over when it is made.
"""

import dataclasses
import itertools
import os
import socket
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from runtime import model
from runtime.pool import affinity, cgroups, loop_image, memory_class, memory_watch, scratch, time_slice, uids
from runtime.pool.cgroups import soft
from runtime.pool.network import modes

_LEAST_BYTES = 32 * 1024 * 1024
"""Memory of its own that a copy may use, however much it shares with its template."""

STARTING_SHARE = 0.5
"""CPU share, in cores, that a worker has at least until it has started, and a blank while it is made. As on Lambda, a
function is not held to its own share before. Nor would little do for a blank: what makes a worker takes locks that the
whole machine shares (of mounts, of cgroups); whoever holds one and waits for the processor keeps all others waiting.
Those that start at the same time have it together, until each has started: with so much for each, they would keep a
small function, which has seven times less, waiting at each of its calls.
"""

_MB = 1024 * 1024
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where what workers hold comes from; None: this machine has none."""

    groups: cgroups.Backend
    cpu_mode: cgroups.CpuMode
    ids: uids.Uids
    network: modes.Network
    images: scratch.Store | None = None
    private: Path | None = None
    """Where workers without a mount namespace get folders of their own for /tmp."""
    walled: bool = False
    """Whether a worker can give descriptors to nobody: it is alone in its namespaces of processes and network."""


class Owner(Protocol):
    """Hands out what workers hold; ``holdings.Holdings``."""

    sources: Sources
    watch: memory_watch.MemoryWatch | None
    """Watches the memory of workers where no cgroup does."""
    starting: int
    """How many workers have not started yet; blanks do not count, which are made one after the other."""

    def acquire(self, limits: cgroups.Limits) -> cgroups.Group:
        """Return a cgroup; raise OSError where there is none to be had."""

    def give_back(self, held: "Holding") -> None:
        """Take back what a dead worker held."""


class Holding:
    """What one worker holds.

    A thousand may be asked for at once that are made one after the other: so nothing is taken before it is furnished.
    """

    __slots__ = (
        *("_copies_bytes", "_cpu_share", "_door", "_group", "_starting", "_memory_mb", "_owner", "_pid", "_pidfd"),
        *("_shared_bytes", "_tmpfs_mb", "_version", "folder", "owner_of_uid", "image", "netns_fd", "on_misuse"),
        *("shared", "tmp_mb", "uid"),
    )

    def __init__(
        self,
        owner: Owner,
        memory_mb: int,
        tmp_mb: int,
        *,
        version: model.Version | None = None,
        shared: tuple[int, Callable[[str], None]] | None = None,
    ) -> None:
        """``version`` and ``shared`` as in ``holdings.Holdings.take``."""
        self._owner = owner
        self._starting = False
        self._pid = 0
        self._pidfd = -1
        self._version = version
        self._memory_mb = memory_mb
        self._tmpfs_mb = 0
        self._shared_bytes = shared[0] if shared and owner.watch is None else 0
        """Memory that it shares with its template, and that is not its own once more. The watch counts it for each."""
        self._copies_bytes = 0
        """Of a template: memory of its copies that is charged to it."""
        self._cpu_share: float | None = STARTING_SHARE
        """None: what goes with its memory."""
        self.shared = shared is not None
        """Whether others than one worker have its descriptors: a template and its copies."""
        self.on_misuse = shared[1] if shared else None
        """Of a copy of a template, whose code has its descriptors: called, from a thread, where it keeps them."""
        self.tmp_mb = tmp_mb
        self.uid = 0
        self.owner_of_uid: str | None = None
        """Whose uid it is: a function's, or this blank's; None: it has none yet."""
        self._group: cgroups.Group | None = None
        self.image: loop_image.Image | None = None
        self.folder: str | None = None
        self.netns_fd: int | None = None
        self._door: socket.socket | None = None

    @property
    def acquired(self) -> bool:
        """Return whether it has a cgroup."""
        return self._group is not None

    @property
    def group(self) -> cgroups.Group:
        """Return its cgroup; it must have one."""
        assert self._group is not None
        return self._group

    def acquire(self) -> None:
        """Take a version's uid, or one of its own, and a cgroup. Raises WorkerLost or OSError."""
        version = self._version
        if version is not None:
            self.uid = self._owner.sources.ids.take(version.function_name)
            self.owner_of_uid = version.function_name
            self._share_cpu(version)
        else:
            # No function has such a name. The uid stays its own: so a blank can have it before its function is known.
            owner = f"a blank: {next(_numbers)}"
            self.uid = self._owner.sources.ids.take_ahead(owner)
            self.owner_of_uid = owner
            self._cpu_share = self._starting_share()
        self._group = self._owner.acquire(self._limits())
        if version is not None:
            self._starting = True
            self._owner.starting += 1

    def started(self) -> None:
        """Hear that it has started, or never will."""
        if self._starting:
            self._starting = False
            self._owner.starting -= 1

    def _limits(self) -> cgroups.Limits:
        """Return what it may use; a tmpfs is charged to its cgroup, whose memory is raised by its size."""
        charged_mb = self._tmpfs_mb if self._owner.watch is None else 0  # the watch sees what processes map: no tmpfs
        own_bytes = max(self._memory_mb * _MB - self._shared_bytes, _LEAST_BYTES)
        return cgroups.Limits(
            memory_bytes=own_bytes + charged_mb * _MB + self._copies_bytes,
            pids=memory_class.PIDS,
            cpu_share=memory_class.cpu_share(self._memory_mb) if self._cpu_share is None else self._cpu_share,
            cpu_mode=self._owner.sources.cpu_mode,
            # A template's is asked for; a copy is born in its template's group, and would be counted there.
            counted=self.shared,
        )

    def make_room(self, charged_bytes: int, newborn_bytes: int) -> None:
        """Let a template use more memory, for its copies.

        What a copy takes before it is in its own cgroup stays charged to this one; without cgroups copies are counted
        with the template until they are known.
        """
        self._copies_bytes = newborn_bytes if isinstance(self.group, soft.Group) else charged_bytes
        self._limit()

    def _limit(self) -> None:
        self.group.limit(self._limits())

    def _share_cpu(self, version: model.Version) -> None:
        """Take the share of the CPU that a version's workers have until they have started."""
        self._cpu_share = max(self._starting_share(), memory_class.cpu_share(version.memory_mb))

    def _starting_share(self) -> float:
        return STARTING_SHARE / (self._owner.starting + 1)

    def adopt(self, version: model.Version) -> None:
        """Make a blank's a version's: its memory. Raises OSError."""
        self._share_cpu(version)
        self._memory_mb = version.memory_mb
        self._limit()

    def initialised(self) -> None:
        """Hold it to its share of the CPU from now on, which it was spared while it started; it is woken at once."""
        self.started()
        self._cpu_share = None
        self._limit()
        self.group.throttle()
        if self._pidfd >= 0:
            time_slice.shorten(self.pid)

    def furnish(self, then: Callable[[], None]) -> None:
        """Get all of it, and call ``then``: at once, or as soon as a network and a /tmp are there.

        Raises WorkerLost or OSError.
        """
        self.acquire()

        def use(netns_fd: int | None, door: socket.socket | None) -> None:
            self.netns_fd, self._door = netns_fd, door
            self._get_tmp(then)

        if self.on_misuse is not None:
            self._get_tmp(then)
        else:
            self._owner.sources.network.take(use)

    def _get_tmp(self, then: Callable[[], None]) -> None:
        store = self._owner.sources.images

        def use(made: loop_image.Image | OSError) -> None:
            if isinstance(made, OSError):
                self._tmpfs_mb = self.tmp_mb
                self._limit()
            else:
                self.image = made
            then()

        if self._owner.sources.private is not None:
            self.folder = tempfile.mkdtemp(prefix="tmp-", dir=self._owner.sources.private)
            self._own_folder(self.folder)
            then()
        elif store is None:
            use(OSError("there is no store of images"))
        else:
            store.take(self.tmp_mb, use)

    def _own_folder(self, folder: str) -> None:
        if os.geteuid() == 0:
            os.chown(folder, self.uid, self.uid)

    @property
    def rlimits(self) -> dict[str, int]:
        """Return the resource limits that stand in for a cgroup: per process wide, per user namespace exact."""
        if not isinstance(self.group, soft.Group):
            return {}
        limits = {"AS": soft.address_space(self.group.watch.limit_bytes)}
        # In a user namespace of its own a worker is counted alone; elsewhere with all that its user runs.
        if os.geteuid() != 0 and self._owner.sources.private is None:
            limits["NPROC"] = memory_class.PIDS
        return limits

    def settle(self) -> None:
        """Let go of what only the start needed."""
        if self.netns_fd is not None:
            os.close(self.netns_fd)
            self.netns_fd = None

    def spawned(self, pidfd: int, kill: Callable[[], None]) -> None:
        """Watch the memory of the process where no cgroup does; ``kill`` is called where it takes too much.

        ``pidfd`` is borrowed until ``give_back``.
        """
        self._pidfd = pidfd
        watch = self._owner.watch
        if watch is not None and isinstance(self.group, soft.Group):
            self._pid = pid_of(pidfd)
            watch.watch(self._pid, self.group, kill)

    @property
    def pid(self) -> int:
        """Return the pid of its first process in our namespace, once it is forked."""
        return pid_of(self._pidfd)

    def freeze(self) -> bool:
        """Stop every process of the worker. False: not all stand still yet."""
        if not isinstance(self.group, soft.Group):
            return self.group.freeze()
        return soft.stop(self._pid) if self._pid else True

    def thaw(self) -> None:
        """Undo ``freeze``."""
        self.group.thaw()
        if isinstance(self.group, soft.Group) and self._pid:
            soft.go_on(self._pid)

    def bind(self, processors: Iterable[int]) -> bool:
        """Let it run on these processors alone; return whether that could be done."""
        return affinity.bind(self.pid, processors) if self._pidfd >= 0 else True

    def kill(self) -> None:
        """Kill what is in the cgroup, where that can be done."""
        if self._group is not None:
            self._group.kill()

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel killed something of the worker for want of memory."""
        return self._group is not None and self._group.oom_kills() > 0

    def memory_bytes(self) -> int:
        """Return the memory that the worker uses now, with all that it started: of a template that is what has init."""
        self._look(all_of_it=True)
        return self.group.memory_bytes()

    def peak_bytes(self) -> int:
        """Return the most memory that the worker used so far."""
        self._look()
        return self.group.peak_bytes() + self._shared_bytes

    def _look(self, *, all_of_it: bool = False) -> None:
        if self._pid and self._owner.watch is not None:
            self._owner.watch.look(self._pid, all_of_it=all_of_it)

    def give_back(self) -> None:
        """Give all of it back; once, when the worker is gone."""
        self.started()
        self.settle()
        self._pidfd = -1
        if self._door is not None:
            self._owner.sources.network.doors.shut(self._door)
            self._door = None
        if self._pid and self._owner.watch is not None:
            self._owner.watch.forget(self._pid)
        self._owner.give_back(self)


def pid_of(pidfd: int) -> int:
    """Return the pid that a process has in our namespace (proc_pid_fdinfo(5))."""
    with open(f"/proc/self/fdinfo/{pidfd}", "rb", buffering=0) as file:  # noqa: PTH123 - a third of what a Path costs
        return next(int(line.split()[1]) for line in file.read().splitlines() if line.startswith(b"Pid:"))
