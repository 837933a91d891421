"""Objects one behind the other, whatever their sizes.

Python's allocator keeps pools for each of 32 sizes, so that a hundred objects of all sizes lie on three times the pages
that they fill. Within ``allocation`` it is malloc that makes them, which, once its holes are filled, gives one piece of
memory behind the other. To free them is as ever: Python's allocator hands on what is not its own.
"""

import contextlib
import ctypes
from collections.abc import Iterator

_RAW, _OBJECTS = 0, 2
"""PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_OBJ."""


class _Allocator(ctypes.Structure):
    """PyMemAllocatorEx: docs.python.org/3/c-api/memory.html, "Customize Memory Allocators"."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("context", "malloc", "calloc", "realloc", "free")]


def _allocator(domain: int) -> _Allocator:
    allocator = _Allocator()
    ctypes.pythonapi.PyMem_GetAllocator(domain, ctypes.byref(allocator))
    return allocator


@contextlib.contextmanager
def allocation() -> Iterator[None]:
    """Let malloc make the objects of this block."""
    usual, raw = _allocator(_OBJECTS), _allocator(_RAW)
    if usual.context or raw.context:  # one for debugging, which knows its own
        yield
        return
    mixed = _Allocator(None, raw.malloc, raw.calloc, usual.realloc, usual.free)
    ctypes.pythonapi.PyMem_SetAllocator(_OBJECTS, ctypes.byref(mixed))
    try:
        yield
    finally:
        ctypes.pythonapi.PyMem_SetAllocator(_OBJECTS, ctypes.byref(usual))
