"""How much memory a load takes at most, as loss of MemAvailable: a thread looks every few milliseconds."""

import threading
from types import TracebackType
from typing import Self

from bench import procfs

INTERVAL_S = 0.05


class Watch:
    """Watches from the beginning to the end of its block."""

    def __init__(self) -> None:
        self._before = self._least = procfs.memory_available()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    @property
    def most_taken(self) -> int:
        """The most by which MemAvailable was below what it was at the beginning, in bytes."""
        return self._before - self._least

    @property
    def least_available(self) -> int:
        """The least MemAvailable, in bytes."""
        return self._least

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self.look()

    def look(self) -> None:
        """Look now."""
        self._least = min(self._least, procfs.memory_available())
