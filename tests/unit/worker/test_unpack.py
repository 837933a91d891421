"""What is made of zips, honest and hostile."""

import io
import json
import os
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import hostile_zips as make
import pytest

import runtime
from runtime.worker import unpack, zips

LIMIT = 1_000_000
Entry = make.Entry


@pytest.fixture
def unpacked(tmp_path):
    def run(data, limit=LIMIT):
        source, root = tmp_path / "zip", tmp_path / "root"
        source.write_bytes(data)
        root.mkdir()
        with source.open("rb") as file:
            result = unpack.unpack(file.fileno(), root, limit)
        return root, result

    return run


def test_an_ordinary_zip(unpacked):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("app.py", "x = 1\n" * 1000)
        archive.writestr("package/__init__.py", "")
        archive.writestr("package/data/blob", os.urandom(100_000), zipfile.ZIP_STORED)
        archive.writestr("empty/", "")
    root, result = unpacked(buffer.getvalue())
    assert (root / "app.py").read_text() == "x = 1\n" * 1000
    assert (root / "package/data/blob").stat().st_size == 100_000
    assert (root / "empty").is_dir()
    assert result == unpack.Unpacked(total_bytes=106_000, entries=4)


def test_modes_are_made_uniform(unpacked):
    entries = [
        Entry(b"plain", mode=stat.S_IFREG | 0o600),
        Entry(b"tool", mode=stat.S_IFREG | 0o4711),
        Entry(b"world", mode=stat.S_IFREG | 0o666),
        Entry(b"private/", mode=stat.S_IFDIR | 0o700),
        Entry(b"made/by/implication"),
        Entry(b"from-dos", mode=0, system=0),
        Entry(b"no-type", mode=0o755),
    ]
    os.umask(0o022)
    root, _ = unpacked(make.build(*entries))
    modes = {str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert modes == {
        "plain": 0o644,
        "tool": 0o755,
        "world": 0o644,
        "private": 0o755,
        "made": 0o755,
        "made/by": 0o755,
        "made/by/implication": 0o644,
        "from-dos": 0o644,
        "no-type": 0o755,
    }


def test_links_that_stay_inside(unpacked):
    root, _ = unpacked(
        make.build(
            Entry(b"lib/libx.so.1", b"elf"),
            Entry(b"lib/libx.so", b"libx.so.1", make.LINK),
            Entry(b"bin/deep/x", b"../../lib/libx.so", make.LINK),
            Entry(b"dangling", b"nothing/here", make.LINK),
        )
    )
    assert (root / "bin/deep/x").read_bytes() == b"elf"
    assert str((root / "lib/libx.so").readlink()) == "libx.so.1"


def test_of_two_files_of_one_name_the_later_counts(unpacked):
    root, result = unpacked(make.build(Entry(b"a", b"first"), Entry(b"./a", b"second")))
    assert (root / "a").read_bytes() == b"second"
    assert result.total_bytes == 6


def test_a_zip_behind_a_prefix_and_before_a_comment(unpacked):
    root, _ = unpacked(make.build(Entry(b"a", b"x"), prefix=b"#!/bin/sh\n", comment=b"signed PK"))
    assert (root / "a").read_bytes() == b"x"


def test_zip64(unpacked):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a", "w", force_zip64=True) as file:
        file.write(b"content")
    root, _ = unpacked(buffer.getvalue())
    assert (root / "a").read_bytes() == b"content"


WIDE = struct.pack("<HH3Q", 1, 24, 3, 3, 0)


def test_sizes_and_offset_in_64_bits(unpacked):
    other = struct.pack("<HH5s", 0x5455, 5, b"\x01time")
    root, _ = unpacked(make.build(Entry(b"a", b"xyz", method=0, extra=other + WIDE, all_ones=True)))
    assert (root / "a").read_bytes() == b"xyz"


def test_more_entries_than_the_old_format_can_count(unpacked):
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w") as archive:
        for _ in range(0x10000):
            archive.writestr("folder/", "")
    root, result = unpacked(buffer.getvalue())
    assert result.entries == 0x10000
    assert (root / "folder").is_dir()


FIFO, DEVICE, SOCKET = stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644, stat.S_IFSOCK | 0o644
BOMB = make.build(Entry(b"zeros", bytes(LIMIT + 1)))
HOSTILE = {
    "empty": b"",
    "no zip": b"this is not a zip",
    "cut": make.build(Entry(b"a", b"x"))[:-5],
    "cut in the directory": make.build(Entry(b"a", b"x"), count=2),
    "more entries than announced": make.build(Entry(b"a"), Entry(b"b"), count=1),
    "climbing": make.build(Entry(b"../a")),
    "climbing later": make.build(Entry(b"a/../../b")),
    "absolute": make.build(Entry(b"/etc/passwd")),
    "backslash": make.build(Entry(b"..\\a")),
    "nul": make.build(Entry(b"a\0b")),
    "no name": make.build(Entry(b"")),
    "only dots": make.build(Entry(b".")),
    "long part": make.build(Entry(b"a" * 256)),
    "long path": make.build(Entry(b"a/" * 2049 + b"b")),
    "bad utf-8": make.build(Entry(b"\xff", flags=0x800)),
    "fifo": make.build(Entry(b"a", mode=FIFO)),
    "device": make.build(Entry(b"a", mode=DEVICE)),
    "socket": make.build(Entry(b"a", mode=SOCKET)),
    "encrypted": make.build(Entry(b"a", b"x", flags=1)),
    "unknown method": make.build(Entry(b"a", b"x", method=12, packed=b"x")),
    "link up": make.build(Entry(b"a", b"..", make.LINK)),
    "link out": make.build(Entry(b"a/b", b"../../etc", make.LINK)),
    "absolute link": make.build(Entry(b"a", b"/etc/passwd", make.LINK)),
    "link that goes down, then up": make.build(Entry(b"a", b"b/../..", make.LINK)),
    "empty link": make.build(Entry(b"a", b"", make.LINK)),
    "link with nul": make.build(Entry(b"a", b"b\0c", make.LINK)),
    "file through a link": make.build(Entry(b"a", b"b", make.LINK), Entry(b"a/c", b"x")),
    "link over a file": make.build(Entry(b"a", b"x"), Entry(b"a", b"b", make.LINK)),
    "file over a folder": make.build(Entry(b"a/b"), Entry(b"a")),
    "smaller than it is": make.build(Entry(b"a", bytes(1000), size=10)),
    "larger than it is": make.build(Entry(b"a", b"x", size=1000)),
    "wrong checksum": make.build(Entry(b"a", b"x", crc=1)),
    "broken deflate": make.build(Entry(b"a", b"x", packed=b"\xff\xff\xff")),
    "deflate cut short": make.build(Entry(b"a", bytes(100_000), packed=b"\x00")),
    "local header of another name": make.build(Entry(b"a", b"x", local_name=b"b")),
    "entry out of bounds": make.build(Entry(b"a", b"x", offset=10_000)),
    "content out of bounds": make.build(Entry(b"a", b"x", packed_size=10_000)),
    "overlap": make.build(Entry(b"a", bytes(5000)), Entry(b"a", bytes(5000), offset=0)),
    "64 bits cut short": make.build(Entry(b"a", b"xyz", method=0, extra=WIDE[:12], all_ones=True)),
    "64 bits that lie": make.build(Entry(b"a", b"xyz", method=0, extra=WIDE[:20] + b"\xff" * 8, all_ones=True)),
    "zip64 with nothing in it": make.build64(1),
    "too many entries": make.build64(100_001),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_refused(unpacked, data):
    with pytest.raises((zips.BadZip, OSError, ValueError, struct.error)):
        unpacked(data)


def test_nothing_is_written_outside(tmp_path):
    source = tmp_path / "zip"
    for number, data in enumerate(HOSTILE.values()):
        source.write_bytes(data)
        root = tmp_path / "roots" / str(number)
        root.mkdir(parents=True)
        with source.open("rb") as file, pytest.raises((zips.BadZip, OSError, ValueError, struct.error)):
            unpack.unpack(file.fileno(), root, LIMIT)
    assert {path.name for path in tmp_path.iterdir()} == {"zip", "roots"}
    assert {path.name for path in (tmp_path / "roots").iterdir()} == {str(n) for n in range(len(HOSTILE))}


@pytest.mark.parametrize(
    "data",
    [
        BOMB,
        make.build(Entry(b"a", bytes(LIMIT)), Entry(b"b", b"x")),
        make.build(Entry(b"a", b"x" * 5000, make.LINK)),
    ],
    ids=["one file", "two files", "a link"],
)
def test_what_is_too_large(unpacked, data):
    with pytest.raises(zips.TooLarge):
        unpacked(data)


def test_a_bomb_that_lies_stops_at_the_announced_size(unpacked, tmp_path):
    with pytest.raises(zips.BadZip):
        unpacked(make.build(Entry(b"zeros", bytes(900_000), size=10)))
    assert sum(path.stat().st_size for path in (tmp_path / "root").rglob("*")) <= 10


def run_alone(data, root, limit=LIMIT):
    boot = "import sys; sys.path.insert(0, sys.argv.pop(1)); from runtime.worker import unpack; sys.exit(unpack.main(sys.argv[1:]))"
    package = str(Path(runtime.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", boot, package, str(root), str(limit)],
        input=None,
        stdin=data,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_process(tmp_path):
    for number, (data, expected) in enumerate(
        [
            (make.build(Entry(b"a", b"xyz")), {"total_bytes": 3, "entries": 1}),
            (BOMB, {"error": "large", "detail": "announced size"}),
            (b"no zip", {"error": "bad", "detail": "BadZip: too short"}),
        ]
    ):
        source, root = tmp_path / f"{number}.zip", tmp_path / str(number)
        source.write_bytes(data)
        root.mkdir()
        with source.open("rb") as file:
            assert run_alone(file, root) == expected
