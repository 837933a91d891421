"""Which zygote a worker comes from: a plain one, or one that has imported the SDK.

To import boto3 takes a function a tenth of a second; a fork of a zygote that has done it takes half a millisecond more
than that of a plain one, and its blanks share 20 MB more. So it is used by functions that are seen to need it: their
sources, or those of their layers, name it. It is of no use to one that brings a module of a name that it has imported;
there the worker itself has the last word (``worker.preload``), which knows what ``sys.path`` is in the end.

Sources are looked through in a thread when a function changes, never while a call waits; what was not looked
through yet starts from the plain zygote, and so does everything until the other one is up.
"""

import asyncio
import dataclasses
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal, Protocol

from runtime import model
from runtime.pool import environment, zygotes

_MENTION = re.compile(rb"\b(?:boto3|botocore|s3transfer)\b")
_FILES = 4000
_BYTES = 32 * 1024 * 1024
"""What is read of a package, its top first; further down is hardly anything but what others wrote."""
_REMEMBERED = 10_000


class Forks(Protocol):
    """The zygotes."""

    def warm(self, zygote: str) -> str:
        """Start one, unless it is up, on its way, or failed; return why it is not up."""

    def conflicts(self, zygote: str) -> frozenset[str]:
        """Return names of modules that keep a function from the use of what one has imported."""


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """A zygote, and why it is that one."""

    zygote: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a package with its layers."""

    mention: str = ""
    """The file that names the SDK."""
    modules: frozenset[str] = frozenset()
    """Names of modules at the top of where it imports from; looked up only where there is a mention."""


class Preloading:
    """Chooses zygotes. Use from one event loop."""

    def __init__(
        self,
        forks: Forks,
        mode: Literal["auto", "off"],
        spawn_task: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """``spawn_task`` runs a coroutine that never raises as a task with a parent."""
        self._forks = forks
        self._mode = mode
        self._spawn_task = spawn_task
        self._found: OrderedDict[tuple[str, ...], _Found] = OrderedDict()
        self._looking: set[tuple[str, ...]] = set()

    def examine(self, version: model.Version) -> None:
        """Look through a version's sources, unless that was done."""
        folders = tuple(_folders(version))
        if self._mode == "auto" and folders not in self._found and folders not in self._looking:
            self._looking.add(folders)
            self._spawn_task(self._look(folders, version.runtime))

    def choose(self, version: model.Version) -> Choice:
        """Return the zygote for the next worker of a version."""
        plain, preloaded = version.runtime, version.runtime + zygotes.PRELOADED
        if self._mode == "off":
            return Choice(plain, "preloading is off")
        folders = tuple(_folders(version))
        found = self._found.get(folders)
        if found is None:
            self.examine(version)
            return Choice(plain, "its sources were not looked through yet")
        if not found.mention:
            return Choice(plain, "its sources do not name boto3")
        down = self._forks.warm(preloaded)
        if down:
            return Choice(plain, f"{found.mention} names boto3, but the zygote that has it {down}")
        brought = sorted(found.modules & self._forks.conflicts(preloaded))
        if brought:
            return Choice(plain, f"it brings {', '.join(brought)}")
        return Choice(preloaded, f"{found.mention} names boto3")

    async def _look(self, folders: tuple[str, ...], runtime: str) -> None:
        try:
            found = self._found[folders] = await asyncio.to_thread(_look, folders)
        except OSError:
            return  # it went meanwhile
        finally:
            self._looking.discard(folders)
        if found.mention:
            self._forks.warm(runtime + zygotes.PRELOADED)
        if len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)


def _folders(version: model.Version) -> Iterator[str]:
    """Yield the host's paths of the folders that a version imports from, as far as they are known."""
    code, layers = version.code_path, version.layer_path
    yield code
    if layers is not None:
        python = f"{layers}/python"
        yield python
        yield f"{python}/lib/{version.runtime}/site-packages"
    for entry in version.environment.get("PYTHONPATH", "").split(":"):
        for root, path in ((environment.TASK_ROOT, code), (environment.LAYER_ROOT, layers)):
            if path is not None and (entry + "/").startswith(root + "/"):
                yield os.path.normpath(path + entry.removeprefix(root))


def _look(folders: tuple[str, ...]) -> _Found:
    """Look through folders; raise OSError where the first, the code, is not there."""
    os.stat(folders[0])  # noqa: PTH116 - paths are texts here
    for folder in folders:
        mention = _mention(folder)
        if mention:
            return _Found(mention, frozenset(_modules(folders)))
    return _Found()


def _mention(folder: str) -> str:
    """Return the name of a module that names the SDK, or nothing."""
    files, size = 0, 0
    for base, subfolders, names in os.walk(folder):
        subfolders.sort()
        for name in sorted(names):
            if not name.endswith((".py", ".pyc")):
                continue
            path = os.path.join(base, name)  # noqa: PTH118
            files += 1
            try:
                with open(path, "rb") as file:  # noqa: PTH123
                    content = file.read(_BYTES)
            except OSError:
                continue
            if _MENTION.search(content):
                return os.path.relpath(path, folder)
            size += len(content)
            if files >= _FILES or size >= _BYTES:
                return ""
    return ""


def _modules(folders: tuple[str, ...]) -> Iterator[str]:
    """Yield the names of modules and packages at the top of folders.

    A folder without __init__ gives way to a package, wherever that is (PEP 420).
    """
    for folder in folders:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        yield from (entry.name.partition(".")[0] for entry in entries if _is_module(entry))


def _is_module(entry: "os.DirEntry[str]") -> bool:
    _, dot, suffix = entry.name.partition(".")
    if dot:
        return suffix in {"py", "pyc"} or suffix.endswith("so")
    return entry.is_dir() and any(name.startswith("__init__.") for name in os.listdir(entry))  # noqa: PTH208
