"""How much of a cgroup's memory is page cache: the kernel's copies of files, which it drops when memory is needed."""

from collections.abc import Callable

from runtime.pool.cgroups import stock

STEP = 1 << 20
"""Bytes. A peak that moved by less keeps what was known of the page cache: to read it costs the kernel 7 us and more,
and on v2 as much more as there are processors whose counts are gathered for it."""


class PageCache:
    """What is known of one group's."""

    __slots__ = ("_bytes", "_peak")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing of it any more: the group is another's now."""
        self._bytes = self._peak = 0

    def left_out(self, peak: int, statistics: Callable[[], bytes]) -> int:
        """Return the bytes of ``peak`` that are no page cache; ``statistics`` reads the group's ``memory.stat``."""
        if abs(peak - self._peak) >= STEP:
            self._peak = peak
            text = statistics()
            self._bytes = stock.count(text, b"inactive_file") + stock.count(text, b"active_file")
        return max(0, peak - self._bytes)
