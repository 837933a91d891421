"""Which Python interpreters a machine offers for the runtimes ``python3.N``."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_VERSION_FOLDER = re.compile(r"3\.(\d+)\.(\d+)")


def find(named: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the path of an interpreter per runtime, best first: named, our own, pyenv's, on PATH.

    Our own comes before others of its version, because its packages are known to work. pyenv's interpreters
    come before PATH, where pyenv puts shims: shell scripts that choose a version by the current folder.
    Nothing is executed.
    """
    found = {f"python{name}": path for name, path in _on_path(environ.get("PATH", ""))}
    found |= {f"python{name}": path for name, path in _of_pyenv(environ)}
    found[f"python3.{sys.version_info.minor}"] = sys.executable
    found |= named
    return dict(sorted(found.items(), key=lambda item: int(item[0].partition(".")[2])))


def _on_path(path: str) -> Iterator[tuple[str, str]]:
    # Last folder first, so that the first one on PATH has the last word.
    for folder in reversed(path.split(os.pathsep)):
        if not folder.startswith("/") or Path(folder).name == "shims":
            continue
        for candidate in Path(folder).glob("python3.*"):
            name = candidate.name.removeprefix("python")
            if re.fullmatch(r"3\.\d+", name) and os.access(candidate, os.X_OK):
                yield name, str(candidate)


def _of_pyenv(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    root = environ.get("PYENV_ROOT") or str(Path(environ.get("HOME") or "/nonexistent") / ".pyenv")
    installed = []
    for folder in Path(root).glob("versions/3.*"):
        version = _VERSION_FOLDER.fullmatch(folder.name)
        executable = folder / "bin" / "python3"
        if version and os.access(executable, os.X_OK):
            installed.append((int(version[1]), int(version[2]), str(executable)))
    for minor, _, path in sorted(installed):
        yield f"3.{minor}", path
