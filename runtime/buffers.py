"""Memory for large payloads: outside of the heap, in huge pages, and used again while it is warm.

To fault 6 MB in page by page takes as long as to copy it ten times, and to have it zeroed as long as some copies. So a
few buffers are kept. One is handed out again only when nobody has a memoryview of it any more, or of a part of it, so
whoever still holds a payload keeps it as it is.
"""

import contextlib
import mmap

KEPT = 4
"""Buffers: of a request and a response for each of two processors."""

KEPT_SIZE = 8 * 1024 * 1024
"""Of each of them, in bytes: what the largest payload needs."""

_HUGE = 2 * 1024 * 1024

_kept: list[mmap.mmap] = []


def take(size: int) -> memoryview:
    """Return writable memory; what it holds is undefined.

    New memory becomes real as it is written to: what is taken and not filled costs little.
    """
    if size <= KEPT_SIZE:
        for each in _kept:
            if not _is_held(each):
                return memoryview(each)[:size]
        if len(_kept) < KEPT:
            _kept.append(_mapped(KEPT_SIZE))
            return memoryview(_kept[-1])[:size]
    return memoryview(_mapped(-(-size // _HUGE) * _HUGE))[:size]


def _is_held(mapped: mmap.mmap) -> bool:
    """Return whether there is a memoryview of it, or of a part of it: the buffer protocol counts them."""
    try:
        mapped.resize(len(mapped))  # refused while they are there, and else changes nothing
    except BufferError:
        return True
    return False


def _mapped(size: int) -> mmap.mmap:
    mapped = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        mapped.madvise(mmap.MADV_HUGEPAGE)
    return mapped
