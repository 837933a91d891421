"""The rules for reserved and provisioned concurrency, and what an account has left.

Reserved concurrency is taken from the account for one function, provisioned concurrency from the function's
reservation or else from the account; 100 must stay for functions without a reservation.
docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

import collections
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from runtime import errors, model
from runtime.registry import names, records, registry

UNRESERVED_MINIMUM = 100
_UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."


def unreserved(book: registry.Registry, account: int, *, besides: str | None = None) -> int:
    """Return what of the account's concurrency is not reserved, or provisioned outside of a reservation.

    ``besides`` names a function that is left out of the account.
    """
    taken = 0
    for name, reserved, provisioned in book.ledger.concurrency():
        if name != besides:
            taken += provisioned if reserved is None else reserved
    return account - taken


async def reserve(book: registry.Registry, ref: names.FunctionRef, executions: int, account: int) -> None:
    """Reserve concurrency for a function; 0 turns it off."""

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        provisioned = _provisioned(function)
        if executions < provisioned:
            raise errors.InvalidParameterValue(
                f" ReservedConcurrentExecutions  {executions} should not be lower than function's total "
                f"provisioned concurrency [{provisioned}].",
                type_=None,
            )
        least = min(UNRESERVED_MINIMUM, account)
        if unreserved(book, account, besides=function.name) - executions < least:
            raise errors.InvalidParameterValue(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{least}].",
                type_=None,
            )
        return dataclasses.replace(function, reserved_concurrency=executions)

    await book.change(ref, decide)


async def unreserve(book: registry.Registry, ref: names.FunctionRef) -> None:
    """Give a function's reservation back, if it has one."""
    await book.change(ref, lambda function: dataclasses.replace(function, reserved_concurrency=None))


async def provision(book: registry.Registry, ref: names.FunctionRef, executions: int, account: int) -> str:
    """Have workers of a version or alias kept ready; return when that was asked for, as AWS writes it."""
    if ref.qualifier == model.LATEST:
        raise errors.InvalidParameterValue(_UNPUBLISHED)
    now = book.now()

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        assert ref.qualifier is not None
        alias = function.aliases.get(ref.qualifier)
        if alias is not None and alias.weights:
            raise errors.InvalidParameterValue("Invalid alias configuration for Provisioned Concurrency")
        check_targets(book, function, ref.qualifier)
        others = {key: config for key, config in function.provisioned.items() if key != ref.qualifier}
        changed = dataclasses.replace(
            function, provisioned={**others, ref.qualifier: {"executions": executions, "last_modified": now}}
        )
        _check_room(book, changed, executions, account)
        return changed

    book.target(ref)
    await book.change(ref, decide)
    return now


def provisioned(book: registry.Registry, ref: names.FunctionRef) -> Mapping[str, Any]:
    """Return what is provisioned for a version or alias: "executions" and "last_modified"."""
    config = _checked(book, ref).provisioned.get(ref.qualifier or "")
    if config is None:
        raise errors.ProvisionedConcurrencyConfigNotFound
    return config


async def unprovision(book: registry.Registry, ref: names.FunctionRef) -> None:
    """Stop keeping workers ready; nothing provisioned is no error."""
    _checked(book, ref)

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        kept = {key: config for key, config in function.provisioned.items() if key != ref.qualifier}
        return dataclasses.replace(function, provisioned=kept)

    await book.change(ref, decide)


def _checked(book: registry.Registry, ref: names.FunctionRef) -> records.FunctionRecord:
    if ref.qualifier == model.LATEST:
        raise errors.InvalidParameterValue("The function resource provided must be an alias or a published version.")
    book.target(ref)
    return book.function(ref)


def shares(function: records.FunctionRecord, qualifier: str) -> dict[str, int]:
    """Return how many workers of which versions are to be held for a qualifier that is provisioned.

    An alias's go to the version it points to; of one with a weight, the second version gets its share.
    """
    count: int = function.provisioned[qualifier]["executions"]
    alias = function.aliases.get(qualifier)
    if alias is None:
        return {qualifier: count}
    shared = {number: math.ceil(count * weight) for number, weight in alias.weights.items()}
    found = {alias.version: count - sum(shared.values()), **shared}
    return {number: share for number, share in found.items() if share}


def wanted(function: records.FunctionRecord) -> dict[str, int]:
    """Return how many workers of which versions of a function are to be held, for all its qualifiers."""
    total: collections.Counter[str] = collections.Counter()
    for qualifier in function.provisioned:
        total.update(shares(function, qualifier))
    return dict(total)


def check_targets(book: registry.Registry, function: records.FunctionRecord, qualifier: str) -> None:
    """Raise where what a qualifier means can have no provisioned concurrency, or has it already by another name."""
    _check_overlap(function, qualifier)
    alias = function.aliases.get(qualifier)
    for number in {qualifier} if alias is None else {alias.version, *alias.weights}:
        if number == model.LATEST:
            raise errors.InvalidParameterValue(_UNPUBLISHED)
        settings = book.resolve(names.FunctionRef(name=function.name, qualifier=number)).settings
        # AWS refuses these, too; the words are ours.
        if settings["SnapStart"]["ApplyOn"] != "None":
            raise errors.InvalidParameterValue("Provisioned Concurrency is not supported for functions with SnapStart.")
        if settings.get("TenancyConfig"):
            raise errors.InvalidParameterValue(
                "Provisioned Concurrency is not supported for functions with tenant isolation."
            )


def _provisioned(function: records.FunctionRecord) -> int:
    return sum(config["executions"] for config in function.provisioned.values())


def _check_overlap(function: records.FunctionRecord, qualifier: str) -> None:
    """Raise where a version would be provisioned twice, by its number and through an alias."""
    alias = function.aliases.get(qualifier)
    if alias is not None and {alias.version, *alias.weights} & function.provisioned.keys():
        raise errors.ResourceConflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        )
    pointing = {other.name for other in function.aliases.values() if other.version == qualifier}
    if alias is None and pointing & function.provisioned.keys():
        raise errors.ResourceConflict("Version is pointed by a Provisioned Concurrency alias")


def _check_room(book: registry.Registry, function: records.FunctionRecord, executions: int, account: int) -> None:
    total = _provisioned(function)
    if function.reserved_concurrency is not None:
        if total > function.reserved_concurrency:
            raise errors.InvalidParameterValue(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
                "for function"
            )
        return
    room = unreserved(book, account, besides=function.name) - (total - executions)
    if executions > room:
        raise errors.InvalidParameterValue(
            f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{room}].",
            type_=None,
        )
    least = min(UNRESERVED_MINIMUM, account)
    if room - executions < least:
        raise errors.InvalidParameterValue(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
            f"its minimum value of [{least}].",
            type_=None,
        )
