"""Which Python interpreters a machine offers for the runtimes ``python3.N``."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

OLDEST = 11
"""The worker's side needs python3.11; an older interpreter would not even start it."""

_PROGRAM = re.compile(r"python3\.(\d+)")
_VERSION_FOLDER = re.compile(r"3\.(\d+)\.(\d+)")


def find(named: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the path of an interpreter per runtime, best first: named, our own, pyenv's, on PATH.

    Our own comes before others of its version, because its packages are known to work. pyenv's interpreters
    come before PATH, where pyenv puts shims: shell scripts that choose a version by the current folder.
    Nothing is executed.
    """
    found = dict(_on_path(environ.get("PATH", "")))
    found |= dict(_of_pyenv(environ))
    found[sys.version_info.minor] = sys.executable
    offered = {f"python3.{minor}": path for minor, path in sorted(found.items()) if minor >= OLDEST}
    return {**offered, **named}


def _on_path(path: str) -> Iterator[tuple[int, str]]:
    # Last folder first, so that the first one on PATH has the last word.
    for folder in reversed(path.split(os.pathsep)):
        if not folder.startswith("/") or Path(folder).name == "shims":
            continue
        for name in _names(folder):
            version = _PROGRAM.fullmatch(name)
            if version and os.access(f"{folder}/{name}", os.X_OK):
                yield int(version[1]), f"{folder}/{name}"


def _of_pyenv(environ: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    root = environ.get("PYENV_ROOT") or f"{environ.get('HOME', '')}/.pyenv"
    installed = []
    for name in _names(f"{root}/versions"):
        version = _VERSION_FOLDER.fullmatch(name)
        executable = f"{root}/versions/{name}/bin/python3"
        if version and os.access(executable, os.X_OK):
            installed.append((int(version[1]), int(version[2]), executable))
    for minor, _, path in sorted(installed):
        yield minor, path


def _names(folder: str) -> list[str]:
    """Return what a folder holds; nothing where it is not there, or not ours to read."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []
