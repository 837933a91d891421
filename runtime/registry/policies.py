"""The rules for resource policies: statements by id on a function, a version, an alias or a layer version.

A policy has no revision id of its own: it is that of what it belongs to, which changes with the policy.
docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from runtime import errors
from runtime.registry import names, records, registry

Statements = Mapping[str, Mapping[str, Any]]

SIZE_LIMIT = 20_480
"""Bytes: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, "Resource-based policy"."""
_STALE_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetPolicy API to retrieve the latest Revision Id"
)


def added(statements: Statements, sid: str, statement: Mapping[str, Any]) -> Statements:
    """Return statements with one more."""
    if sid in statements:
        raise errors.ResourceConflict(
            f"The statement id ({sid}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement."
        )
    grown = {**statements, sid: statement}
    size = len(document(grown).encode())
    if size > SIZE_LIMIT:
        raise errors.PolicyLengthExceeded(f"The final policy size ({size}) is bigger than the limit ({SIZE_LIMIT}).")
    return grown


def removed(statements: Statements, sid: str) -> Statements:
    """Return statements without one."""
    if not statements:
        raise errors.ResourceNotFound("No policy is associated with the given resource.")
    if sid not in statements:
        raise errors.ResourceNotFound(f"Statement {sid} is not found in resource policy.")
    return {key: statement for key, statement in statements.items() if key != sid}


def document(statements: Statements) -> str:
    """Return a policy as AWS writes it."""
    return text({"Version": "2012-10-17", "Id": "default", "Statement": list(statements.values())})


def text(statement: Mapping[str, Any]) -> str:
    """Return a statement, or a whole policy, as AWS writes it: a string of JSON."""
    return json.dumps(statement, separators=(",", ":"))


def get(book: registry.Registry, ref: names.FunctionRef) -> tuple[Statements, str]:
    """Return the statements on a function, version or alias, and the revision id; raise ResourceNotFound."""
    function = book.ledger.function(ref.name)
    statements = {} if function is None else function.policies.get(ref.qualifier or "", {})
    if function is None or not statements:
        raise errors.ResourceNotFound("The resource you requested does not exist.")
    return statements, _revision(book, function, ref)


async def add(
    book: registry.Registry,
    ref: names.FunctionRef,
    sid: str,
    statement: Mapping[str, Any],
    *,
    revision_id: str | None = None,
) -> None:
    """Add a statement to what the reference names."""
    async with book.ledger.lock:
        book.target(ref)
        function = book.function(ref)
        registry.check_revision(_revision(book, function, ref), revision_id, _STALE_REVISION)
        present = function.policies.get(ref.qualifier or "", {})
        await _save(book, function, ref, added(present, sid, statement))


async def remove(book: registry.Registry, ref: names.FunctionRef, sid: str, *, revision_id: str | None = None) -> None:
    """Remove a statement."""
    async with book.ledger.lock:
        function = book.ledger.function(ref.name)
        if function is None:
            raise errors.ResourceNotFound(f"No policy found for: {book.site.function_arn(ref.name, ref.qualifier)}")
        book.target(ref)
        left = removed(function.policies.get(ref.qualifier or "", {}), sid)
        registry.check_revision(_revision(book, function, ref), revision_id, _STALE_REVISION)
        await _save(book, function, ref, left)


def _revision(book: registry.Registry, function: records.FunctionRecord, ref: names.FunctionRef) -> str:
    alias = function.aliases.get(ref.qualifier or "")
    return book.resolve(ref).revision_id if alias is None else alias.revision_id


async def _save(
    book: registry.Registry, function: records.FunctionRecord, ref: names.FunctionRef, statements: Statements
) -> None:
    """Write a policy, and a new revision id for what it belongs to."""
    qualifier = ref.qualifier or ""
    policies = {key: policy for key, policy in function.policies.items() if key != qualifier}
    if statements:
        policies[qualifier] = statements
    function = dataclasses.replace(function, policies=policies)
    revision_id = book.new_id()
    if not qualifier:
        latest = dataclasses.replace(function.latest, revision_id=revision_id)
        await book.ledger.save(dataclasses.replace(function, latest=latest))
    elif qualifier in function.aliases:
        alias = dataclasses.replace(function.aliases[qualifier], revision_id=revision_id)
        await book.ledger.save(dataclasses.replace(function, aliases={**function.aliases, qualifier: alias}))
    else:
        version = dataclasses.replace(book.resolve(ref), revision_id=revision_id)
        await book.ledger.save(function, [version])
