"""Packages that Lambda offers to every function, imported before it is known for which: in a zygote of their own.

They are taken out of sight at once: ``sys.modules``, loggers, warning filters and import hooks are as if they had not
been imported. An import of one of them brings them back instead of executing their files again, where that cannot
be told from an import: only while nothing that they found, or did not find, could be found elsewhere now
(``conflicts``), while no variable that they read is set, and while what they took from the standard library is still
what stands there. In any other case they are imported like anything else.

Modules of the standard library that they needed stay where they are, as all that a zygote has loaded: a function that
brings a file of such a name gets rid of all of it (``Preloaded.discard``).
"""
# Strings, because sys.path holds strings, and because pathlib is one more module to have loaded.
# ruff: noqa: PTH112, PTH118, PTH208

import importlib
import logging
import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import machinery
from typing import Any

_Filter = tuple[str, Any, type[Warning], Any, int]
_SUFFIXES = frozenset({"py", "pyc"})


def load(names: Sequence[str], folder: str, *, home: str, spared: Collection[str]) -> "Preloaded":
    """Import packages out of a folder, each after those that it needs, and take them out of sight.

    ``home`` is the home folder that workers have, "~" for none; ``spared`` are names that a function's files cannot
    have anyway. Raises what the imports raise.
    """
    path = list(sys.path)
    sys.path.append(folder)
    try:
        preloaded = Preloaded(names, home, spared)
    finally:
        sys.path[:] = path
        sys.path_importer_cache.pop(folder, None)
    preloaded.trusted = frozenset((*path, folder))
    return preloaded


class _Stage:
    """What one import brought."""

    __slots__ = ("finders", "first_filters", "is_back", "last_filters", "loggers", "modules", "needs", "specs")

    def __init__(self) -> None:
        self.modules: dict[str, types.ModuleType] = {}
        self.specs: dict[str, machinery.ModuleSpec | None] = {}
        self.needs: list[_Stage] = []
        self.loggers: dict[str, logging.Logger | logging.PlaceHolder] = {}
        self.finders: list[Any] = []
        self.first_filters: list[_Filter] = []
        self.last_filters: list[_Filter] = []
        self.is_back = False


class _Watch:
    """Sees what modules are looked for and not found, and which variables are read."""

    def __init__(self) -> None:
        self.missed: set[str] = set()
        self.variables: set[str] = set()

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        """Be the last to be asked for a module."""
        self.missed.add(name.partition(".")[0])

    def run(self, work: Callable[[], None]) -> None:
        """Watch the imports that ``work`` does."""
        kind: Any = type(os.environ)
        get = kind.__getitem__

        def watched(environment: Any, name: str) -> Any:
            self.variables.add(name)
            return get(environment, name)

        kind.__getitem__ = watched
        sys.meta_path.append(self)
        try:
            work()
        finally:
            kind.__getitem__ = get
            sys.meta_path.remove(self)


class Preloaded:
    """The packages, out of sight; as a finder in ``sys.meta_path`` it brings them back when they are imported."""

    def __init__(self, names: Sequence[str], home: str, spared: Collection[str]) -> None:
        """See ``load``."""
        self._stages: list[_Stage] = []
        self._stage_of: dict[str, _Stage] = {}
        self._on_hand = True
        self.trusted: frozenset[str] = frozenset()
        """Folders that were looked through at the imports."""
        watch = _Watch()
        before = set(sys.modules)
        os.environ["HOME"] = home
        try:
            watch.run(lambda: self._import(names))
        finally:
            del os.environ["HOME"]
        self._variables = frozenset(watch.variables)
        self._standard = [name for name in sys.modules if name not in before and not _is_ours(name)]
        """Modules of the standard library that were imported for the packages."""
        own = {name.partition(".")[0] for name in self._stage_of}
        self._missed = watch.missed - sys.stdlib_module_names - own
        self.conflicts = frozenset(
            (own | {name.partition(".")[0] for name in self._standard} | self._missed) - {*spared}
        )
        """Names of modules that no folder of a function may hold."""
        self._taken = _taken(module for stage in self._stages for module in stage.modules.values())
        for stage in self._stages:
            _hide(stage)

    def _import(self, names: Sequence[str]) -> None:
        known = logging.root.manager.loggerDict
        for name in names:
            filters, loggers = list(warnings.filters), set(known)
            finders, modules = list(sys.meta_path), set(sys.modules)
            importlib.import_module(name)
            stage = _Stage()
            stage.modules = {
                each: module for each, module in sys.modules.items() if each not in modules and _is_ours(each)
            }
            stage.specs = {each: module.__spec__ for each, module in stage.modules.items()}
            stage.needs = self._needs_of(stage)
            stage.loggers = {each: known[each] for each in known if each not in loggers and _is_ours(each)}
            stage.finders = [each for each in sys.meta_path if each not in finders]
            stage.first_filters, stage.last_filters = _added(filters, list(warnings.filters))
            self._stages.append(stage)
            self._stage_of.update(dict.fromkeys(stage.modules, stage))

    def _needs_of(self, stage: _Stage) -> list[_Stage]:
        """Return which of the stages so far one uses."""
        used = set()
        for module in stage.modules.values():
            for value in list(vars(module).values()):
                used.add(value.__name__ if isinstance(value, types.ModuleType) else (_home_of(value) or ("",))[0])
        return [each for each in self._stages if not used.isdisjoint(each.modules)]

    # In a worker

    def discard(self) -> None:
        """Let all of it be imported as if it had never been."""
        if self._on_hand:
            self._on_hand = False
            for name in self._standard:
                sys.modules.pop(name, None)
            if self in sys.meta_path:
                sys.meta_path.remove(self)

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> machinery.ModuleSpec | None:
        """Find a module that is on hand, where there is no other."""
        stage = self._stage_of.get(name) if self._on_hand else None
        original = stage.specs[name] if stage is not None else None
        if stage is None or original is None:
            return None
        if stage.is_back or not self._fits(stage):
            # Somebody deleted it to import it again, or an import would find something else: from now on, all is
            # imported.
            self._on_hand = False
            return None
        spec = machinery.ModuleSpec(name, self, origin=original.origin)  # type: ignore[arg-type]
        spec.submodule_search_locations = original.submodule_search_locations
        return spec

    def create_module(self, spec: machinery.ModuleSpec) -> types.ModuleType:
        """Return the module as it was imported."""
        return self._stage_of[spec.name].modules[spec.name]

    def exec_module(self, module: types.ModuleType) -> None:
        """Bring back what its import had brought."""
        stage = self._stage_of[module.__name__]
        module.__spec__ = stage.specs[module.__name__]
        self._bring_back(stage)

    def _bring_back(self, stage: _Stage) -> None:
        if stage.is_back:
            return
        stage.is_back = True
        for need in stage.needs:
            self._bring_back(need)
        sys.modules.update(stage.modules)
        sys.meta_path.extend(stage.finders)
        for one in stage.first_filters[::-1]:
            _filter(one, append=False)
        for one in stage.last_filters:
            _filter(one, append=True)
        for name, logger in stage.loggers.items():
            if isinstance(logger, logging.Logger):
                _restore_logger(name, logger, self._stages)

    def _fits(self, stage: _Stage) -> bool:
        """Return whether an import now would do what it did, and find what it found."""
        return (
            not any(name in os.environ for name in self._variables)
            and logging.getLoggerClass() is logging.Logger
            and logging.root.manager.loggerClass is None
            and all(sys.modules.get(name, one) is one for each in _with(stage) for name, one in each.modules.items())
            and all(getattr(sys.modules.get(where), name, None) is one for where, name, one in self._taken)
            and not any(self.is_brought_by(entry) for entry in sys.path if entry not in self.trusted)
        )

    def is_brought_by(self, entry: str) -> bool:
        """Return whether a folder, or what else stands in ``sys.path``, may hold a module of one of the names."""
        try:
            names = os.listdir(entry or ".")
        except NotADirectoryError:
            return True  # a zip
        except OSError:
            return False
        return any(self._is_in_conflict(entry, name) for name in names)

    def _is_in_conflict(self, folder: str, name: str) -> bool:
        top, _, suffix = name.partition(".")
        if top not in self.conflicts:
            return False
        if suffix:
            return suffix in _SUFFIXES or suffix.endswith("so")
        # A folder without __init__ gives way to a package, wherever that is (PEP 420).
        path = os.path.join(folder, name)
        if not os.path.isdir(path):
            return False
        return top in self._missed or any(inner.startswith("__init__.") for inner in os.listdir(path))


def _with(stage: _Stage) -> list[_Stage]:
    """Return a stage and all that it needs."""
    found = [stage]
    for each in found:
        found += [need for need in each.needs if need not in found]
    return found


def _is_ours(name: str) -> bool:
    """Return whether a module, or a logger, is one of the packages'."""
    return name.partition(".")[0] not in sys.stdlib_module_names and name != "__mp_main__"


def _added(before: list[Any], after: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return what was put before and behind what is left of a list of filters."""
    kept = [place for place, one in enumerate(after) if one in before]
    first, last = (kept[0], kept[-1] + 1) if kept else (len(after), len(after))
    return after[:first], after[last:]


def _filter(one: _Filter, *, append: bool) -> None:
    action, message, category, module, line = one
    warnings.filterwarnings(action, _pattern(message), category, _pattern(module), line, append)  # type: ignore[arg-type]


def _pattern(compiled: re.Pattern[str] | None) -> str:
    return compiled.pattern if compiled is not None else ""


def _hide(stage: _Stage) -> None:
    for name in stage.modules:
        del sys.modules[name]
    for name in stage.loggers:
        del logging.root.manager.loggerDict[name]
    for one in (*stage.first_filters, *stage.last_filters):
        if one in warnings.filters:
            warnings.filters.remove(one)  # type: ignore[attr-defined]
    for finder in stage.finders:
        sys.meta_path.remove(finder)


def _restore_logger(name: str, logger: logging.Logger, stages: Iterable[_Stage]) -> None:
    """Put a logger in its place; where the function has made one of that name, use that instead."""
    manager: Any = logging.root.manager
    there = manager.loggerDict.get(name)
    if isinstance(there, logging.Logger):
        for handler in logger.handlers:
            there.addHandler(handler)
        for module in (module for stage in stages for module in stage.modules.values()):
            for key, value in list(vars(module).items()):
                if value is logger:
                    setattr(module, key, there)
        return
    manager.loggerDict[name] = logger
    if there is not None:
        manager._fixupChildren(there, logger)  # noqa: SLF001 - as Manager.getLogger does
    manager._fixupParents(logger)  # noqa: SLF001
    manager._clear_cache()  # noqa: SLF001


def _values(module: types.ModuleType) -> Iterable[Any]:
    """Yield what a module holds, and what its classes derive from."""
    for value in list(vars(module).values()):
        yield value
        if isinstance(value, type):
            yield from value.__mro__[1:]


def _home_of(value: Any) -> tuple[str, str] | None:
    """Return where a class or function says that it was defined."""
    if not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return None
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return (module, name) if isinstance(module, str) and isinstance(name, str) else None


def _taken(modules: Iterable[types.ModuleType]) -> list[tuple[str, str, Any]]:
    """Return what modules took from others than their own kind: (module, name, value), each once.

    A function that replaces such a thing before it imports them (gevent does) has to find the replacement in them.
    """
    own = list(modules)
    kinds = {module.__name__.partition(".")[0] for module in own}
    found: dict[int, tuple[str, str, Any]] = {}
    for module in own:
        for value in _values(module):
            where, name = _home_of(value) or ("", "")
            if where.partition(".")[0] not in kinds and getattr(sys.modules.get(where), name, None) is value:
                found[id(value)] = (where, name, value)
    return list(found.values())
