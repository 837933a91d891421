"""Where a log group's files lie. Pure, but for listing a folder.

    <root>/aws/lambda/hello/1795374000123.log      named after the time it was begun, in Unix milliseconds
    <root>/aws/lambda/hello/current.log            -> the newest: for ``tail -F``

A group's name is its owner's choice. Each part of it between slashes becomes a folder, in which everything but letters,
digits, ``_`` and ``-`` is percent-encoded. So no part is ``..``, none can be taken for a file (those hold a dot), and
two groups never share a folder.
"""

import hashlib
import re
from pathlib import Path

CURRENT = "current.log"

_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
_FILE = re.compile(r"(\d{13,})\.log")
_PART_LIMIT = 200
"""Bytes; a file name may have 255."""
_RELATIVE, _EMPTY, _HASHED = "%", "%0", "%x"
"""No encoded part holds these: there, two capital hexadecimal digits follow a percent sign."""


def of_group(root: Path, group: str) -> Path:
    """Return the folder of a log group: "/aws/lambda/hello" -> root/aws/lambda/hello."""
    first, *rest = group.split("/")
    if first or not rest:
        return root.joinpath(_RELATIVE, *map(_folder, [first, *rest]))
    return root.joinpath(*map(_folder, rest))


def _folder(part: str) -> str:
    if not part:
        return _EMPTY
    encoded = part.encode(errors="surrogatepass")
    name = _UNSAFE.sub(lambda match: b"%%%02X" % match.group()[0], encoded).decode("ascii")
    if len(name) <= _PART_LIMIT:
        return name
    return f"{name[: _PART_LIMIT // 2]}{_HASHED}{hashlib.sha256(encoded).hexdigest()}"


def file_name(begun_ms: int) -> str:
    """Return the name of the file that was begun at a time."""
    return f"{begun_ms:013d}.log"


def begun(name: str) -> int | None:
    """Return when the file of that name was begun, or None where it is no log file."""
    match = _FILE.fullmatch(name)
    return int(match.group(1)) if match else None


def files(folder: Path) -> list[int]:
    """Return when each file in a folder was begun, oldest first; none where there is no folder."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(time for time in map(begun, names) if time is not None)
