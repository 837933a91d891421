"""Where there are no cgroups: looks at the memory of all workers from a thread, and kills those over their limit.

The limit is soft: between two looks a worker can take more than it may (see ``cgroups.soft``).
"""

import asyncio
import threading
from collections.abc import Callable

from runtime.pool.cgroups import soft

INTERVAL_S = 0.1
"""Between two looks at all workers; reading one takes about a millisecond."""


class MemoryWatch:
    """Watches workers from ``watch`` to ``forget``; ``kill`` is called on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched: dict[int, tuple[soft.Group, Callable[[], None]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-watch", daemon=True)
        self._thread.start()

    def watch(self, pid: int, group: soft.Group, kill: Callable[[], None]) -> None:
        """Begin to look at a worker by the pid it has here."""
        self._watched[pid] = (group, kill)

    def forget(self, pid: int) -> None:
        """Look no longer."""
        self._watched.pop(pid, None)

    def look(self, pid: int, *, all_of_it: bool = False) -> None:
        """Look at one worker now: what it used at the end of an invocation counts.

        At its first process, in which a function runs; with ``all_of_it`` at what that started as well.
        """
        group, _ = self._watched[pid]
        group.watch.see(soft.measure(pid, self._watched) if all_of_it else soft.measure_one(pid))

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            for pid, (group, kill) in list(self._watched.items()):
                # Copies descend from their template, and are looked at by themselves.
                if group.watch.see(soft.measure(pid, self._watched)) and pid in self._watched:
                    self._loop.call_soon_threadsafe(kill)
