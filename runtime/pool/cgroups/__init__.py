"""Cgroups of workers: what limits them, measures them, freezes them and kills them whole.

    backend = cgroups.open_backend(Path("/"))      # v2, v1 or soft: the best that this machine gives
    group = backend.acquire(limits)                # microseconds: from a stock of empty groups
    ... the child joins: clone3 into group.clone_fd, or b"0" written to each of group.join_fds
    group.reset_peak(); ...; group.peak_bytes()    # around an invocation
    backend.release(group)                         # after the worker is gone; off the path: backend.recycle()

All groups of a supervisor lie below one parent of its own, ``hotfork-<pid>-<start>-<pid namespace>``, inside the
cgroup that the supervisor itself was started in; parents of dead supervisors are collected at start.

On v1 and v2 every call on the path is a write or read of a few bytes, 1 to 3 microseconds each. What is slow is
kept off it: no worker's pid is ever written into ``cgroup.procs`` (the kernel waits for an RCU grace period, 5 to
22 ms), only the supervisor's and those of its zygotes, once, when they start; ``mkdir``, ``rmdir`` and emptying the
page cache of a used group are ``recycle``'s business, in a thread.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

from runtime.pool.cgroups import place, precedence, soft, v1, v2
from runtime.pool.cgroups.port import Backend, Control, CpuMode, Group, Limits, Unavailable

__all__ = [
    "Backend",
    "Control",
    "CpuMode",
    "Group",
    "Limits",
    "Unavailable",
    "leave_out",
    "open_backend",
    "take_precedence",
]


def open_backend(root: Path = Path("/"), *, only: str = "") -> Backend:
    """Return the best back-end that works here; ``only`` ("v1", "v2", "none") asks for one of them.

    ``root`` is where /proc and the cgroup mounts are looked for. Raises Unavailable, with cause and cure, where
    ``only`` names one that does not work. Moves this process into a leaf of its own where v2 needs that.
    """
    where = place.read(root)
    # A controller is in one hierarchy at a time, so where memory is in v1's, v2 cannot have it.
    kind = only or ("v1" if "memory" in where.own else "v2")
    if kind == "none":
        return soft.Backend()
    try:
        return v1.open_backend(where) if kind == "v1" else v2.open_backend(where)
    except Unavailable as error:
        if only:
            raise
        return soft.Backend(error)


def take_precedence(root: Path = Path("/")) -> Callable[[], None]:
    """Let this process run before its workers, where v1 is used; return what undoes that. On v2 that is done."""
    return precedence.take(place.read(root))


def leave_out(pid: int, root: Path = Path("/")) -> None:
    """Have a process that this one started not run before workers. Blocks for some milliseconds."""
    with contextlib.suppress(OSError):  # it ended; or it runs before workers as well, and no more
        precedence.leave_out(place.read(root), pid)
