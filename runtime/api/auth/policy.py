"""IAM-style policies: read once, strictly, and evaluated purely.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html, for one account: an explicit deny
wins; else any allow, of the caller's own policies or of the resource's, lets in; else nothing does.
"""

import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from runtime import errors
from runtime.api.auth import conditions, globs

VERSIONS = ("2012-10-17", "2008-10-17")

_Test = Callable[[str], bool]


class Decision(enum.Enum):
    """What policies say of a request."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "because no identity-based policy allows the {action} action"
    DENIED_BY_IDENTITY = "with an explicit deny in an identity-based policy"
    DENIED_BY_RESOURCE = "with an explicit deny in a resource-based policy"


class Asked(NamedTuple):
    """A request, as policies see it."""

    action: str
    resource: str
    who: frozenset[str]
    """The names of the caller."""
    facts: Callable[[], conditions.Facts]
    """Asked for only where a statement has conditions."""


class Statement:
    """One statement of a policy."""

    __slots__ = ("_action", "_conditions", "_principal", "_resource", "denies")

    def __init__(
        self,
        *,
        denies: bool,
        action: _Test,
        resource: _Test,
        conditions_: Sequence[conditions.Condition],
        principal: Callable[[frozenset[str]], bool] | None = None,
    ) -> None:
        self.denies = denies
        self._action = action
        self._resource = resource
        self._conditions = conditions_
        self._principal = principal

    def matches(self, asked: "Asked") -> bool:
        """Return whether the statement is about a request."""
        return (
            self._action(asked.action)
            and self._resource(asked.resource)
            and (self._principal is None or self._principal(asked.who))
            and (not self._conditions or self._holds(asked.facts()))
        )

    def _holds(self, facts: conditions.Facts) -> bool:
        return all(holds(facts) for holds in self._conditions)


class Policy:
    """A policy as it is evaluated."""

    __slots__ = ("allows", "denies")

    def __init__(self, statements: Iterable[Statement]) -> None:
        listed = tuple(statements)
        self.denies = tuple(one for one in listed if one.denies)
        self.allows = tuple(one for one in listed if not one.denies)


def parse(document: Any, where: str) -> Policy:
    """Return an identity-based policy, given as an object or as JSON; raise ConfigError naming what is wrong."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError as error:
            raise errors.ConfigError(f"{where}: the policy is not JSON: {error}") from None
    if not isinstance(document, Mapping):
        raise errors.ConfigError(f"{where}: a policy is an object with Version and Statement")
    unknown = document.keys() - {"Version", "Id", "Statement"}
    if unknown:
        raise errors.ConfigError(f"{where}: a policy has no {', '.join(sorted(unknown))}")
    if document.get("Version") not in VERSIONS:
        raise errors.ConfigError(f'{where}: Version must be "{VERSIONS[0]}"')
    statements = document.get("Statement")
    listed = statements if isinstance(statements, list | tuple) else [statements]
    return Policy(_statement(one, f"{where}, statement {index}") for index, one in enumerate(listed, 1))


def of_resource(statements: Iterable[Mapping[str, Any]], root_arn: str) -> Policy:
    """Return the policy on a resource, from statements that the API made. ``root_arn`` stands for the account."""
    return Policy(_resource_statement(one, root_arn) for one in statements)


def decide(identity: Sequence[Policy], resource_policy: Policy | None, asked: Asked) -> Decision:
    """Return whether a caller with these policies may do what they ask for, on a resource with that policy, if any."""
    if any(one.matches(asked) for policy in identity for one in policy.denies):
        return Decision.DENIED_BY_IDENTITY
    if resource_policy is not None and any(one.matches(asked) for one in resource_policy.denies):
        return Decision.DENIED_BY_RESOURCE
    if any(one.matches(asked) for policy in identity for one in policy.allows):
        return Decision.ALLOWED
    if resource_policy is not None and any(one.matches(asked) for one in resource_policy.allows):
        return Decision.ALLOWED
    return Decision.NOT_ALLOWED


_ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}


def _statement(given: Any, where: str) -> Statement:
    if not isinstance(given, Mapping):
        raise errors.ConfigError(f"{where}: a statement is an object")
    unknown = given.keys() - _ELEMENTS
    if unknown:
        raise errors.ConfigError(f"{where}: a statement has no {', '.join(sorted(unknown))}")
    if given.get("Effect") not in ("Allow", "Deny"):
        raise errors.ConfigError(f'{where}: Effect must be "Allow" or "Deny"')
    try:
        return Statement(
            denies=given["Effect"] == "Deny",
            action=_either(given, "Action", _action, where),
            resource=_either(given, "Resource", _resource, where),
            conditions_=conditions.parse(given.get("Condition", {}), strict=True),
        )
    except (ValueError, conditions.Unknown) as error:
        raise errors.ConfigError(f"{where}: {error}") from None


def _either(given: Mapping[str, Any], name: str, make: Callable[[str], _Test], where: str) -> _Test:
    """Return the test of an element, or that of its opposite: a statement has exactly one of both."""
    opposite = f"Not{name}"
    if (name in given) == (opposite in given):
        raise errors.ConfigError(f"{where}: exactly one of {name} and {opposite} is needed")
    found = _any(given.get(name, given.get(opposite)), make, name)
    return found if name in given else lambda value: not found(value)


def _any(given: Any, make: Callable[[str], _Test], name: str) -> _Test:
    patterns = given if isinstance(given, list | tuple) else [given]
    if not patterns or not all(isinstance(one, str) for one in patterns):
        raise ValueError(f"{name} must be a text or a list of texts")
    for pattern in patterns:
        if "${" in pattern:
            raise ValueError(f"{pattern!r}: policy variables are not offered")
    tests = [make(one) for one in patterns]
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def _action(pattern: str) -> _Test:
    service, colon, name = pattern.partition(":")
    if pattern != "*" and not (colon and service and name and "*" not in service):
        raise ValueError(f"{pattern!r} is not an action such as lambda:InvokeFunction")
    return globs.text(pattern, ignore_case=True)


def _resource(pattern: str) -> _Test:
    return (lambda _: True) if pattern == "*" else globs.arn(pattern)


def _resource_statement(given: Mapping[str, Any], root_arn: str) -> Statement:
    denies = given["Effect"] == "Deny"
    try:
        return Statement(
            denies=denies,
            action=_any(given["Action"], _action, "Action"),
            resource=_any(given["Resource"], _resource, "Resource"),
            conditions_=conditions.parse(given.get("Condition", {}), strict=False),
            principal=_principal(given["Principal"], root_arn, denies=denies),
        )
    except (ValueError, KeyError, conditions.Unknown):
        # What is not understood lets nobody in, and keeps out everybody.
        return Statement(denies=denies, action=lambda _: denies, resource=lambda _: denies, conditions_=())


def _principal(given: Any, root_arn: str, *, denies: bool) -> Callable[[frozenset[str]], bool]:
    """Return the test of a Principal against the names of a caller of this account.

    The account itself as principal allows nobody by itself: it leaves it to the account's identity-based policies,
    which are asked anyway. Denied, it is everybody.
    docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    named = given if isinstance(given, Mapping) else {"AWS": given}
    listed = named.get("AWS", [])
    names = frozenset([listed] if isinstance(listed, str) else listed)
    if "*" in names or (denies and root_arn in names):
        return lambda _: True
    return lambda who: not names.isdisjoint(who)
