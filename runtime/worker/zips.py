"""Reads a hostile zip: its directory, and the bytes of an entry. Pure standard library.

The standard library's zipfile believes too much (it parses a directory of any length, and finds overlaps only in
newer releases), so the directory is read by hand, and nothing in it is believed before it is checked: entries are
counted before any is parsed; paths are taken apart; entries may not overlap; bytes are counted as they come out of
the decompressor, never as announced; a size or checksum that lies ends it.

Format: pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 and 4.4.
"""

import codecs
import dataclasses
import mmap
import os
import stat
import struct
import zlib
from collections.abc import Iterator

ENTRY_LIMIT = 100_000
"""Entries of a zip, and files and folders made from it. AWS names no figure; its size limits imply one."""
_CHUNK = 1 << 20
_PATH_LIMIT = 4096
_NAME_LIMIT = 255
_DEPTH_LIMIT = 100
"""Folders in one another. AWS names no figure; what walks a tree later may recurse."""
_ALL_ONES_16 = 0xFFFF
_ALL_ONES_32 = 0xFFFFFFFF
_WIDE = 8

_END = struct.Struct("<4s4H2LH")
SMALLEST = _END.size
"""Bytes of an empty zip."""
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNIX = 3
_OLD_NAMES = codecs.lookup("cp437")
"""Looked up now: who reads a stranger's zip may have given up the right to read the standard library."""


class BadZip(Exception):
    """The zip is broken, or does what we refuse."""


class TooLarge(Exception):
    """The zip holds more bytes than allowed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the directory; ``mode`` is what stat would say, its type always set."""

    path: tuple[str, ...]
    raw_name: bytes
    mode: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def directory(data: mmap.mmap) -> list[Entry]:
    """Return the entries of the central directory, in its order."""
    end = data.rfind(b"PK\5\6", max(0, len(data) - _END.size - _ALL_ONES_16))
    if end < 0 or end + _END.size > len(data):
        raise BadZip("no end of central directory")
    _, disk, start_disk, _, count, size, start, _ = _END.unpack_from(data, end)
    directory_end = end
    if count == _ALL_ONES_16 or _ALL_ONES_32 in {size, start}:
        count, size, start, directory_end = _zip64(data, end)
    elif disk or start_disk:
        raise BadZip("spans several disks")
    if count > ENTRY_LIMIT:
        raise BadZip(f"{count} entries")
    position = directory_end - size
    prefix = position - start
    if position < 0 or prefix < 0:
        raise BadZip("central directory out of bounds")
    entries = []
    for _ in range(count):
        entry, position = _central(data, position, directory_end, prefix)
        entries.append(entry)
    if position != directory_end:
        raise BadZip("more entries than announced")
    return entries


def _zip64(data: mmap.mmap, end: int) -> tuple[int, int, int, int]:
    locator = end - _END64_LOCATOR.size
    if locator < 0 or data[locator : locator + 4] != b"PK\6\7":
        raise BadZip("no zip64 locator")
    # The record is taken from where it must lie, right before the locator, not from where the locator points:
    # both agree in every zip without a prefix.
    record = locator - _END64.size
    if record < 0 or data[record : record + 4] != b"PK\6\6":
        raise BadZip("no zip64 end of central directory")
    fields = _END64.unpack_from(data, record)
    return fields[7], fields[8], fields[9], record


def _central(data: mmap.mmap, position: int, limit: int, prefix: int) -> tuple[Entry, int]:
    if position + _CENTRAL.size > limit:
        raise BadZip("central directory cut short")
    fields = _CENTRAL.unpack_from(data, position)
    signature, system, flags, method = fields[0], fields[2], fields[5], fields[6]
    crc, packed, size = fields[9], fields[10], fields[11]
    name_size, extra_size, comment_size = fields[12], fields[13], fields[14]
    attributes, offset = fields[17], fields[18]
    if signature != b"PK\1\2":
        raise BadZip("bad entry signature")
    if flags & _ENCRYPTED:
        raise BadZip("encrypted")
    name_at = position + _CENTRAL.size
    after = name_at + name_size + extra_size + comment_size
    if after > limit:
        raise BadZip("central directory cut short")
    raw_name = data[name_at : name_at + name_size]
    extra = data[name_at + name_size : name_at + name_size + extra_size]
    size, packed, offset = _zip64_fields(extra, size, packed, offset)
    mode = attributes >> 16 if system == _UNIX else 0
    if raw_name.endswith(b"/"):
        mode = stat.S_IFDIR
    elif not stat.S_IFMT(mode):
        mode |= stat.S_IFREG
    path = _path(_decode(raw_name, flags))
    return Entry(path, raw_name, mode, method, crc, packed, size, offset + prefix), after


def _zip64_fields(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Return the three, each replaced by its 64-bit form where it is all ones."""
    values = [size, packed, offset]
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, position)
        field = extra[position + 4 : position + 4 + length]
        if tag == 1:
            for index, value in enumerate(values):
                if value == _ALL_ONES_32:
                    if len(field) < _WIDE:
                        raise BadZip("zip64 field cut short")
                    values[index] = int.from_bytes(field[:_WIDE], "little")
                    field = field[_WIDE:]
        position += 4 + length
    return values[0], values[1], values[2]


def _decode(name: bytes, flags: int) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        if flags & _UTF8:
            raise BadZip("a name is not UTF-8") from None
        return _OLD_NAMES.decode(name)[0]


def _path(name: str) -> tuple[str, ...]:
    if not name or name[0] == "/" or "\\" in name or "\0" in name:
        raise BadZip(f"path {name[:200]!r}")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if (
        ".." in parts
        or len(parts) > _DEPTH_LIMIT
        or len(name) > _PATH_LIMIT
        or any(len(os.fsencode(part)) > _NAME_LIMIT for part in parts)
    ):
        raise BadZip(f"path {name[:200]!r}")
    return parts


def check_overlaps(entries: list[Entry]) -> None:
    """Refuse entries that share bytes: David Fifield, "A better zip bomb", WOOT'19."""
    end = 0
    for start, size in sorted((e.offset, _LOCAL.size + len(e.raw_name) + e.packed) for e in entries):
        if start < end:
            raise BadZip("entries overlap")
        end = start + size


def content(data: mmap.mmap, entry: Entry, limit: int) -> Iterator[bytes]:
    """Yield an entry's bytes, at most ``limit``; check its local header, its size and its checksum."""
    if entry.offset + _LOCAL.size > len(data):
        raise BadZip("entry out of bounds")
    fields = _LOCAL.unpack_from(data, entry.offset)
    name_at = entry.offset + _LOCAL.size
    start = name_at + fields[9] + fields[10]
    if fields[0] != b"PK\3\4" or data[name_at : name_at + fields[9]] != entry.raw_name:
        raise BadZip("local header differs")
    if start + entry.packed > len(data):
        raise BadZip("entry out of bounds")
    crc = written = 0
    for piece in _pieces(data, start, entry):
        written += len(piece)
        if written > limit:
            raise TooLarge("unpacked size")
        if written > entry.size:
            raise BadZip("larger than announced")
        crc = zlib.crc32(piece, crc)
        yield piece
    if written != entry.size or crc != entry.crc:
        raise BadZip("size or checksum differs")


def _pieces(data: mmap.mmap, start: int, entry: Entry) -> Iterator[bytes]:
    end = start + entry.packed
    if entry.method == _STORED:
        for position in range(start, end, _CHUNK):
            yield data[position : min(end, position + _CHUNK)]
        return
    if entry.method != _DEFLATED:
        raise BadZip(f"compression method {entry.method}")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for position in range(start, end, _CHUNK):
            block = data[position : min(end, position + _CHUNK)]
            while block and not inflater.eof:
                yield inflater.decompress(block, _CHUNK)
                block = inflater.unconsumed_tail
        while not inflater.eof and (piece := inflater.decompress(b"", _CHUNK)):
            yield piece
    except zlib.error as error:
        raise BadZip(str(error)) from None
