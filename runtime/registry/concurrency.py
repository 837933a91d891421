"""The rules for reserved and provisioned concurrency, and what an account has left.

Reserved concurrency is taken from the account for one function, provisioned concurrency from the function's
reservation or else from the account; 100 must stay for functions without a reservation.
docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from runtime import errors, model
from runtime.registry import names, records, registry

UNRESERVED_MINIMUM = 100


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
        raise errors.InvalidParameterValue(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        )
    now = book.now()

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        assert ref.qualifier is not None
        _check_overlap(function, ref.qualifier)
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


def _provisioned(function: records.FunctionRecord) -> int:
    return sum(config["executions"] for config in function.provisioned.values())


def _check_overlap(function: records.FunctionRecord, qualifier: str) -> None:
    """Raise where a version would be provisioned twice, by its number and through an alias."""
    alias = function.aliases.get(qualifier)
    if alias is not None and alias.version in function.provisioned:
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
