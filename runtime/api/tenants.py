"""Tenant isolation at Invoke: a function that has it is called for a tenant, another one never. Pure.

docs.aws.amazon.com/lambda/latest/dg/tenant-isolation.html; the text of a missing tenant as AWS gives it in
aws.amazon.com/blogs/compute/building-multi-tenant-saas-applications-with-aws-lambdas-new-tenant-isolation-mode/.
"""

import re
from collections.abc import Mapping

from runtime import errors, model
from runtime.api import validation

_LIMIT = 256
_PATTERN = re.compile(r"[a-zA-Z0-9\._:\/=+\-@ ]+")
"""TenantId in the service model."""


def of_call(headers: Mapping[str, str], version: model.Version) -> str | None:
    """Return the tenant of a call, None where the function knows none.

    Raises Validation for what cannot be a tenant, and InvalidParameterValue where function and call do not agree.
    """
    given = headers.get("x-amz-tenant-id")
    if given is not None:
        _check(given)
    if version.tenant_isolation and given is None:
        raise errors.InvalidParameterValue(
            "The invoked function is enabled with tenancy configuration. "
            "Add a valid tenant ID in your request and try again."
        )
    if given is not None and not version.tenant_isolation:
        raise errors.InvalidParameterValue(
            "The invoked function is not enabled with tenancy configuration. "
            "Remove the tenant ID from your request and try again."
        )
    return given


def _check(tenant: str) -> None:
    if not tenant:
        constraint = "Member must have length greater than or equal to 1"
    elif len(tenant) > _LIMIT:
        constraint = f"Member must have length less than or equal to {_LIMIT}"
    elif not _PATTERN.fullmatch(tenant):
        constraint = f"Member must satisfy regular expression pattern: {_PATTERN.pattern}"
    else:
        return
    raise errors.Validation("1 validation error detected: " + validation.failure("tenantId", tenant, constraint))
