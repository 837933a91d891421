"""The port of the pool to cgroups: values and protocols; v1, v2 and soft implement them."""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Protocol

from runtime import errors

CPU_PERIOD_US = 20_000
"""Period of a CPU quota. Lambda's: with the kernel's default of 100 ms a small function stalls five times longer."""

QUOTA_MIN_US = 1_000
"""The kernel takes no smaller quota."""


class CpuMode(enum.Enum):
    """How a worker's share of the CPU is kept."""

    WEIGHT = "weight"
    """Full speed on an idle machine, proportional under contention."""
    QUOTA = "quota"
    """Never more than the share, as on Lambda."""
    OFF = "off"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one worker may use."""

    memory_bytes: int
    pids: int
    """Processes and threads."""
    cpu_share: float
    """Of one core."""
    cpu_mode: CpuMode = CpuMode.WEIGHT
    counted: bool = False
    """Whether processor time is to be counted apart: to be said before the worker joins."""

    @property
    def weight(self) -> float:
        """Return the weight under contention, 1.0 being that of one core's worth of share."""
        return 1.0 if self.cpu_mode is CpuMode.OFF else self.cpu_share

    @property
    def quota_us(self) -> int:
        """Return the CPU time in one period that is the share."""
        return max(QUOTA_MIN_US, round(CPU_PERIOD_US * self.cpu_share))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Whether one control is engaged; ``why`` not, and what to do (``cure``)."""

    engaged: bool
    why: str = ""
    cure: str = ""


class Unavailable(errors.IsolationError):
    """This kind of cgroup cannot be used here."""

    def __init__(self, why: str, cure: str = "") -> None:
        super().__init__(f"{why}; {cure}" if cure else why)
        self.why = why
        self.cure = cure


class Group(Protocol):
    """The cgroup of one worker. Not thread-safe; all methods are short synchronous file operations."""

    name: str
    join_fds: tuple[int, ...]
    """Open for writing: a single-threaded child joins by writing b"0" to each. Empty: nothing to join that way."""
    clone_fd: int | None
    """A directory for clone3's CLONE_INTO_CGROUP, which is free; where None, or clone3 is not to be had, use
    ``join_fds``."""

    def limit(self, limits: Limits) -> None:
        """Set other limits, with a quota only if the group is throttled."""

    def throttle(self) -> None:
        """Start the CPU quota, if there is one: a worker is not throttled during its init, as on Lambda."""

    def memory_bytes(self) -> int:
        """Return what is used now, page cache included."""

    def reset_peak(self) -> None:
        """Start to measure the peak anew."""

    def peak_bytes(self) -> int:
        """Return the most memory used since ``reset_peak``, less the page cache that is there now.

        The cache would have been dropped at the limit; it is what /tmp and the code leave behind.
        """

    def cpu_us(self) -> int:
        """Return the CPU time used since ``acquire``, in microseconds; 0 where it is not known, or not counted."""

    def oom_kills(self) -> int:
        """Return how many of the worker's processes were killed for want of memory since ``acquire``."""

    def freeze(self) -> bool:
        """Stop every process of the worker; True once that is done or under way, else call it again in a moment."""

    def thaw(self) -> None:
        """Undo ``freeze``."""

    def holds(self, pid: int) -> bool:
        """Return whether a process, by its pid here, is in it; True where that means nothing."""

    def kill(self) -> bool:
        """Kill every process of the worker; False: this kind cannot.

        Send SIGKILL by pidfd as well: that is what kills on v1.
        """


class Backend(Protocol):
    """One kind of cgroup."""

    kind: str
    """ "v1", "v2" or "none"."""
    controls: Mapping[str, Control]
    """By name: memory, pids, cpu, freeze, kill."""

    def acquire(self, limits: Limits) -> Group:
        """Return an empty group with limits set, unthrottled."""

    def release(self, group: Group, *, spent: Callable[[str], None] | None = None) -> None:
        """Take back a group whose worker was killed; it is used again once it is empty, unless it is ``spent``.

        So is one whose descriptors a function's code has had in its hands, by which it could join the group for ever:
        that is kept empty until it is gone, and ``spent`` is told, from a thread, what is wrong where somebody stays in
        it, or leaves memory behind.
        """

    def recycle(self, spare: int, keep: int = 0) -> int:
        """Clean what was released, keep ``spare`` clean groups ready, or as many as ``keep`` of those that were used.

        Returns how many still hold processes.

        May take milliseconds (page cache is dropped); may run in a thread beside everything else.
        """

    def close(self) -> None:
        """Kill what is left in any group and remove them all."""
