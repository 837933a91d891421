"""Zips that no tool makes: built field by field, so that each field can lie."""

import dataclasses
import stat
import struct
import zlib

FILE, LINK, FOLDER = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755

ONES = 0xFFFFFFFF


@dataclasses.dataclass
class Entry:
    """One entry; ``None`` stands for the true value."""

    name: bytes
    content: bytes = b""
    mode: int = FILE
    method: int = 8
    flags: int = 0
    size: int | None = None
    crc: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    local_name: bytes | None = None
    offset: int | None = None
    system: int = 3
    extra: bytes = b""
    """Of the central directory."""
    all_ones: bool = False
    """Say 0xFFFFFFFF for both sizes and the offset there: the truth stands in ``extra``."""

    def __post_init__(self) -> None:
        if self.packed is None:
            squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
            deflated = squeezer.compress(self.content) + squeezer.flush()
            self.packed = deflated if self.method == 8 else self.content
        self.size = len(self.content) if self.size is None else self.size
        self.crc = zlib.crc32(self.content) if self.crc is None else self.crc
        self.packed_size = len(self.packed) if self.packed_size is None else self.packed_size
        self.local_name = self.name if self.local_name is None else self.local_name


def build(*entries: Entry, count: int | None = None, prefix: bytes = b"", comment: bytes = b"") -> bytes:
    """Return a zip of entries; ``count`` is what it claims to hold."""
    data = bytearray(prefix)
    offsets = []
    for entry in entries:
        offsets.append(len(data) - len(prefix))
        data += struct.pack(
            "<4s5H3L2H",
            b"PK\3\4",
            *(20, entry.flags, entry.method, 0, 0),
            *(entry.crc, entry.packed_size, entry.size),
            *(len(entry.local_name), 0),
        )
        data += entry.local_name + entry.packed
    start = len(data)
    for entry, offset in zip(entries, offsets, strict=True):
        data += struct.pack(
            "<4s4B4H3L5H2L",
            b"PK\1\2",
            *(20, entry.system, 20, 0),
            *(entry.flags, entry.method, 0, 0),
            *(entry.crc, *((ONES, ONES) if entry.all_ones else (entry.packed_size, entry.size))),
            *(len(entry.name), len(entry.extra), 0, 0, 0),
            *(entry.mode << 16, ONES if entry.all_ones else offset if entry.offset is None else entry.offset),
        )
        data += entry.name + entry.extra
    size = len(data) - start
    claimed = len(entries) if count is None else count
    data += (
        struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, claimed, claimed, size, start - len(prefix), len(comment)) + comment
    )
    return bytes(data)


def build64(count: int) -> bytes:
    """Return a zip64 that claims to hold ``count`` entries, and holds none."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, 0, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return record + locator + end
