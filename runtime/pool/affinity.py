"""Keeps the event loop and the worker it calls on one processor, while calls come one at a time.

To wake a process on another processor, one that sleeps, takes an interrupt and the way out of its idle state: 30
microseconds on a virtual machine, twice a call. On its own processor it takes three. The kernel nonetheless prefers the
idle one (``select_idle_sibling`` in kernel/sched/fair.c), for it cannot know that who wakes is about to sleep. We do:
while one short call is all there is, the loop waits for the worker, so to share a processor costs neither anything.

As soon as calls overlap, or take long, everything runs where the kernel wants again, and ten times a second it gets to
choose anew; so it stays while the loop has more to do than that. Affinity is inherited by what a thread starts, so
threads of the supervisor and of the function that came meanwhile are released with it; what starts a process that is to
live calls ``release`` before (sched_setaffinity(2)).
"""

import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

SHORT_S = 0.001
"""A call that takes longer has nothing to gain: two wake-ups are less than a tenth of it."""
ENOUGH = 16
"""Calls one after the other until it is believed that they come one at a time."""
AGAIN = 2
"""The same after the kernel chose anew."""
INTERVAL_S = 0.1
"""After which the kernel chooses anew."""
BUSY = 0.8
"""Share of the time in which the loop runs, above which it has more to do than to wait for one worker."""
MOST = 4
"""Workers that are bound at a time: to release them is work for the loop,"""
FEW = 8
"""and to release their threads: with more of them a worker is not bound."""

_getcpu = ctypes.CDLL(None).sched_getcpu

_ALLOWED = frozenset(os.sched_getaffinity(0))
"""The processors we were given at start, by taskset(1) or a container."""


class Bindable(Protocol):
    """A worker."""

    last_s: float
    """How long its last call took; 0 before its first."""

    def bind(self, processors: Iterable[int]) -> bool:
        """Let it run on these processors alone; return whether it could be done."""


class Affinity:
    """Hears of every call as it is given to its worker, and as it ends."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """Belong to the thread that this is called in, the event loop's; ``cpu_clock`` tells how long it has run."""
        self._loop = loop
        self._clock, self._cpu_clock = clock, cpu_clock
        self._since, self._cpu_since = clock(), cpu_clock()
        """When it was last seen how busy the loop is."""
        self._useful = len(_ALLOWED) > 1
        self._running = 0
        self._alone = 0
        """Calls in a row that had nobody beside them."""
        self._home = -1
        """The processor that we are bound to; -1: none."""
        self._bound: set[Bindable] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._threads: frozenset[str] = frozenset()
        """Those of ours that were there when we were bound to no processor."""

    def given(self, one: Bindable, *, waited: bool = False) -> None:
        """Hear that a worker is about to be given a call, which may have ``waited`` until another ended."""
        self._running += 1
        if waited or self._running > 1 or not 0.0 < one.last_s <= SHORT_S:
            self._alone = 0
            if self._home >= 0:
                self.part()
            return
        self._alone += 1
        if self._alone > ENOUGH and one not in self._bound and self._useful:
            if self._home < 0 and self._is_busy():
                self._alone = 0
            else:
                self._join(one)

    def ended(self) -> None:
        """Hear that a worker does not serve its call any more."""
        self._running -= 1

    def forget(self, one: Bindable) -> None:
        """Hear that a worker is gone."""
        self._bound.discard(one)

    def part(self) -> None:
        """Let everything run where the kernel wants."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._home = -1
        release()
        self._release_new_threads()
        for one in self._bound:
            one.bind(_ALLOWED)
        self._bound.clear()

    def _is_busy(self) -> bool:
        """Return whether the loop has had little time to wait since this was last asked."""
        now, cpu = self._clock(), self._cpu_clock()
        busy = cpu - self._cpu_since > BUSY * (now - self._since)
        self._since, self._cpu_since = now, cpu
        return busy

    def _join(self, one: Bindable) -> None:
        if self._home < 0:
            self._threads = _threads()
            self._home = _processor()
            self._timer = self._loop.call_later(INTERVAL_S, self._choose_anew)
            os.sched_setaffinity(0, (self._home,))
        if len(self._bound) < MOST:
            self._useful = one.bind((self._home,))
            self._bound.add(one)

    def _choose_anew(self) -> None:
        self._timer = None
        self.part()
        self._alone = min(self._alone, ENOUGH - AGAIN)

    def _release_new_threads(self) -> None:
        for thread in _threads() - self._threads:
            with contextlib.suppress(OSError):  # it ended
                os.sched_setaffinity(int(thread), _ALLOWED)


def release() -> None:
    """Let the calling thread, and what it starts from now on, run on all processors again."""
    os.sched_setaffinity(0, _ALLOWED)


def bind(pid: int, processors: Iterable[int]) -> bool:
    """Bind all threads of a process, or release them; return whether that is allowed.

    One that is gone needs no more of it, and one of many threads runs where it runs.
    """
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names are all it needs
        if len(threads) > FEW and frozenset(processors) < _ALLOWED:
            return True
        for thread in threads:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), processors)
    except PermissionError:
        return False
    except FileNotFoundError:
        return True
    return True


def keep_off(pid: int, before: int = -1) -> int:
    """Let a process that is about to be woken run on any processor but the one we run on, if there is another.

    The kernel may wake it here, where it would hold up who has more to do than to wait for it. Returns our processor;
    where that is the one that it was kept off ``before``, there is nothing to do.
    """
    here: int = _getcpu()
    if here != before and _ALLOWED - {here}:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, _ALLOWED - {here})
    return here


def _threads() -> frozenset[str]:
    return frozenset(os.listdir("/proc/self/task"))  # noqa: PTH208 - the same


def _processor() -> int:
    """Return the processor that the calling thread runs on (proc_pid_stat(5), field 39)."""
    return int(Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()[36])
