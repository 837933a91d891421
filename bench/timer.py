"""A timer that wakes an epoll at a moment: timerfd(2), which Python offers from 3.13 on.

The timeout of epoll_wait(2) is whole milliseconds, too coarse for an open loop of thousands of requests a second.
"""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NS = 1_000_000_000


class _Times(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timer:
    """Becomes readable once per ``wake_at``; register it edge-triggered, then it need not be read."""

    def __init__(self) -> None:
        self.fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._times = _Times()
        self._reference = ctypes.byref(self._times)

    def wake_at(self, moment_ns: int) -> None:
        """Set the one moment, on the clock of time.monotonic_ns; one that has passed wakes at once."""
        self._times.value_s, self._times.value_ns = divmod(max(moment_ns, 1), _NS)
        if _libc.timerfd_settime(self.fd, _ABSOLUTE, self._reference, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)
