"""Code that every worker runs, moved together: it is written while it runs, so it lies on pages that are copied.

The interpreter counts and adapts in the code itself, and before Python 3.12 it counts references to it as well. Code
objects lie where their modules were imported, each on a page of its own with others that no worker runs; those of the
modules that are built into the interpreter lie in the interpreter's data.
"""

import array
import gc
import os
import sys
import types
from collections.abc import Callable, Container, Iterable
from typing import Any

from runtime.worker import dense, kernel


def run_by(work: Callable[[], None]) -> set[int]:
    """Return the ids of code that ``work`` runs: seen in a child, for to watch code is to write it."""
    reading, writing = os.pipe()
    pid = kernel.fork()
    if not pid:
        try:
            with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor
                pipe.write(array.array("Q", _watched(work)).tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123
        found = array.array("Q", pipe.read())
    os.waitpid(pid, 0)
    return set(found)


def _watched(work: Callable[[], None]) -> list[int]:
    found = []

    def note(frame: types.FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            found.append(id(frame.f_code))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def move(hot: Container[int]) -> None:
    """Give the functions whose code has one of these ids another that is the same, and lies with the others."""
    found = [function for function in _functions() if id(function.__code__) in hot]
    # All at once, so that none comes to lie in the place of an other.
    with dense.allocation():
        moved = [_copied(function.__code__) for function in found]
    for function, code in zip(found, moved, strict=True):
        function.__code__ = code


def look_up(functions: Iterable[types.FunctionType]) -> None:
    """Look up what functions name of modules and classes, as to run them would: of functions that cannot be run here.

    The interpreter notes it in a table, of which a child copies a page for most names that it has to note itself.
    """
    for function in functions:
        beside = function.__globals__
        inside = (vars(value) for value in beside.values() if isinstance(value, types.ModuleType))
        kinds = {kind for names in (beside, *inside) for kind in names.values() if isinstance(kind, type)}
        for name in function.__code__.co_names:
            getattr(sys, name, None)  # it is the type that counts, and all modules have the same
            for kind in kinds:
                if name in vars(kind):
                    getattr(kind, name)


def _copied(code: types.CodeType) -> types.CodeType:
    if not any(isinstance(value, types.CodeType) for value in code.co_consts):
        return code.replace()
    inner = (_copied(value) if isinstance(value, types.CodeType) else value for value in code.co_consts)
    return code.replace(co_consts=tuple(inner))


def _functions() -> list[types.FunctionType]:
    return [value for value in gc.get_objects() if isinstance(value, types.FunctionType)]
