"""Memory for large payloads: outside of the heap, in huge pages, and used again while it is warm.

To fault 6 MB in page by page takes as long as to copy it ten times, and to have it zeroed as long as some copies. So a
few buffers are kept. One is handed out again only when nothing refers to it any more: each memoryview of it, and of a
part of it, counts as a reference (the buffer protocol), so whoever still holds a payload keeps it as it is.
"""

import contextlib
import mmap
import sys

KEPT = 4
"""Buffers: of a request and a response for each of two processors."""

KEPT_SIZE = 8 * 1024 * 1024
"""Of each of them, in bytes: what the largest payload needs."""

_HUGE = 2 * 1024 * 1024
_UNUSED = 3
"""References to a buffer that nobody uses: the list's, the loop's and that of getrefcount itself."""

_kept: list[mmap.mmap] = []


def take(size: int) -> memoryview:
    """Return writable memory; what it holds is undefined.

    New memory becomes real as it is written to: what is taken and not filled costs little.
    """
    if size <= KEPT_SIZE:
        for each in _kept:
            if sys.getrefcount(each) == _UNUSED:
                return memoryview(each)[:size]
        if len(_kept) < KEPT:
            _kept.append(_mapped(KEPT_SIZE))
            return memoryview(_kept[-1])[:size]
    return memoryview(_mapped(-(-size // _HUGE) * _HUGE))[:size]


def _mapped(size: int) -> mmap.mmap:
    mapped = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        mapped.madvise(mmap.MADV_HUGEPAGE)
    return mapped
