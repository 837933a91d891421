"""The rules for aliases: names for versions, one of them or two with a weight.

docs.aws.amazon.com/lambda/latest/dg/configuration-aliases.html
"""

import dataclasses
from collections.abc import Mapping

from runtime import errors, model
from runtime.registry import concurrency, names, records, registry

MOST = 1000
"""Aliases of a function. AWS has a limit, and an error for it, but does not publish the number."""


def get(book: registry.Registry, function_name: str, name: str) -> records.AliasRecord:
    """Return an alias; raise ResourceNotFound, as GetAlias words it."""
    function = book.ledger.function(function_name)
    alias = None if function is None else function.aliases.get(name)
    if alias is None:
        raise errors.ResourceNotFound(f"Cannot find alias arn: {book.site.function_arn(function_name, name)}")
    return alias


async def create(
    book: registry.Registry,
    function_name: str,
    name: str,
    version: str,
    *,
    description: str = "",
    weights: Mapping[str, float] | None = None,
) -> records.AliasRecord:
    """Point a new alias to a version."""
    alias = records.AliasRecord(
        name=name, version=version, revision_id=book.new_id(), description=description, weights=weights or {}
    )

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        _check(book, function.name, alias)
        if name in function.aliases:
            arn = book.site.function_arn(function_name, name)
            raise errors.ResourceConflict(f"Alias already exists: {arn}")
        if len(function.aliases) >= MOST:
            raise errors.AliasLimitExceeded(
                "Lambda couldn't create the alias because your Amazon Web Services account has exceeded the maximum "
                "number of aliases allowed per Lambda function."
            )
        return dataclasses.replace(function, aliases={**function.aliases, name: alias})

    await book.change(names.FunctionRef(name=function_name, qualifier=version), decide)
    return alias


async def update(
    book: registry.Registry,
    function_name: str,
    name: str,
    *,
    version: str | None = None,
    description: str | None = None,
    weights: Mapping[str, float] | None = None,
    revision_id: str | None = None,
) -> records.AliasRecord:
    """Change what is given of an alias, and its revision id in any case."""

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        alias = function.aliases.get(name)
        if alias is None:
            raise errors.ResourceNotFound(f"Alias not found: {book.site.function_arn(function_name, name)}")
        registry.check_revision(alias.revision_id, revision_id)
        changed = records.AliasRecord(
            name=name,
            version=alias.version if version is None else version,
            revision_id=book.new_id(),
            description=alias.description if description is None else description,
            weights=alias.weights if weights is None else weights,
        )
        _check(book, function_name, changed)
        function = dataclasses.replace(function, aliases={**function.aliases, name: changed})
        if name in function.provisioned:
            concurrency.check_targets(book, function, name)
        return function

    function = await book.change(names.FunctionRef(name=function_name), decide)
    return function.aliases[name]


async def delete(book: registry.Registry, function_name: str, name: str) -> None:
    """Delete an alias, and what was configured for it; one that does not exist is no error."""

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        kept = {key: alias for key, alias in function.aliases.items() if key != name}
        return dataclasses.replace(function.without(name), aliases=kept)

    await book.change(names.FunctionRef(name=function_name), decide)


def _check(book: registry.Registry, function_name: str, alias: records.AliasRecord) -> None:
    """Raise where an alias may not be as it is."""
    if len(alias.weights) > 1:
        raise errors.InvalidParameterValue("Number of items in AdditionalVersionWeights cannot be greater than 1")
    for number in alias.weights:
        if model.LATEST in (alias.version, number):
            raise errors.InvalidParameterValue(
                "$LATEST is not supported for an alias pointing to more than 1 version", type_=None
            )
        if number == alias.version:
            raise errors.InvalidParameterValue(
                f"Invalid function version {number}. "
                f"Function version {number} is already included in routing configuration."
            )
    for number in (alias.version, *alias.weights):
        book.resolve(names.FunctionRef(name=function_name, qualifier=number))
