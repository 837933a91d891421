"""The rules for functions: create, update, delete. Each takes the registry, and answers as AWS does."""

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from runtime import errors, model
from runtime.registry import names, records, registry, unpacking, versions

Layers = Sequence[records.Layer]


async def create(
    book: registry.Registry,
    name: str,
    settings: Mapping[str, Any],
    zip_file: bytes,
    *,
    layers: Layers = (),
    tags: Mapping[str, str] | None = None,
    publish: bool = False,
) -> records.VersionRecord:
    """Create a function; return $LATEST, or version 1 where it is published at once, as while being created."""
    _check_free(book, name)
    async with (
        book.updating(name),
        _merged(book, layers) as layer_size,
        book.code.stage(zip_file, unpacking.UNPACKED_LIMIT) as package,
    ):
        book.release(package.sha256)
        _check_size(package, layer_size)
        latest = records.VersionRecord(
            function=name,
            number=model.LATEST,
            settings=settings,
            code=package,
            layers=tuple(layers),
            revision_id=book.new_id(),
            generation=book.new_id(),
            last_modified=book.now(),
        )
        function = records.FunctionRecord(latest=latest, tags=tags or {})
        shown, generations, published = latest, {model.LATEST: latest.generation}, []
        if publish:
            function, shown = versions.next_of(book, function)
            published, generations["1"] = [shown], shown.generation
        async with book.ledger.lock:
            _check_free(book, name)
            book.check_storage(package.size * (1 + len(published)))
            await book.ledger.save(function, published, generations=generations)
    return dataclasses.replace(shown, state="Pending", update_status="", revision_id=book.new_id())


async def update_code(
    book: registry.Registry,
    ref: names.FunctionRef,
    zip_file: bytes,
    architectures: Sequence[str] | None = None,
    *,
    revision_id: str | None = None,
    publish: bool = False,
    dry_run: bool = False,
) -> records.VersionRecord:
    """Give $LATEST new code; return it as during the update, or the version that is published of it."""
    before = book.function(ref).latest
    registry.check_revision(before.revision_id, revision_id)
    async with book.updating(ref.name), book.code.stage(zip_file, unpacking.UNPACKED_LIMIT) as package:
        book.release(package.sha256)
        async with book.ledger.lock:
            book.check_storage(package.size)
            function = book.function(ref)
            latest = function.latest
            registry.check_revision(latest.revision_id, revision_id)
            _check_size(package, sum(layer.code.unpacked_size for layer in latest.layers))
            settings = latest.settings
            if architectures:
                settings = {**settings, "Architectures": list(architectures)}
            changed = dataclasses.replace(latest, code=package, settings=settings)
            if dry_run:
                return changed
            return await _replace(book, function, changed, publish=publish)


async def update_settings(
    book: registry.Registry,
    ref: names.FunctionRef,
    change: Callable[[records.Settings], Mapping[str, Any]],
    *,
    layers: Layers | None = None,
    revision_id: str | None = None,
) -> records.VersionRecord:
    """Give $LATEST the settings that ``change`` makes of the present ones; return it as during the update.

    ``layers`` replace the present ones; None leaves them.
    """
    before = book.function(ref).latest
    registry.check_revision(before.revision_id, revision_id)
    async with book.updating(ref.name), _merged(book, layers or ()) as layer_size, book.ledger.lock:
        function = book.function(ref)
        latest = function.latest
        registry.check_revision(latest.revision_id, revision_id)
        changed = dataclasses.replace(latest, settings=change(latest.settings))
        if layers is not None:
            _check_size(latest.code, layer_size)
            changed = dataclasses.replace(changed, layers=tuple(layers))
        return await _replace(book, function, changed, publish=False)


async def _replace(
    book: registry.Registry, function: records.FunctionRecord, changed: records.VersionRecord, *, publish: bool
) -> records.VersionRecord:
    """Put ``changed`` in the place of $LATEST."""
    before = function.latest
    generation = before.generation if changed.digest == before.digest else book.new_id()
    latest = dataclasses.replace(changed, revision_id=book.new_id(), generation=generation, last_modified=book.now())
    function = dataclasses.replace(function, latest=latest)
    generations: dict[str, str | None] = {}
    if generation != before.generation:
        generations[model.LATEST] = generation
        book.release(*before.packages)
    if not publish:
        await book.ledger.save(function, generations=generations)
        return dataclasses.replace(latest, update_status="InProgress", revision_id=book.new_id())
    present = versions.unchanged(book, function)
    if present is not None:
        await book.ledger.save(function, generations=generations)
        return present
    function, version = versions.next_of(book, function)
    await book.ledger.save(function, [version], generations={**generations, version.number: version.generation})
    return dataclasses.replace(version, state="Pending", update_status="")


async def delete(book: registry.Registry, ref: names.FunctionRef) -> None:
    """Delete a function with its versions and aliases, or the one version that the reference names.

    A version that does not exist is no error. Raises ResourceConflict for one that an alias points to.
    """
    if ref.qualifier is not None and not names.is_version(ref.qualifier):
        raise errors.InvalidParameterValue("Deletion of aliases is not currently supported.")
    if ref.qualifier == model.LATEST:
        raise errors.InvalidParameterValue("$LATEST version cannot be deleted without deleting the function.")
    async with book.ledger.lock:
        function = book.function(names.FunctionRef(name=ref.name))
        if ref.qualifier is not None:
            await versions.delete(book, function, ref.qualifier)
            return
        for version in (function.latest, *book.ledger.all_versions(ref.name)):
            book.release(*version.packages)
        await book.ledger.remove(function)


def _check_free(book: registry.Registry, name: str) -> None:
    if book.ledger.function(name) is not None:
        raise errors.ResourceConflict(f"Function already exist: {name}")


@asynccontextmanager
async def _merged(book: registry.Registry, layers: Layers) -> AsyncIterator[int]:
    """Have the layers' merged folder made, and keep it while the block runs; yield the bytes in all of them."""
    size = sum(layer.code.unpacked_size for layer in layers)
    if size > unpacking.UNPACKED_LIMIT:
        raise errors.InvalidParameterValue(
            f"Layers consume more than the available size of {unpacking.UNPACKED_LIMIT} bytes"
        )
    packages = [layer.code.sha256 for layer in layers]
    with book.code.held(*packages, records.merged_name(packages)):
        if layers:
            await book.code.merge(packages)
            book.release(records.merged_name(packages))
        yield size


def _check_size(package: records.Code, layer_size: int) -> None:
    total = package.unpacked_size + layer_size
    if total > unpacking.UNPACKED_LIMIT:
        raise errors.InvalidParameterValue(
            "Function code combined with layers exceeds the maximum allowed size of "
            f"{unpacking.UNPACKED_LIMIT} bytes. The actual size is {total} bytes."
        )
