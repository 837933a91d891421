"""Unpacks one hostile zip into an empty folder, and dies rather than do anything else.

``zips`` reads; here is decided what is made of it, before anything is made: only regular files, folders and symbolic
links, with modes 0644, 0755 and 0755; no path that is a file and a folder, or passes through a link; links last, when
no path is walked any more, and only if they stay inside.

A link target that climbs must climb first ("../../lib/x", never "lib/../../x"): the climb then starts from a real
folder, and what follows goes only down, through links that obey the same rule, so that none can leave the root.

    main([DESTINATION, BYTES_LIMIT]), with the zip as standard input, or
    main([]), with ZIP, DESTINATION and BYTES_LIMIT in a line of standard input, separated by null characters,

confines itself (see ``cell``), then looks at the zip, and prints a line with one JSON object: {"total_bytes": n,
"entries": n}, or {"error": "bad"|"large", "detail": "..."}, or {"error": "cell", "detail": "..."} where it could not
confine itself.
"""

import dataclasses
import json
import mmap
import os
import resource
import stat
import struct
import sys
from pathlib import Path

from runtime.worker import cell, zips

_LINK_LIMIT = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out: the sum of the files' bytes and the number of entries."""

    total_bytes: int
    entries: int


def unpack(zip_fd: int, root: Path, limit: int) -> Unpacked:
    """Unpack the zip open at ``zip_fd`` into the existing, empty folder ``root``.

    ``limit`` is the greatest sum of unpacked bytes. Raises BadZip, TooLarge or OSError; then what lies in the
    folder is to be thrown away.
    """
    if os.fstat(zip_fd).st_size < zips.SMALLEST:
        raise zips.BadZip("too short")
    with mmap.mmap(zip_fd, 0, prot=mmap.PROT_READ) as data:
        entries = zips.directory(data)
        zips.check_overlaps(entries)
        files, folders, links = _plan(entries)
        if sum(entry.size for entry in files.values()) > limit:
            raise zips.TooLarge("announced size")
        for folder in sorted(folders):
            root.joinpath(*folder).mkdir(0o755)
        total = 0
        for path, entry in files.items():
            total += _write(data, entry, root.joinpath(*path), limit - total)
        for path, entry in links.items():
            target = b"".join(zips.content(data, entry, _LINK_LIMIT)).decode("utf-8")
            _check_link(path, target)
            root.joinpath(*path).symlink_to(target)
    return Unpacked(total, len(entries))


_Plan = dict[tuple[str, ...], zips.Entry]


def _plan(entries: list[zips.Entry]) -> tuple[_Plan, set[tuple[str, ...]], _Plan]:
    """Return files, folders and links by path. Of two files of one name the later counts, as unzip has it."""
    files: _Plan = {}
    links: _Plan = {}
    folders: set[tuple[str, ...]] = set()
    for entry in entries:
        kind = stat.S_IFMT(entry.mode)
        if kind == stat.S_IFDIR:
            folders.add(entry.path)
        elif kind == stat.S_IFREG and entry.path:
            files[entry.path] = entry
        elif kind == stat.S_IFLNK and entry.path:
            links[entry.path] = entry
        else:
            raise zips.BadZip(f"neither file, folder nor link: {entry.raw_name[:200]!r}")
        for depth in range(1, len(entry.path)):
            folders.add(entry.path[:depth])
        if len(folders) > zips.ENTRY_LIMIT:
            raise zips.BadZip("too many folders")
    folders.discard(())
    if files.keys() & folders or links.keys() & folders or files.keys() & links.keys():
        raise zips.BadZip("one name for two kinds of things")
    return files, folders, links


def _write(data: mmap.mmap, entry: zips.Entry, path: Path, limit: int) -> int:
    mode = 0o755 if entry.mode & 0o111 else 0o644
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    total = 0
    with os.fdopen(fd, "wb", buffering=0) as file:
        for piece in zips.content(data, entry, limit):
            total += len(piece)
            file.write(piece)
    return total


def _check_link(path: tuple[str, ...], target: str) -> None:
    parts = [part for part in target.split("/") if part not in {"", "."}]
    climb = 0
    while climb < len(parts) and parts[climb] == "..":
        climb += 1
    if target[:1] in {"", "/"} or "\0" in target or climb >= len(path) or ".." in parts[climb:]:
        raise zips.BadZip(f"link {'/'.join(path)[:200]!r} points out")


def main(arguments: list[str]) -> int:
    """Unpack standard input as the arguments say, confined; print the result."""
    os.umask(0o022)
    try:
        separated = cell.separate()
        root, limit = _ordered() if not arguments else (Path(arguments[0]), int(arguments[1]))
        root = cell.enter(root, _limits(limit), separated=separated)
    except Exception as error:
        result: dict[str, object] = {"error": "cell", "detail": f"{type(error).__name__}: {error}"}
    else:
        result = _result(root, limit)
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()  # before the interpreter, and what it lived in, are taken down
    return 0


def _ordered() -> tuple[Path, int]:
    """Wait for an order, make its zip standard input, and return the others; exit where no order comes."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 4096)
        if not piece:
            sys.exit(0)
        line += piece
    path, root, limit = os.fsdecode(line[:-1]).split("\0")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(fd, 0)
    os.close(fd)
    return Path(root), int(limit)


def _limits(limit: int) -> dict[int, int]:
    """Return what unpacking may take of the machine."""
    return {
        resource.RLIMIT_CPU: 120,
        resource.RLIMIT_AS: 1 << 30,
        resource.RLIMIT_FSIZE: limit + 1,
        resource.RLIMIT_NOFILE: 16,
        resource.RLIMIT_CORE: 0,
    }


def _result(root: Path, limit: int) -> dict[str, object]:
    try:
        unpacked = unpack(0, root, limit)
    except zips.TooLarge as error:
        return {"error": "large", "detail": str(error)}
    except (zips.BadZip, OSError, ValueError, MemoryError, OverflowError, struct.error) as error:
        return {"error": "bad", "detail": f"{type(error).__name__}: {error}"}
    return dataclasses.asdict(unpacked)
