"""The code store: made once, whole or not at all, readable for workers, gone when told."""

import asyncio
import hashlib
import os
import stat

import pytest

from runtime import errors
from runtime.registry import code, records

LIMIT = 1000


class Unpacker:
    """Makes a file and a folder; counts its runs."""

    def __init__(self):
        self.runs = 0
        self.gate = None

    async def __call__(self, zip_path, destination, limit):
        self.runs += 1
        if self.gate is not None:
            await self.gate.wait()
        data = zip_path.read_bytes()
        (destination / "file").write_bytes(data)
        if data == b"bad":
            raise errors.InvalidParameterValue("bad")
        (destination / "folder").mkdir()
        (destination / "folder" / data.decode()).touch()
        return len(data)


@pytest.fixture
def unpacker():
    return Unpacker()


@pytest.fixture
def kept(tmp_path, unpacker):
    return code.CodeStore(tmp_path / "code", unpacker)


def sha(data):
    return hashlib.sha256(data).hexdigest()


async def add(kept, data):
    async with kept.stage(data, LIMIT) as package:
        return package


async def test_a_package(kept):
    package = await add(kept, b"zip")
    assert package == records.Code(sha256=sha(b"zip"), size=3, unpacked_size=3)
    assert kept.zip_of(package.sha256).read_bytes() == b"zip"
    assert (kept.tree_of(package.sha256) / "folder/zip").exists()


async def test_modes_do_not_depend_on_the_umask(tmp_path, unpacker):
    before = os.umask(0o077)
    try:
        kept = code.CodeStore(tmp_path / "state/code", unpacker)
        one, two = await add(kept, b"one"), await add(kept, b"two")
        merged = await kept.merge([one.sha256, two.sha256])
    finally:
        os.umask(before)
    for folder in (
        tmp_path / "state/code",
        kept.tree_of(one.sha256),
        kept.tree_of(one.sha256).parent,
        merged,
        merged / "folder",
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755, folder
    assert stat.S_IMODE(kept.zip_of(one.sha256).stat().st_mode) == 0o600


async def test_a_package_is_unpacked_once(kept, unpacker):
    await add(kept, b"zip")
    await add(kept, b"zip")
    assert unpacker.runs == 1


async def test_the_same_package_twice_at_once(kept, unpacker):
    unpacker.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(add(kept, b"zip")) for _ in range(2)]
        while unpacker.runs < 2:
            await asyncio.sleep(0)
        unpacker.gate.set()
    assert both[0].result() == both[1].result()
    assert kept.known() == {sha(b"zip")}
    assert not list((kept.tree_of("x").parent.parent.parent / "staging").iterdir())


async def test_a_failure_leaves_nothing(kept, tmp_path):
    with pytest.raises(errors.InvalidParameterValue):
        await add(kept, b"bad")
    assert kept.known() == set()
    assert not list((tmp_path / "code/staging").iterdir())


async def test_what_was_being_made_is_thrown_away_at_start(tmp_path, unpacker):
    (tmp_path / "code/staging/half/tree").mkdir(parents=True)
    code.CodeStore(tmp_path / "code", unpacker)
    assert not list((tmp_path / "code/staging").iterdir())


async def test_what_is_staged_or_held_is_known(kept):
    async with kept.stage(b"zip", LIMIT) as package:
        assert kept.is_held(package.sha256)
    assert not kept.is_held(package.sha256)
    with kept.held(package.sha256), kept.held(package.sha256, "other"):
        assert kept.is_held(package.sha256)
    assert not kept.is_held(package.sha256)


async def test_what_is_detached_is_out_of_reach_at_once_and_erased_then(kept, tmp_path):
    package = await add(kept, b"zip")
    detached = kept.detach([package.sha256, "unknown"])
    assert kept.known() == set()
    assert [place.exists() for place in detached] == [True]
    await add(kept, b"zip")
    await kept.erase(detached)
    assert kept.known() == {package.sha256}
    assert not list((tmp_path / "code/staging").iterdir())


async def test_merged_layers(kept):
    one, two = await add(kept, b"one"), await add(kept, b"two")
    assert await kept.merge([one.sha256]) == kept.tree_of(one.sha256)
    merged = await kept.merge([one.sha256, two.sha256])
    assert merged == kept.merged([one.sha256, two.sha256])
    assert (merged / "file").read_bytes() == b"two"
    assert sorted(path.name for path in (merged / "folder").iterdir()) == ["one", "two"]
    reverse = await kept.merge([two.sha256, one.sha256])
    assert (reverse / "file").read_bytes() == b"one"
    assert await kept.merge([one.sha256, two.sha256]) == merged


async def test_layers_that_disagree_on_kinds(tmp_path):
    async def unpack(zip_path, destination, limit):
        kind = zip_path.read_bytes()
        if kind == b"file":
            (destination / "x").write_text("file")
        elif kind == b"folder":
            (destination / "x").mkdir()
            (destination / "x/inner").touch()
        else:
            (destination / "target").mkdir()
            (destination / "x").symlink_to("target")
        return 1

    kept = code.CodeStore(tmp_path, unpack)
    names = {kind: (await add(kept, kind)).sha256 for kind in (b"file", b"folder", b"link")}
    merged = await kept.merge([names[b"folder"], names[b"file"]])
    assert (merged / "x").read_text() == "file"
    merged = await kept.merge([names[b"file"], names[b"folder"]])
    assert (merged / "x/inner").exists()
    merged = await kept.merge([names[b"folder"], names[b"link"]])
    assert (merged / "x").is_symlink()
    merged = await kept.merge([names[b"link"], names[b"folder"]])
    assert (merged / "x/inner").exists()
    assert not (kept.tree_of(names[b"link"]) / "target/inner").exists()
