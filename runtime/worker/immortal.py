"""Objects that are never counted again, so that workers share the pages on which they lie.

Whoever uses a Python object writes its reference count, and so copies the page that a fork shares with the zygote.
Since Python 3.12 an object is immortal whose count has a value that counting never reaches (PEP 683, which was made
for this): that of None. It is never freed either, which is no loss here: nothing that the zygote has loaded is freed in
a worker. Before Python 3.12 there is no such value, and nothing is done.

Of a hello's worker 1.4 MiB remain shared by this: its own pages are 595 instead of 946 on Python 3.13, and a third of
the page faults of a start are spared.
"""

import ctypes
import gc
import sys
import types
from typing import Any

_LEAST = 1 << 30
"""Where there are immortal objects, None's count is at least this."""


def keep_all() -> None:
    """Make all objects immortal that the garbage collector knows, and what they refer to: once, before forking.

    What only C code holds stays as it is. An interpreter whose objects look different is left alone.
    """
    count = _count_of_immortals()
    if count is None:
        return
    waiting: list[Any] = gc.get_objects()
    while waiting:
        value = waiting.pop()
        counted = ctypes.c_uint32.from_address(id(value))
        if counted.value != count:
            counted.value = count
            waiting += gc.get_referents(value)
            if isinstance(value, types.CodeType):  # which the collector does not look into
                waiting += _parts(value)


def _parts(code: types.CodeType) -> tuple[Any, ...]:
    return (
        code.co_consts,
        code.co_names,
        code.co_filename,
        code.co_name,
        code.co_qualname,
        code.co_linetable,
        code.co_exceptiontable,
    )


def _count_of_immortals() -> int | None:
    """Return the count that makes an object immortal, as seen by an attempt; None where there is none."""
    count = ctypes.c_uint32.from_address(id(None)).value
    if count < _LEAST or sys.getrefcount(None) != count:
        return None
    attempt = object()
    ctypes.c_uint32.from_address(id(attempt)).value = count
    references = [attempt] * 8
    return count if sys.getrefcount(references[0]) == count else None
