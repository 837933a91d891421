"""Has a process run soon when it is woken, by a short time slice (sched_setattr(2); Linux 6.12 and later).

Of all that wait for a processor the kernel lets the one run whose slice would end first (EEVDF; Stoica and Abdel-Wahab,
"Earliest Eligible Virtual Deadline First", 1995). Who asks for short slices gets no more of the processor than others
of its weight, but in smaller pieces, and sooner. The event loop and the workers that serve ask for the shortest there
are. Workers that start do not: each has some 5 ms to do, and where hundreds of them come at once, calls of other
functions would wait behind several of them each time.
"""

import contextlib
import ctypes
import os
import struct

SLICE_NS = 100_000
"""The shortest that the kernel takes."""

_NUMBERS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Of sched_setattr and sched_getattr."""
_SET, _GET = _NUMBERS.get(os.uname().machine, (-1, -1))
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period."""
_RESET_ON_FORK = 0x01

# With the interpreter's lock held: they take less than it does to give that away.
_libc = ctypes.PyDLL(None, use_errno=True)


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
    attributes = ctypes.create_string_buffer(_ATTRIBUTES.size)
    _call(_GET, pid, attributes, _ATTRIBUTES.size, 0)
    return int(_ATTRIBUTES.unpack(attributes.raw)[5])


def _set(pid: int, flags: int) -> None:
    # What is set along with it stays as it is. Policies without slices (sched(7)) take no such time: EINVAL.
    policy, nice = os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)
    _call(_SET, pid, _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, flags, nice, 0, SLICE_NS, 0, 0), 0)


def _call(number: int, *arguments: object) -> None:
    if _libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "sched_setattr(2)")
