"""A caller of the API, and what it may do. None in place of a caller stands for an open server: it may do all."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from runtime import errors
from runtime.api.auth import conditions, keys, policy
from runtime.registry import names

Statements: TypeAlias = Mapping[str, Mapping[str, Any]]

_REMEMBERED = 1024


class Caller(Protocol):
    """Whoever sent a request."""

    @property
    def arn(self) -> str:
        """Return who they are."""

    def demand(self, action: str, resource: str, function_arn: str | None = None) -> None:
        """Raise AccessDenied where they may not perform an action on a resource."""


class Authority:
    """Decides; knows the policies of resources. ``clock`` gives Unix time in seconds."""

    def __init__(
        self, site: names.Site, statements_on: Callable[[str], Statements | None], clock: Callable[[], float]
    ) -> None:
        """``statements_on`` gives the resource-based policy of an ARN, the same object until it changes."""
        self.site = site
        self.clock = clock
        self._statements_on = statements_on
        self._read: dict[str, tuple[Statements, policy.Policy]] = {}
        self._root = f"arn:{site.partition}:iam::{site.account_id}:root"

    def on(self, resource: str) -> policy.Policy | None:
        """Return the policy on a resource, if it has one."""
        statements = self._statements_on(resource)
        if not statements:
            return None
        known = self._read.get(resource)
        if known is None or known[0] is not statements:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            known = self._read[resource] = statements, policy.of_resource(statements.values(), self._root)
        return known[1]


class Identified:
    """A caller that is known; implements ``Caller``."""

    __slots__ = ("_authority", "_peer", "principal")

    def __init__(self, principal: keys.Principal, authority: Authority, peer: str | None) -> None:
        """``peer`` is the address that the request came from."""
        self.principal = principal
        self._authority = authority
        self._peer = peer

    @property
    def arn(self) -> str:
        """Return who they are."""
        return self.principal.arn

    def demand(self, action: str, resource: str, function_arn: str | None = None) -> None:
        """Raise AccessDenied, with AWS's text, where they may not perform an action on a resource."""
        principal = self.principal
        who = frozenset((principal.arn, principal.role_arn)) if principal.role_arn else frozenset((principal.arn,))
        asked = policy.Asked(action, resource, who, lambda: self._facts(resource, function_arn))
        decision = policy.decide(principal.policies, self._authority.on(resource), asked)
        if decision is not policy.Decision.ALLOWED:
            # docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
            raise errors.AccessDenied(
                f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} "
                + decision.value.format(action=action)
            )

    def _facts(self, resource: str, function_arn: str | None) -> conditions.Facts:
        principal, site, now = self.principal, self._authority.site, self._authority.clock()
        facts = {
            "aws:currenttime": dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "aws:epochtime": str(int(now)),
            "aws:principalaccount": site.account_id,
            "aws:principalarn": principal.role_arn or principal.arn,
            "aws:principaltype": "AssumedRole" if principal.role_arn else "User",
            "aws:requestedregion": site.region,
            "aws:securetransport": "false",
        }
        if not principal.role_arn:
            facts["aws:username"] = principal.name
        if self._peer is not None:
            facts["aws:sourceip"] = self._peer
        if function_arn is not None or ":function:" in resource:
            facts["lambda:functionarn"] = function_arn or resource
        return facts
