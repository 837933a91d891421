"""The rules for published versions: immutable, numbered without gaps being filled, not made when nothing changed.

docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html
"""

import dataclasses

from runtime import errors, model
from runtime.registry import names, records, registry


async def publish(
    book: registry.Registry,
    ref: names.FunctionRef,
    *,
    code_sha256: str | None = None,
    description: str | None = None,
    revision_id: str | None = None,
) -> records.VersionRecord:
    """Publish $LATEST and return the version: the one there is where nothing changed since.

    ``code_sha256`` and ``revision_id`` are what the caller believes $LATEST to have; ``description`` replaces
    that of $LATEST.
    """
    async with book.ledger.lock:
        function = book.function(ref)
        latest = function.latest
        current = registry.base64_digest(latest.code.sha256)
        if code_sha256 and code_sha256 != current:
            raise errors.InvalidParameterValue(
                f"CodeSHA256 ({code_sha256}) is different from current CodeSHA256 in $LATEST ({current}). "
                "Please try again with the CodeSHA256 in $LATEST."
            )
        registry.check_revision(latest.revision_id, revision_id)
        present = unchanged(book, function)
        if present is not None:
            return present
        book.check_storage(latest.code.size)
        function, version = next_of(book, function, description)
        # Publishing gives $LATEST a new revision id, but does not change what it runs.
        latest = dataclasses.replace(latest, revision_id=book.new_id())
        function = dataclasses.replace(function, latest=latest)
        await book.ledger.save(function, [version], generations={version.number: version.generation})
    return version


def unchanged(book: registry.Registry, function: records.FunctionRecord) -> records.VersionRecord | None:
    """Return the version published last if $LATEST did not change since, else None."""
    if function.newest is None:
        return None
    newest = book.ledger.version(function.name, function.newest)
    same = newest is not None and newest.made_from == function.latest.digest
    return newest if same else None


def next_of(
    book: registry.Registry, function: records.FunctionRecord, description: str | None = None
) -> tuple[records.FunctionRecord, records.VersionRecord]:
    """Return a function with its next version published, and that version."""
    settings = function.latest.settings
    if description is not None:
        settings = {**settings, "Description": description}
    number = str(function.next_number)
    version = dataclasses.replace(
        function.latest,
        number=number,
        settings=settings,
        revision_id=book.new_id(),
        last_modified=book.now(),
        made_from=function.latest.digest,
    )
    return dataclasses.replace(function, newest=number, next_number=function.next_number + 1), version


async def delete(book: registry.Registry, function: records.FunctionRecord, number: str) -> None:
    """Delete a published version if it exists. The caller holds the ledger's lock."""
    version = book.ledger.version(function.name, number)
    if version is None or number == model.LATEST:
        return
    users = [alias.name for alias in function.aliases.values() if number in {alias.version, *alias.weights}]
    if users:
        raise errors.ResourceConflict(
            f"Unable to delete version because the following aliases reference it: [{', '.join(users)}]"
        )
    book.release(*version.packages)
    await book.ledger.save(function.without(number), without=[number], generations={number: None})
