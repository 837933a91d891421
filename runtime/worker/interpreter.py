"""Make the forked process look like a Python that Lambda started: nothing of ours is to be seen.

After a plain fork a function's own ``runtime.py``, ``msgpack`` or ``simplejson`` would silently be replaced by
ours, because ``sys.modules`` wins over ``sys.path``. So before any code of the function runs, everything that is
not the standard library leaves ``sys.modules``; our own code keeps working on the references it holds, and
imports nothing later. Of the standard library, AWS's runtime has loaded only a part when the handler is
imported; a module that is loaded here, but would not be there, makes way for a file of that name that the
function brings.
"""
# Strings, because sys.path holds strings, and because pathlib is one more module to have loaded.
# ruff: noqa: PTH118, PTH120, PTH208

import builtins
import io
import linecache
import os
import signal
import sys
import time
import types
from collections.abc import Iterable
from importlib import machinery

from runtime import wire
from runtime.worker import faults

_STDLIB = os.path.dirname(os.__file__)
_STDLIB_PATH = [
    os.path.join(os.path.dirname(_STDLIB), f"python{sys.version_info.major}{sys.version_info.minor}.zip"),
    _STDLIB,
    os.path.join(_STDLIB, "lib-dynload"),
]

# What AWS's runtime has imported before the handler (seen with awslambdaric 4.2 on Python 3.12 and 3.13): a
# function's file of such a name is not found on Lambda, either.
_LOADED_ON_LAMBDA = frozenset(
    """__future__ abc atexit builtins codecs collections contextlib copyreg decimal encodings enum functools
    genericpath importlib io itertools json keyword linecache logging marshal math numbers operator os posix
    posixpath pwd re reprlib site stat string sys textwrap threading time token tokenize traceback types
    warnings weakref zipimport __main__""".split()  # noqa: SIM905 - readable
)
_EXITING_SIGNALS = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGABRT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def disguise(modules: Iterable[types.ModuleType]) -> None:
    """Give the code of modules the name of AWS's runtime.

    Frames of ours are on the stack while the function runs, so traceback.print_stack, warnings and the logging
    module's own error reports name them. Done once, before the fork, so that it costs a worker nothing.
    """
    for module in modules:
        for value in vars(module).values():
            members = vars(value).values() if isinstance(value, type) else (value,)
            for member in members:
                function = getattr(member, "__func__", member)
                if isinstance(function, types.FunctionType) and faults.is_own(function.__code__.co_filename):
                    function.__code__ = _renamed(function.__code__)


def _renamed(code: types.CodeType) -> types.CodeType:
    inner = (_renamed(value) if isinstance(value, types.CodeType) else value for value in code.co_consts)
    return code.replace(co_filename=faults.DISGUISE, co_consts=tuple(inner))


def become(assign: wire.Assign) -> None:
    """Turn this process into the interpreter of a function, up to the import of its handler."""
    _set_environment(assign.environment)
    os.chdir(assign.task_root)
    first = _set_path(assign)
    _set_identity(assign.sdk_root)
    _forget_modules(first)
    _open_streams()
    _set_signals()


def _set_environment(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _set_path(assign: wire.Assign) -> list[str]:
    """Set sys.path and return its folders that come before the standard library.

    The order is that of docs.aws.amazon.com/lambda/latest/dg/python-package.html, "Runtime search path".
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    layers = os.path.join(assign.layer_root, "python")
    first = [assign.task_root, os.path.join(layers, "lib", version, "site-packages"), layers]
    for entry in assign.environment.get("PYTHONPATH", "").split(":"):
        if entry and entry != assign.sdk_root and entry not in first:
            first.append(entry)
    sys.path[:] = [*first, *_STDLIB_PATH, assign.sdk_root]
    # Import hooks of packages that are installed beside us, such as editable installs, are not the function's.
    sys.meta_path[:] = [machinery.BuiltinImporter, machinery.FrozenImporter, machinery.PathFinder]
    for folder in [folder for folder in sys.path_importer_cache if folder not in _STDLIB_PATH]:
        del sys.path_importer_cache[folder]
    return first


def _set_identity(sdk_root: str) -> None:
    # A virtual environment of ours is not the function's: sub-interpreters are started from its base.
    if sys.prefix != sys.base_prefix:
        sys.prefix = sys.base_prefix
        sys.exec_prefix = sys.base_exec_prefix
        sys.executable = getattr(sys, "_base_executable", sys.executable)
    sys.argv = [os.path.join(sdk_root, "bootstrap.py")]
    sys.orig_argv = [sys.executable, *sys.argv]


def _forget_modules(first: list[str]) -> None:
    brought: set[str] = set()
    for folder in first:
        try:
            brought.update(name.partition(".")[0] for name in os.listdir(folder))
        except OSError:
            continue
    brought -= _LOADED_ON_LAMBDA
    brought.difference_update(sys.builtin_module_names)
    for name in list(sys.modules):
        top = name.partition(".")[0]
        if top in brought or (top not in sys.stdlib_module_names and top != "__main__"):
            del sys.modules[name]
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    linecache.clearcache()


def _open_streams() -> None:
    """Give the process fresh standard streams that lose no complete line when it is killed."""
    sys.stdin = sys.__stdin__ = _stream(0, "<stdin>", "surrogateescape")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "<stdout>", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "<stderr>", "backslashreplace")  # type: ignore[misc]


def _stream(fd: int, name: str, errors: str) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w" if fd else "r", closefd=False)
    raw.name = name
    buffer = io.BufferedWriter(raw) if fd else io.BufferedReader(raw)
    newline = "\n" if fd else None
    return io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, newline=newline, line_buffering=fd > 0)


def _set_signals() -> None:
    """Let the signals that end a process end this one, though it is pid 1 of its namespace."""
    for number in _EXITING_SIGNALS:
        signal.signal(number, _end_by_signal)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_by_signal(number: int, _frame: types.FrameType | None) -> None:
    # A child that the function forked dies of the signal itself; pid 1 survives that line and exits.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)
