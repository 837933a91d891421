"""Code packages on disk, named by the sha256 of their zip: kept once, unpacked once, never changed.

    packages/<sha256>/code.zip        as it was uploaded (its owner only)
    packages/<sha256>/unpacked_size   bytes, as text
    packages/<sha256>/tree/           what a function sees as /var/task, a layer's part of /opt
    packages/merged-<sha256>/tree/    the trees of several layers, one over the other: /opt
    staging/<random>/                 being made; thrown away at start

A package is made in ``staging``, flushed to disk and renamed to its place, so that what has a name is whole, even
after a power cut. A package goes when no record refers to it, nobody stages it and no worker runs from it.
"""

import asyncio
import collections
import contextlib
import ctypes
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path

from runtime import trees
from runtime.registry import records

Unpack = Callable[[Path, Path, int], Awaitable[int]]
"""Unpacks (zip, empty folder, limit of unpacked bytes) and returns the bytes unpacked; see ``unpacking``."""

_libc = ctypes.CDLL(None, use_errno=True)


class CodeStore:
    """The packages under a folder. One owner: a second process on the same folder is not foreseen."""

    def __init__(self, root: Path, unpack: Unpack) -> None:
        self._packages = root / "packages"
        self._staging = root / "staging"
        self._unpack = unpack
        self._held: collections.Counter[str] = collections.Counter()
        trees.remove(self._staging)
        root.mkdir(parents=True, exist_ok=True)
        for folder in (root, self._packages, self._staging):
            _make_folder(folder)

    def zip_of(self, sha256: str) -> Path:
        """Return the path of a package's zip."""
        return self._packages / sha256 / "code.zip"

    def tree_of(self, sha256: str) -> Path:
        """Return the folder of a package's files."""
        return self._packages / sha256 / "tree"

    @contextlib.asynccontextmanager
    async def stage(self, data: bytes, limit: int) -> AsyncIterator[records.Code]:
        """Keep a zip and hold it until the block ends, by when a record should refer to it.

        ``limit`` is the greatest number of unpacked bytes. Raises what the unpacker raises.
        """
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        with self.held(sha256):
            package = self._packages / sha256
            if not package.exists():
                await self._make(package, data, limit)
            unpacked_size = int((package / "unpacked_size").read_text())
            yield records.Code(sha256=sha256, size=len(data), unpacked_size=unpacked_size)

    @contextlib.contextmanager
    def held(self, *packages: str) -> Iterator[None]:
        """Let nothing discard these packages while the block runs."""
        self._held.update(packages)
        try:
            yield
        finally:
            self._held -= collections.Counter(packages)

    async def _make(self, package: Path, data: bytes, limit: int) -> None:
        draft = self._staging / secrets.token_hex(16)
        tree = draft / "tree"
        try:
            await asyncio.to_thread(_write_zip, draft, data)
            size = await self._unpack(draft / "code.zip", tree, limit)
            (draft / "unpacked_size").write_text(str(size))
            await asyncio.to_thread(_publish, draft, package)
        finally:
            await asyncio.to_thread(trees.remove, draft)

    async def merge(self, layers: Sequence[str]) -> Path:
        """Return the folder that holds these packages' trees, later ones over earlier ones; make it if need be."""
        tree = self.merged(layers)
        if not tree.exists():
            draft = self._staging / secrets.token_hex(16)
            try:
                await asyncio.to_thread(_overlay, [self.tree_of(layer) for layer in layers], draft / "tree")
                await asyncio.to_thread(_publish, draft, tree.parent)
            finally:
                await asyncio.to_thread(trees.remove, draft)
        return tree

    def merged(self, layers: Sequence[str]) -> Path:
        """Return where ``merge`` puts these packages: one alone stays where it is."""
        return self.tree_of(layers[0] if len(layers) == 1 else records.merged_name(layers))

    def known(self) -> set[str]:
        """Return the names of all that is kept."""
        return {path.name for path in self._packages.iterdir()}

    def is_held(self, package: str) -> bool:
        """Return whether somebody stages or uses a package right now."""
        return self._held[package] > 0

    def detach(self, packages: Iterable[str]) -> list[Path]:
        """Take packages out of the store at once; return what is to be given to ``erase``."""
        doomed = []
        for package in packages:
            place = self._staging / secrets.token_hex(16)
            with contextlib.suppress(FileNotFoundError):
                (self._packages / package).rename(place)
                doomed.append(place)
        return doomed

    async def erase(self, detached: Iterable[Path]) -> None:
        """Remove what was detached."""
        for place in detached:
            await asyncio.to_thread(trees.remove, place)


def _make_folder(path: Path) -> None:
    """Make a folder that any worker's uid can read, whatever our umask."""
    path.mkdir(exist_ok=True)
    path.chmod(0o755)


def _write_zip(draft: Path, data: bytes) -> None:
    _make_folder(draft)
    _make_folder(draft / "tree")
    fd = os.open(draft / "code.zip", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def _publish(draft: Path, place: Path) -> None:
    """Flush a folder with all in it, then give it its name. Who comes second keeps what is there."""
    with _opened(draft) as fd:
        if _libc.syncfs(fd):
            raise OSError(ctypes.get_errno(), "syncfs", str(draft))
    try:
        draft.rename(place)
    except OSError:
        if not place.exists():
            raise
    with _opened(place.parent) as fd:
        os.fsync(fd)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _overlay(layers: Sequence[Path], place: Path) -> None:
    """Lay trees over each other by hard links; a file hides what an earlier tree has under its name."""
    _make_folder(place.parent)
    _make_folder(place)
    for tree in layers:
        for folder, folders, files in os.walk(tree):
            target = place / Path(folder).relative_to(tree)
            for name in [*folders, *files]:
                _lay(Path(folder) / name, target / name)


def _lay(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        if target.is_symlink() or target.is_file():
            target.unlink()
        _make_folder(target)
        return
    if target.is_dir() and not target.is_symlink():
        trees.remove(target)
    target.unlink(missing_ok=True)
    os.link(source, target, follow_symlinks=False)
