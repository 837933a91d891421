"""The conditions of a policy's statements: pure.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html. A small set: what is
not known is refused when a policy is read, because a condition that is not looked at would let in, or keep out, others
than its author meant.
"""

import datetime as dt
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from runtime.api.auth import globs

Facts: TypeAlias = Mapping[str, str]
"""What is known of a request, by condition key in lower case."""
Condition: TypeAlias = Callable[[Facts], bool]
_Match: TypeAlias = Callable[[str], bool]

KEYS = {
    name.lower(): name
    for name in (
        *("aws:CurrentTime", "aws:EpochTime", "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalType"),
        *("aws:RequestedRegion", "aws:SecureTransport", "aws:SourceIp", "aws:username", "lambda:FunctionArn"),
    )
}
"""The condition keys that requests have here (some only have some)."""


class Unknown(Exception):
    """A condition that is not understood; the message says what of it."""


def parse(document: Any, *, strict: bool) -> tuple[Condition, ...]:
    """Return the conditions of a statement, all of which must hold; raise Unknown.

    ``strict`` refuses keys that no request has; otherwise they are like any key that a request lacks.
    """
    if not isinstance(document, Mapping):
        raise Unknown("Condition must be an object")
    found = []
    for operator, members in document.items():
        if not isinstance(members, Mapping):
            raise Unknown(f"{operator} must be an object")
        for key, given in members.items():
            if strict and key.lower() not in KEYS:
                raise Unknown(f"the condition key {key!r} is not offered; there are {', '.join(KEYS.values())}")
            found.append(_condition(operator, key.lower(), _texts(given, f"{operator} {key}")))
    return tuple(found)


def _condition(operator: str, key: str, values: Sequence[str]) -> Condition:
    if operator == "Null":
        wanted = {_boolean(value) for value in values}
        return lambda facts: (key not in facts) in wanted
    base = operator.removesuffix("IfExists")
    negative = base in _NEGATIONS
    make = _OPERATORS.get(_NEGATIONS.get(base, base))
    if make is None:
        raise Unknown(f"the condition operator {operator!r} is not offered; there are {', '.join(_names())}")
    try:
        matches = [make(value) for value in values]
    except ValueError as error:
        raise Unknown(f"{operator} {key}: {error}") from None
    # A key that is absent: a negative operator holds, a positive one does not, unless it ends in IfExists.
    without = negative or base != operator

    def holds(facts: Facts) -> bool:
        value = facts.get(key)
        if value is None:
            return without
        return any(match(value) for match in matches) is not negative

    return holds


def _texts(given: Any, where: str) -> list[str]:
    values = given if isinstance(given, list | tuple) else [given]
    if not values:
        raise Unknown(f"{where} has no value")
    found = []
    for value in values:
        if isinstance(value, bool):
            found.append("true" if value else "false")
        elif isinstance(value, str | int | float):
            found.append(str(value))
        else:
            raise Unknown(f"{where} must be a text or a list of texts")
    return found


def _equals(value: str) -> _Match:
    return lambda given: given == value


def _equals_anyhow(value: str) -> _Match:
    return lambda given: given.lower() == value.lower()


def _like(value: str) -> _Match:
    return globs.text(value)


def _arn_like(value: str) -> _Match:
    return globs.arn(value)


def _boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise Unknown(f"{value!r} is neither true nor false")
    return value.lower() == "true"


def _bool(value: str) -> _Match:
    wanted = _boolean(value)
    return lambda given: (given.lower() == "true") is wanted


def _ip_address(value: str) -> _Match:
    network = ipaddress.ip_network(value, strict=False)

    def inside(given: str) -> bool:
        address = ipaddress.ip_address(given)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address) in network

    return inside


def _moment(value: str) -> float:
    """Return Unix time of what is either that or ISO 8601."""
    try:
        return float(value)
    except ValueError:
        moment = dt.datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _ordered(compare: Callable[[float, float], bool], read: Callable[[str], float]) -> Callable[[str], _Match]:
    def make(value: str) -> _Match:
        limit = read(value)
        return lambda given: compare(read(given), limit)

    return make


_OPERATORS: Mapping[str, Callable[[str], _Match]] = {
    "StringEquals": _equals,
    "StringEqualsIgnoreCase": _equals_anyhow,
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _bool,
    "IpAddress": _ip_address,
    **{
        f"{kind}{name}": _ordered(compare, read)
        for kind, read in (("Date", _moment), ("Numeric", float))
        for name, compare in (
            ("Equals", float.__eq__),
            ("LessThan", float.__lt__),
            ("LessThanEquals", float.__le__),
            ("GreaterThan", float.__gt__),
            ("GreaterThanEquals", float.__ge__),
        )
    },
}
_NEGATIONS: Mapping[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "DateNotEquals": "DateEquals",
    "NumericNotEquals": "NumericEquals",
}


def _names() -> list[str]:
    return [*_OPERATORS, *_NEGATIONS, "Null", "each also with IfExists"]
