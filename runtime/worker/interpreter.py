"""Make the forked process look like a Python that Lambda started: nothing of ours is to be seen.

After a plain fork a function's own ``runtime.py``, ``msgpack`` or ``simplejson`` would silently be replaced by
ours, because ``sys.modules`` wins over ``sys.path``. So before any code of the function runs, everything that is
not the standard library leaves ``sys.modules``; our own code keeps working on the references it holds, and
imports nothing later. Of the standard library, AWS's runtime has loaded only a part when the handler is
imported; a module that is loaded here, but would not be there, makes way for a file of that name that the
function brings.

A page that a fork touches first costs microseconds, and a start touches hundreds. So all that can be made before
the fork is made there (Costume), and what does not depend on the function is done before it is known (put_on):
a worker that waits as a blank has it behind itself.
"""
# Strings, because sys.path holds strings, and because pathlib is one more module to have loaded.
# ruff: noqa: PTH118, PTH120, PTH208

import _signal  # type: ignore[import-not-found]
import builtins
import io
import linecache
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Sequence
from importlib import machinery
from typing import Any

from runtime import wire
from runtime.worker import faults, preload, renewal

_STDLIB = os.path.dirname(os.__file__)
_STDLIB_PATH = [
    os.path.join(os.path.dirname(_STDLIB), f"python{sys.version_info.major}{sys.version_info.minor}.zip"),
    _STDLIB,
    os.path.join(_STDLIB, "lib-dynload"),
]
_SITE_PACKAGES = os.path.join("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
TIME_ZONE = ":UTC"

# What AWS's runtime has imported before the handler (seen with awslambdaric 4.2 on Python 3.12 and 3.13): a
# function's file of such a name is not found on Lambda, either.
_LOADED_ON_LAMBDA = frozenset(
    """__future__ abc atexit builtins codecs collections contextlib copyreg decimal encodings enum functools
    genericpath importlib io itertools json keyword linecache logging marshal math numbers operator os posix
    posixpath pwd re reprlib site stat string sys textwrap threading time token tokenize traceback types
    warnings weakref zipimport""".split()  # noqa: SIM905 - readable
)
_EXITING_SIGNALS = tuple(
    int(number)
    for number in (
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGABRT,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    )
)
_SIGINT = int(signal.SIGINT)
# What is behind signal.signal, without its search for enum members.
_set_signal: Callable[[int, Any], Any] = _signal.signal


def preloaded(names: Sequence[str], folder: str, home: str) -> preload.Preloaded:
    """Import packages out of a folder for all functions; see ``preload``."""
    sys.path[:] = _STDLIB_PATH
    return preload.load(names, folder, home=home, spared=_LOADED_ON_LAMBDA)


class Costume:
    """What makes a process look like Lambda's, made ready in the zygote after its last import."""

    def __init__(self, preloaded: preload.Preloaded | None = None) -> None:
        self.worn = False
        self._hidden = False
        self._preloaded = preloaded
        self._module_count = len(sys.modules)
        # What is replaced is kept alive: to free it would touch every page that it lies on.
        self._foreign = [
            (name, module)
            for name, module in sys.modules.items()
            if name != "__main__" and name.partition(".")[0] not in sys.stdlib_module_names
        ]
        self._old_main = sys.modules["__main__"]
        self._old_lists = list(sys.path), sys.argv, sys.orig_argv
        self._replaceable: dict[str, list[str]] = {}
        for name in sys.modules:
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names and top not in _LOADED_ON_LAMBDA | {*sys.builtin_module_names}:
                self._replaceable.setdefault(top, []).append(name)
        self._importers = {k: v for k, v in sys.path_importer_cache.items() if k in _STDLIB_PATH}
        self._old_streams = sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__
        self._streams = _streams()
        self._main = types.ModuleType("__main__")
        self._main.__dict__["__builtins__"] = builtins
        self._time_zone = os.environ.get("TZ")
        linecache.clearcache()

    def fits(self) -> bool:
        """Return whether nothing was imported since it was made."""
        return self._hidden or len(sys.modules) == self._module_count

    def hide(self) -> None:
        """Hide what this process was, as far as that may be done in the zygote: it can import nothing of ours then."""
        if self._hidden:
            return
        self._hidden = True
        for name, _ in self._foreign:
            del sys.modules[name]
        sys.modules["__main__"] = self._main
        if "__mp_main__" in sys.modules:
            sys.modules["__mp_main__"] = self._main  # multiprocessing's other name for it
        # Import hooks of packages that are installed beside us, such as editable installs, are not the function's.
        sys.meta_path[:] = [machinery.BuiltinImporter, machinery.FrozenImporter, machinery.PathFinder]
        if self._preloaded is not None:
            finder: Any = self._preloaded
            sys.meta_path.insert(-1, finder)
        sys.path_importer_cache = self._importers
        if sys.prefix != sys.base_prefix:
            # A virtual environment of ours is not the function's: what it executes is the base interpreter.
            sys.prefix = sys.base_prefix
            sys.exec_prefix = sys.base_exec_prefix
            sys.executable = getattr(sys, "_base_executable", sys.executable)
        # Fresh streams, that lose no complete line when the process is killed, and hold no line of the zygote's.
        sys.stdin, sys.stdout, sys.stderr = self._streams
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc]
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_reset_signals)

    def put_on(self) -> None:
        """Be nothing but what Lambda would have started; nothing of it depends on the function."""
        self.worn = True
        self.hide()
        if self._preloaded is not None:
            renewal.renew()
        _set_signals()

    def forget(self) -> None:
        """Forget what was found in folders of the function: others are about to stand there."""
        for path in [path for path in sys.path_importer_cache if path not in _STDLIB_PATH]:
            del sys.path_importer_cache[path]

    def become(self, assign: wire.Assign) -> None:
        """Be the interpreter of a function, up to the import of its handler."""
        # One by one: what a mapping does for all at once is more code, and pages, than this.
        for name in list(os.environ):
            del os.environ[name]
        for name, value in assign.environment.items():
            os.environ[name] = value
        if assign.environment.get("TZ") != self._time_zone:
            time.tzset()
        os.chdir(assign.task_root)
        sys.argv = [os.path.join(assign.sdk_root, "bootstrap.py")]
        sys.orig_argv = [sys.executable, *sys.argv]
        # docs.aws.amazon.com/lambda/latest/dg/python-package.html, "Runtime search path".
        layers = os.path.join(assign.layer_root, "python")
        first = [assign.task_root, os.path.join(layers, _SITE_PACKAGES), layers]
        for entry in assign.environment.get("PYTHONPATH", "").split(":"):
            if entry and entry != assign.sdk_root and entry not in first:
                first.append(entry)
        sys.path[:] = [*first, *_STDLIB_PATH, assign.sdk_root]
        # A folder, so that it need not be tried whether it is a zip file.
        sys.path_importer_cache[assign.task_root] = sys.path_hooks[-1](assign.task_root)
        self._make_way(first)

    def _make_way(self, folders: list[str]) -> None:
        """Unload the part of the standard library that would not be loaded on Lambda and that the function brings."""
        if self._preloaded is not None and any(map(self._preloaded.is_brought_by, folders)):
            self._preloaded.discard()
        for folder in folders:
            if not os.access(folder, os.F_OK):
                continue  # as most have no layers; to make an exception of it costs as much as the rest
            try:
                names = os.listdir(folder)
            except OSError:
                continue
            for name in names:
                top, _, suffix = name.partition(".")
                if top in self._replaceable and (suffix in {"", "py", "pyc"} or suffix.endswith("so")):
                    for module in self._replaceable.pop(top):
                        sys.modules.pop(module, None)


def set_time_zone() -> None:
    """Make the zygote's time zone that of Lambda, so that no worker has to read it from a file."""
    os.environ["TZ"] = TIME_ZONE
    time.tzset()


def disguise(modules: Iterable[types.ModuleType]) -> None:
    """Give the code of modules the name of AWS's runtime.

    Frames of ours are on the stack while the function runs, so traceback.print_stack, warnings and the logging
    module's own error reports name them.
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


def _streams() -> tuple[io.TextIOWrapper, io.TextIOWrapper, io.TextIOWrapper]:
    """Return the standard streams that a worker will have.

    A stream looks at its descriptor when it is made, so each descriptor is for that moment what it will be in the
    worker: /dev/null or a pipe.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    pipe = os.pipe()
    try:
        return _stream(0, null, "<stdin>"), _stream(1, pipe[1], "<stdout>"), _stream(2, pipe[1], "<stderr>")
    finally:
        for fd in (null, *pipe):
            os.close(fd)


def _stream(fd: int, likeness: int, name: str) -> io.TextIOWrapper:
    kept = os.dup(fd)
    os.dup2(likeness, fd)
    raw = io.FileIO(fd, "w" if fd else "r", closefd=False)
    raw.name = name
    buffer = io.BufferedWriter(raw) if fd else io.BufferedReader(raw)
    # As the interpreter opens them under LC_CTYPE=C.UTF-8, which Lambda sets.
    errors = "backslashreplace" if name == "<stderr>" else "surrogateescape"
    newline = "\n" if fd else None
    stream = io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, newline=newline, line_buffering=fd > 0)
    os.dup2(kept, fd)
    os.close(kept)
    return stream


def _set_signals() -> None:
    """Let the signals that end a process end this one, though it is pid 1 of its namespace."""
    for number in _EXITING_SIGNALS:
        _set_signal(number, _end_by_signal)
    _set_signal(_SIGINT, signal.default_int_handler)


def _end_by_signal(number: int, _frame: types.FrameType | None) -> None:
    # pid 1 of a namespace survives the second line and exits as a shell reports such an end.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


# A child that the function forks has the default actions, as on Lambda. The signals are blocked around the fork,
# because Python forgets what it caught between the fork and the hook.
_masks: dict[int, set[int]] = {}


def _block() -> None:
    _masks[threading.get_ident()] = set(signal.pthread_sigmask(signal.SIG_BLOCK, _EXITING_SIGNALS))


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(threading.get_ident(), set()))


def _reset_signals() -> None:
    for number in _EXITING_SIGNALS:
        if signal.getsignal(number) is _end_by_signal:
            signal.signal(number, signal.SIG_DFL)
    _unblock()
