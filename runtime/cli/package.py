"""A folder or a zip as a deployment package, and what its ``function.toml`` says about it.

A folder is zipped deterministically (sorted, one fixed time, two modes), so that its digest changes with its
content and with nothing else, and a deployment without change is recognised.
"""

import base64
import dataclasses
import difflib
import hashlib
import io
import os
import tomllib
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime import errors

MANIFEST = "function.toml"
ROLE = "arn:aws:iam::000000000000:role/hotfork"
"""The API demands a role; hotfork gives it no meaning of its own."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""
SKIPPED_FOLDERS = frozenset({"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
"""Which no package holds."""
_MANIFEST_KEYS: dict[str, type] = {
    "handler": str,
    "runtime": str,
    "memory": int,
    "timeout": int,
    "description": str,
    "environment": dict,
}
_API_NAMES = {
    "handler": "Handler",
    "runtime": "Runtime",
    "memory": "MemorySize",
    "timeout": "Timeout",
    "description": "Description",
}


class PackageError(errors.HotforkError):
    """A package cannot be made of this folder or file."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A zip, and the names of what is in it."""

    zip_file: bytes
    names: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Code and configuration of one function, ready for the API."""

    name: str
    zip_file: bytes
    entries: int
    configuration: Mapping[str, Any]
    """Members of CreateFunction: Handler, Runtime, MemorySize ...; only those that are known."""

    @property
    def sha256(self) -> str:
        """Return the digest as the API shows it."""
        return base64.b64encode(hashlib.sha256(self.zip_file).digest()).decode()

    def creation(self, default_runtime: str) -> dict[str, Any]:
        """Return the input of CreateFunction, with the zip as bytes."""
        return {
            "FunctionName": self.name,
            "Role": ROLE,
            "Runtime": default_runtime,
            **self.configuration,
            "Code": {"ZipFile": self.zip_file},
        }


def read(source: Path, name: str | None = None, overrides: Mapping[str, Any] | None = None) -> Package:
    """Return the package of a folder or a zip file; raise PackageError saying what is wrong with it.

    ``overrides`` has the keys of function.toml and goes before it, variable by variable in ``environment``.
    """
    overrides = {key: value for key, value in (overrides or {}).items() if value not in (None, {})}
    folder = source.is_dir()
    settings = _manifest(source / MANIFEST) if folder else {}
    files = read_files(source)
    merged = settings | overrides
    merged["environment"] = settings.get("environment", {}) | overrides.get("environment", {})
    if "handler" not in merged and (handler := _usual_handler(files.names)):
        merged["handler"] = handler
    configuration = {_API_NAMES[key]: merged[key] for key in _API_NAMES if key in merged}
    if merged["environment"]:
        configuration["Environment"] = {"Variables": merged["environment"]}
    return Package(
        name=name or (source.resolve().name if folder else source.stem),
        zip_file=files.zip_file,
        entries=len(files.names),
        configuration=configuration,
    )


def read_files(source: Path) -> Files:
    """Return a folder as a zip, or a zip file as it is; raise PackageError."""
    if source.is_dir():
        files = list(_files(source))
        if not files:
            raise PackageError(f"there is no file to deploy in {source}")
        names = frozenset(file.relative_to(source).as_posix() for file in files)
        return Files(zip_file=_zip(source, files), names=names)
    try:
        zip_file = source.read_bytes()
        return Files(zip_file=zip_file, names=frozenset(zipfile.ZipFile(io.BytesIO(zip_file)).namelist()))
    except OSError as error:
        raise PackageError(f"cannot read {source}: {error.strerror}") from None
    except zipfile.BadZipFile as error:
        raise PackageError(f"{source} is neither a folder nor a zip file: {error}") from None


def examples() -> list[Package]:
    """Return the example functions that come with hotfork."""
    package = Path(__file__).resolve().parents[1]
    # Inside the package when installed, beside it in a checkout.
    folders = [folder for folder in (package / "examples", package.parent / "configs/functions") if folder.is_dir()]
    if not folders:
        return []
    return [read(manifest.parent) for manifest in sorted(folders[0].glob(f"*/{MANIFEST}"))]


def _usual_handler(names: Collection[str]) -> str | None:
    if "lambda_function.py" in names:
        return "lambda_function.lambda_handler"
    return "handler.handler" if "handler.py" in names else None


def _manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PackageError(f"{path}: {error}") from None
    for key, value in settings.items():
        if key not in _MANIFEST_KEYS:
            near = difflib.get_close_matches(key, _MANIFEST_KEYS, n=1, cutoff=0.0)[0]
            raise PackageError(f"{path}: unknown key {key!r}, the nearest known one is {near!r}")
        if type(value) is not _MANIFEST_KEYS[key]:
            raise PackageError(f"{path}: {key} must be of type {_MANIFEST_KEYS[key].__name__}")
    environment = settings.get("environment", {})
    if not all(isinstance(value, str) for value in environment.values()):
        raise PackageError(f"{path}: the values of environment must be texts")
    return settings


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - SKIPPED_FOLDERS)
        here = Path(folder)
        for name in subfolders:
            if (here / name).is_symlink():
                raise PackageError(f"{here / name} is a link to a folder: put the folder itself into the package")
        for name in sorted(files):
            path = here / name
            if path.suffix == ".pyc" or path == root / MANIFEST:
                continue
            if not path.is_file():
                raise PackageError(f"{path} is not a regular file, nor a link to one")
            yield path


def _zip(root: Path, files: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            try:
                executable = path.stat().st_mode & 0o111
                entry.external_attr = (0o100755 if executable else 0o100644) << 16
                archive.writestr(entry, path.read_bytes())
            except OSError as error:
                raise PackageError(f"cannot read {path}: {error.strerror}") from None
            except UnicodeEncodeError:
                raise PackageError(f"the name of {str(path)!r} is not UTF-8") from None
    return buffer.getvalue()
