"""The rules for layers: numbered versions of packages that functions share.

Numbers are never used again, not even when all versions are gone. A function keeps the packages that it refers to,
also of layer versions that were deleted. docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence

from runtime import errors
from runtime.registry import ledger, names, policies, records, registry, store, unpacking

_MOST = 5
"""Layers of a function: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
_PAGE = 1000
_STALE_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetLayerPolicy API to retrieve the latest Revision Id"
)


async def publish(
    book: registry.Registry,
    name: str,
    zip_file: bytes,
    *,
    description: str = "",
    license_info: str | None = None,
    runtimes: Sequence[str] | None = None,
    architectures: Sequence[str] | None = None,
) -> records.LayerVersionRecord:
    """Add a version to a layer, which is made if need be."""
    async with book.code.stage(zip_file, unpacking.UNPACKED_LIMIT) as package, book.ledger.lock:
        book.release(package.sha256)
        book.check_storage(package.size)
        counter = store.Key(ledger.LAYER, name)
        known = book.ledger.store.get(counter)
        number = 1 if known is None else json.loads(known)
        version = records.LayerVersionRecord(
            name=name,
            number=number,
            code=package,
            description=description,
            license_info=license_info,
            runtimes=None if runtimes is None else tuple(runtimes),
            architectures=None if architectures is None else tuple(architectures),
            created=book.now(),
        )
        following = store.Document(body=json.dumps(number + 1).encode())
        await _commit(book, [_put(version), store.Write(counter, following)])
    return version


def get(book: registry.Registry, name: str, number: int) -> records.LayerVersionRecord:
    """Return a layer version; raise ResourceNotFound."""
    _check_number(number)
    version = _find(book, name, number)
    if version is None:
        raise errors.ResourceNotFound("The resource you requested does not exist.")
    return version


def versions(book: registry.Registry, name: str) -> list[records.LayerVersionRecord]:
    """Return all versions of a layer, newest first; none where the layer is unknown."""
    found: list[records.LayerVersionRecord] = []
    after: store.Key | None = None
    while rows := book.ledger.store.scan(ledger.LAYER_VERSION, name, after=after, limit=_PAGE):
        found += [records.decode_layer(row.body) for row in rows]
        after = rows[-1].key
    return found[::-1]


def names_of(book: registry.Registry) -> Iterator[str]:
    """Yield the names of all layers that ever were, in order."""
    after: store.Key | None = None
    while rows := book.ledger.store.scan(ledger.LAYER, after=after, limit=_PAGE):
        yield from (row.key.name for row in rows)
        after = rows[-1].key


async def delete(book: registry.Registry, name: str, number: int) -> None:
    """Delete a layer version; one that does not exist is no error."""
    _check_number(number)
    async with book.ledger.lock:
        version = _find(book, name, number)
        if version is not None:
            book.release(version.code.sha256)
            await _commit(book, [store.Write(_key(name, number), None)])


def referred(book: registry.Registry, arns: Sequence[str]) -> list[records.Layer]:
    """Return the layers that a function is to have, named by ARNs of layer versions, lowest first."""
    if len(arns) > _MOST:
        raise errors.InvalidParameterValue(f"Cannot reference more than {_MOST} layers.")
    found: dict[str, names.LayerRef] = {}
    layers = []
    for arn in arns:
        ref = book.site.layer_version(arn)
        version = _find(book, ref.name, ref.version)
        if version is None:
            raise errors.InvalidParameterValue(f"Layer version {arn} does not exist.")
        if ref.name in found:
            raise errors.InvalidParameterValue(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{found[ref.name].arn} and {arn} are versions of the same layer."
            )
        found[ref.name] = ref
        layers.append(records.Layer(arn=arn, code=version.code))
    return layers


def policy(book: registry.Registry, name: str, number: int) -> records.LayerVersionRecord:
    """Return a layer version that has a policy; raise ResourceNotFound."""
    version = _existing(book, name, number)
    if not version.policy:
        raise errors.ResourceNotFound("No policy is associated with the given resource.")
    return version


async def change_policy(
    book: registry.Registry, name: str, number: int, sid: str, statement: object, *, revision_id: str | None
) -> records.LayerVersionRecord:
    """Add a statement to a layer version's policy, or remove it where ``statement`` is None."""
    async with book.ledger.lock:
        version = _existing(book, name, number)
        if statement is None:
            statements = policies.removed(version.policy, sid)
            registry.check_revision(version.revision_id, revision_id, _STALE_REVISION)
        else:
            registry.check_revision(version.revision_id, revision_id, _STALE_REVISION)
            assert isinstance(statement, dict)
            statements = policies.added(version.policy, sid, statement)
        changed = dataclasses.replace(version, policy=statements, revision_id=book.new_id())
        await _commit(book, [_put(changed)])
    return changed


def _check_number(number: int) -> None:
    if number < 1:
        raise errors.InvalidParameterValue("Layer Version Cannot be less than 1")


def _find(book: registry.Registry, name: str, number: int) -> records.LayerVersionRecord | None:
    body = book.ledger.store.get(_key(name, number))
    return None if body is None else records.decode_layer(body)


def _existing(book: registry.Registry, name: str, number: int) -> records.LayerVersionRecord:
    version = _find(book, name, number)
    if version is None:
        raise errors.ResourceNotFound(f"Layer version {book.site.layer_arn(name, number)} does not exist.")
    return version


def _key(name: str, number: int) -> store.Key:
    return store.Key(ledger.LAYER_VERSION, name, str(number).rjust(12, "0"))


def _put(version: records.LayerVersionRecord) -> store.Write:
    code = version.code
    document = store.Document(body=records.encode(version), packages=(code.sha256,), code_bytes=code.size)
    return store.Write(_key(version.name, version.number), document)


async def _commit(book: registry.Registry, writes: Sequence[store.Write]) -> None:
    cancelled = await ledger.settled(book.ledger.store.commit(writes))
    if cancelled:
        raise cancelled
