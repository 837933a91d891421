"""Free memory between what the zygote holds, taken out of use: what workers make comes to lie close together.

The zygote's imports leave holes in all their pages: a third of malloc's heap. A worker that fills them with its own
objects copies page after page, each for a few bytes; where there are no holes left, it gets fresh memory, and fills
each page of that. Nothing is lost: a hole is on a page that is shared by all workers as long as nobody writes there.
It spares a worker 110 to 140 copied pages.
"""

import ctypes

# Python's own allocator (Objects/obmalloc.c): pools of blocks of one size, of at most 512 bytes, in steps of 16.
_STEP, _SMALL = 16, 512
_POOL = 16 * 1024
_POOL_HEADER = 48
_IN_A_ROW = 3
"""Blocks from the start of a pool on; two may be chance."""
_MOST = 1 << 22
"""Bytes after which we take it that another allocator is in use."""

_LARGE = 64 * 1024
"""Bytes that are taken out of malloc's holes at once, at first: it would map nothing of this size by itself."""
_EXACT = 2048
"""Bytes of a block up to which glibc may keep it for the next of that very size (its tcache: 1032)."""


class _MallInfo(ctypes.Structure):
    """struct mallinfo: mallinfo(3)."""

    _fields_ = [*((f"_{number}", ctypes.c_int) for number in range(9)), ("keepcost", ctypes.c_int)]


def fill() -> None:
    """Allocate all holes and never free them: once, before forking."""
    for size in range(_STEP, _SMALL + 1, _STEP):
        _fill_pools(size)
    libc = ctypes.PyDLL(None)
    if hasattr(libc, "mallinfo"):  # glibc
        _fill_heap(libc)


def _fill_pools(size: int) -> None:
    """Allocate blocks of a size until they come one behind the other from the start of a pool: that one is new."""
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_size_t
    expected, in_a_row = 0, 0
    for _ in range(_MOST // size):
        place = allocate(size)
        if place % _POOL == _POOL_HEADER:
            in_a_row = 1
        elif in_a_row:
            in_a_row = in_a_row + 1 if place == expected else 0
        if in_a_row == _IN_A_ROW:
            return
        expected = place + size


def _fill_heap(libc: ctypes.PyDLL) -> None:
    """Allocate every free block of malloc's but for the room at the end of its heap: the large ones piece by piece."""
    allocate, free, info, end_of_heap = libc.malloc, libc.free, libc.mallinfo, libc.sbrk
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_size_t
    free.argtypes, info.restype = [ctypes.c_size_t], _MallInfo
    end_of_heap.argtypes, end_of_heap.restype = [ctypes.c_ssize_t], ctypes.c_size_t
    size = _LARGE
    while size > 0:
        room = end_of_heap(0) - info().keepcost
        while 0 < (place := allocate(size)) < room:
            pass
        free(place)
        size -= _STEP if size <= _EXACT else size // 8
