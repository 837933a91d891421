"""The registry's rules: states, revisions, generations, events, routes, concurrency of changes, garbage."""

import asyncio
import dataclasses

import pytest
import registry_fixtures as fixtures

from runtime import errors
from runtime.registry import aliases, functions, layers, names, store, versions

F, SETTINGS = fixtures.F, fixtures.SETTINGS


@pytest.fixture
def book(tmp_path):
    return fixtures.make(tmp_path)


@pytest.fixture
def changes(book):
    heard = []
    book.subscribe(heard.append)
    return heard


async def create(book, name="f", data=b"zip", **kwargs):
    return await functions.create(book, name, SETTINGS, data, **kwargs)


async def test_creation_shows_pending_and_keeps_active(book):
    shown = await create(book)
    kept = book.resolve(F)
    assert (shown.state, shown.update_status) == ("Pending", "")
    assert (kept.state, kept.update_status) == ("Active", "Successful")
    assert shown.revision_id != kept.revision_id
    assert kept.last_modified.startswith("2023-11-14T22:13:20.")
    assert kept.last_modified.endswith("+0000")


async def test_a_version_to_run(book):
    await create(book, tags={"team": "x"})
    version = book.version("f", None)
    assert version.environment == {"KEY": "value"}
    assert version.function_arn == "arn:aws:lambda:us-east-1:000000000000:function:f"
    assert (version.memory_mb, version.timeout_s, version.tags) == (128, 3, {"team": "x"})
    with open(f"{version.code_path}/file", "rb") as file:  # noqa: PTH123, ASYNC230 - a test
        assert file.read() == b"zip"
    assert book.version("f", "$LATEST") == version
    assert book.version("f", None) is version


async def test_a_generation_is_new_only_with_new_content(book, changes):
    await create(book)
    first = book.version("f", None).generation
    await functions.update_settings(book, F, dict)
    assert book.version("f", None).generation == first
    assert dict(changes[-1].generations) == {}
    await functions.update_settings(book, F, lambda settings: {**settings, "Timeout": 4})
    second = book.version("f", None).generation
    assert second != first
    assert dict(changes[-1].generations) == {"$LATEST": second}
    await functions.update_code(book, F, b"other zip")
    assert book.version("f", None).generation not in {first, second}
    await book.change(F, lambda function: dataclasses.replace(function, tags={"a": "b"}))
    assert dict(changes[-1].generations) == {}
    assert book.version("f", None).tags == {"a": "b"}


async def test_two_updates_at_once(book):
    await create(book)
    async with book.updating("f"):
        with pytest.raises(errors.ResourceConflict, match="An update is in progress for resource: arn:aws:lambda"):
            await functions.update_code(book, F, b"x")
        with pytest.raises(errors.ResourceConflict):
            await functions.update_settings(book, F, dict)
    await functions.update_code(book, F, b"x")


async def test_a_bad_zip_changes_nothing(book, changes):
    await create(book)
    before = book.resolve(F)
    changes.clear()
    with pytest.raises(errors.InvalidParameterValue):
        await functions.update_code(book, F, b"bad")
    with pytest.raises(errors.InvalidParameterValue):
        await create(book, "g", b"bad")
    assert book.resolve(F) == before
    assert changes == []
    assert book.ledger.function("g") is None


async def test_a_cancelled_caller_leaves_memory_and_store_in_step(tmp_path):
    kept = SlowStore()
    book = fixtures.make(tmp_path, kept)
    kept.release()
    await create(book)
    kept.hold()
    async with asyncio.TaskGroup() as tasks:
        update = tasks.create_task(functions.update_settings(book, F, lambda settings: {**settings, "Timeout": 9}))
        await kept.asked.wait()
        update.cancel()
        await asyncio.sleep(0)
        assert not update.done()
        assert book.version("f", None).timeout_s == 3
        kept.release()
    assert update.cancelled()
    assert book.version("f", None).timeout_s == 9
    assert fixtures.make(tmp_path, kept).version("f", None).timeout_s == 9


class SlowStore(store.MemoryStore):
    """A store whose writes are confirmed when the test says so."""

    def __init__(self):
        super().__init__()
        self.asked = asyncio.Event()
        self._waiting = None
        self._held = True

    def hold(self):
        self._held = True
        self.asked.clear()

    def release(self):
        self._held = False
        if self._waiting is not None:
            self._waiting.set_result(None)
            self._waiting = None

    def commit(self, writes):
        done = super().commit(writes)
        self.asked.set()
        if self._held:
            self._waiting = done = asyncio.get_running_loop().create_future()
        return done


async def test_a_store_that_fails_changes_nothing(tmp_path):
    class Full(store.MemoryStore):
        full = False

        def commit(self, writes):
            if not self.full:
                return super().commit(writes)
            future = asyncio.get_running_loop().create_future()
            future.set_exception(OSError("no space left on device"))
            return future

    kept = Full()
    book = fixtures.make(tmp_path, kept)
    await create(book)
    kept.full = True
    with pytest.raises(OSError, match="no space"):
        await functions.update_settings(book, F, lambda settings: {**settings, "Timeout": 9})
    assert book.version("f", None).timeout_s == 3
    kept.full = False
    await functions.update_settings(book, F, lambda settings: {**settings, "Timeout": 9})
    assert book.version("f", None).timeout_s == 9


async def test_garbage_is_collected_when_nothing_refers_to_it_and_nobody_runs_it(book):
    await create(book, data=b"one")
    first = book.code.tree_of(book.resolve(F).code.sha256)
    await functions.update_code(book, F, b"two")
    assert await book.collect(busy=lambda: [first])
    assert first.exists()
    with book.code.held(first.parent.name):
        assert await book.collect()
    assert first.exists()
    assert not await book.collect()
    assert not first.exists()
    await create(book, "g", b"two")
    await functions.delete(book, F)
    await book.collect()
    second = book.code.tree_of(book.resolve(names.FunctionRef(name="g")).code.sha256)
    assert second.exists()
    await functions.delete(book, names.FunctionRef(name="g"))
    await book.collect()
    assert not book.code.known()


async def test_at_start_everything_is_looked_at(tmp_path):
    kept = store.MemoryStore()
    book = fixtures.make(tmp_path, kept)
    await create(book, data=b"one")
    await functions.update_code(book, F, b"two", dry_run=True)
    assert len(book.code.known()) == 2
    again = fixtures.make(tmp_path, kept)
    await again.collect(everything=True)
    assert again.code.known() == {again.resolve(F).code.sha256}


async def test_versions_keep_their_code(book):
    await create(book, data=b"one", publish=True)
    await functions.update_code(book, F, b"two")
    await book.collect()
    assert len(book.code.known()) == 2
    await functions.delete(book, names.FunctionRef(name="f", qualifier="1"))
    await book.collect()
    assert len(book.code.known()) == 1


async def test_layers_are_merged_and_kept_with_the_function(book):
    arns = []
    for name in ("a", "b"):
        version = await layers.publish(book, name, name.encode())
        arns.append(book.site.layer_arn(name, version.number))
    await create(book, layers=layers.referred(book, arns))
    merged = book.version("f", None).layer_path
    for name in ("a", "b"):
        await layers.delete(book, name, 1)
    await book.collect(everything=True)
    assert book.version("f", None).layer_path == merged
    assert len(book.code.known()) == 4
    await functions.update_settings(book, F, dict, layers=[])
    await book.collect()
    assert len(book.code.known()) == 1


async def test_sizes_with_layers(book, monkeypatch):
    monkeypatch.setattr("runtime.registry.unpacking.UNPACKED_LIMIT", 10)
    for name, data in (("a", b"12345"), ("b", b"123456")):
        await layers.publish(book, name, data)
    a, b = (layers.referred(book, [book.site.layer_arn(name, 1)]) for name in ("a", "b"))
    with pytest.raises(errors.InvalidParameterValue, match="Layers consume more than the available size of 10 bytes"):
        await create(book, layers=a + b)
    with pytest.raises(errors.InvalidParameterValue, match=r"combined with layers .* The actual size is 11 bytes"):
        await create(book, data=b"123456", layers=a)
    await create(book, data=b"12345", layers=a)
    with pytest.raises(errors.InvalidParameterValue, match="The actual size is 11 bytes"):
        await functions.update_code(book, F, b"654321")
    with pytest.raises(errors.InvalidParameterValue, match="The actual size is 11 bytes"):
        await functions.update_settings(book, F, dict, layers=b)


async def test_routes_are_dropped_with_each_change(book):
    await create(book, publish=True)
    await functions.update_settings(book, F, lambda settings: {**settings, "Timeout": 4})
    await versions.publish(book, F)
    await aliases.create(book, "f", "live", "1")
    assert book.version("f", "live").version == "1"
    await aliases.update(book, "f", "live", version="2")
    assert book.version("f", "live").version == "2"
    await aliases.delete(book, "f", "live")
    with pytest.raises(errors.ResourceNotFound):
        book.version("f", "live")
    await book.change(F, lambda function: dataclasses.replace(function, reserved_concurrency=3))
    assert book.route("f", "2").reserved_concurrency == 3
    await functions.delete(book, F)
    for qualifier in (None, "1", "2"):
        with pytest.raises(errors.ResourceNotFound):
            book.version("f", qualifier)


async def test_all_of_it_survives_a_restart(tmp_path):
    kept = store.MemoryStore()
    book = fixtures.make(tmp_path, kept)
    await create(book, publish=True, tags={"a": "b"})
    await functions.update_settings(book, F, lambda settings: {**settings, "Timeout": 4})
    await versions.publish(book, F, description="two")
    await aliases.create(book, "f", "live", "1", weights={"2": 0.5})
    await book.change(F, lambda function: dataclasses.replace(function, reserved_concurrency=3))
    again = fixtures.make(tmp_path, kept)
    assert again.ledger.function("f") == book.ledger.function("f")
    assert again.ledger.versions("f") == book.ledger.versions("f")
    assert again.route("f", "live") == book.route("f", "live")
    assert list(again.ledger.concurrency()) == [("f", 3, 0)]


async def test_memory_is_bounded(tmp_path, monkeypatch):
    book = fixtures.make(tmp_path)
    monkeypatch.setattr(book, "_routes", type(book._routes)(size=3))
    for number in range(10):
        await create(book, f"f{number}", b"same zip")
    for number in range(10):
        assert book.version(f"f{number}", None).function_name == f"f{number}"
    assert len(book._routes._entries) == 3
    assert sum(len(each) for each in book._routed.values()) == 3


async def test_an_account_has_so_much_storage(book, monkeypatch):
    monkeypatch.setattr("runtime.registry.registry.CODE_STORAGE", 8)
    await create(book, data=b"1234")
    with pytest.raises(errors.CodeStorageExceeded):
        await create(book, "g", b"12345")
    with pytest.raises(errors.CodeStorageExceeded):
        await layers.publish(book, "layer", b"12345")
    with pytest.raises(errors.CodeStorageExceeded):
        await create(book, "g", b"123", publish=True)
    await versions.publish(book, F)
    await functions.update_settings(book, F, lambda settings: {**settings, "Timeout": 4})
    with pytest.raises(errors.CodeStorageExceeded):
        await versions.publish(book, F)


async def test_code_that_is_as_published_is_not_published_again(book):
    await create(book, publish=True)
    shown = await functions.update_code(book, F, b"zip", publish=True)
    assert (shown.number, shown.state) == ("1", "Active")
