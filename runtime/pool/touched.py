"""Which pages a copy of a template wrote to: they are its own now, and the next copy is going to write to them, too.

Each such page is a fault, of 3 to 4 microseconds; told which, a copy makes them its own while nobody waits for it.
"""

import os
import re
import struct
from pathlib import Path

MOST_PAGES = 2048
"""That a copy is told of: another one's call had need of them, its own may not. Measured: 1,169 with pandas."""

MOST_SPANS = 1024
"""Runs of such pages: they have to fit into one packet (``wire.PACKET_LIMIT``)."""

MOST_TEXT = 256 * 1024
MOST_ADDRESSES = 512 * 1024 * 1024
"""Bytes of a list of mappings, and of addresses in writable ones, that are looked at: the process is a function's, and
can have as many as it likes, while the event loop waits for us."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_ENTRY = 8
"""Bytes of /proc/pid/pagemap for each page (Documentation/admin-guide/mm/pagemap.rst)."""
_OWN = re.compile(rb"[\x81\x83\x85\x87]+")
"""Of the highest bytes of entries: pages that are in memory (bit 63), of no file (61), and nobody else's (56)."""
_WRITABLE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p ", re.MULTILINE)


def spans(pid: int) -> bytes:
    """Return first address and length of each run of pages that are a process's own, two 64-bit numbers each.

    Of a process with very much memory, those at its lower addresses. Raises OSError where that is not to be seen:
    PermissionError, or another for a process that is gone.
    """
    with Path(f"/proc/{pid}/maps").open("rb") as file:
        maps = file.read(MOST_TEXT).decode(errors="replace")
    found: list[bytes] = []
    pages, addresses = MOST_PAGES, MOST_ADDRESSES
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as file:
        for first, end in ((int(match[1], 16), int(match[2], 16)) for match in _WRITABLE.finditer(maps)):
            size = min(end - first, addresses)
            addresses -= size
            entries = os.pread(file.fileno(), size // _PAGE * _ENTRY, first // _PAGE * _ENTRY)
            for run in _OWN.finditer(entries[_ENTRY - 1 :: _ENTRY]):
                count = min(run.end() - run.start(), pages)
                pages -= count
                if count and len(found) < MOST_SPANS:
                    found.append(struct.pack("=QQ", first + run.start() * _PAGE, count * _PAGE))
    return b"".join(found)
