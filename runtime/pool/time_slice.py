"""Has a process run soon when it is woken, by a short time slice (sched_setattr(2); Linux 6.12 and later).

Of all that wait for a processor the kernel lets the one run whose slice would end first (EEVDF; Stoica and Abdel-Wahab,
"Earliest Eligible Virtual Deadline First", 1995). Who asks for short slices gets no more of the processor than others
of its weight, but in smaller pieces, and sooner. The event loop and the workers that serve ask for the shortest there
are. Workers that start do not: each has some 5 ms to do, and where hundreds of them come at once, calls of other
functions would wait behind several of them each time.
"""

import contextlib
import os
import struct

from runtime.pool import kernel

SLICE_NS = 100_000
"""The shortest that the kernel takes."""

_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period."""
_RESET_ON_FORK = 0x01


def shorten(pid: int) -> None:
    """Give a process short slices, and those that it starts from now on; nothing where the kernel does not let us."""
    with contextlib.suppress(OSError):
        _set(pid, 0)


def shorten_own() -> None:
    """Give the calling thread short slices, and nothing that it starts: no other thread, and no zygote."""
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) >= 0:  # else the kernel would take that from them as well
            _set(0, _RESET_ON_FORK)


def of(pid: int) -> int:
    """Return the time slice of a process in nanoseconds; 0 where the kernel does not tell. Raises OSError."""
    return int(_ATTRIBUTES.unpack(kernel.sched_getattr(pid, _ATTRIBUTES.size))[5])


def _set(pid: int, flags: int) -> None:
    # What is set along with it stays as it is. Policies without slices (sched(7)) take no such time: EINVAL.
    policy, nice = os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)
    kernel.sched_setattr(pid, _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, flags, nice, 0, SLICE_NS, 0, 0))
