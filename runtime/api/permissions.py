"""AddPermission, GetPolicy, RemovePermission: who else may call a function."""

import re
from collections.abc import Mapping
from typing import Any

from runtime import errors, model
from runtime.api.context import Context, Handler, Request, Result
from runtime.registry import names, policies

_SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?")
_ACCOUNT = re.compile(r"\d{12}")
_ARN = re.compile(r"arn:aws[a-zA-Z-]*:(iam|sts)::(\d{12}|aws|cloudfront):.+")


async def add_permission(request: Request, context: Context) -> Result:
    """Add a statement to a policy, and return it."""
    ref = context.function(request)
    if ref.qualifier == model.LATEST:
        raise errors.InvalidParameterValue("We currently do not support adding policies for $LATEST.")
    statement = _statement(request, ref, context.site)
    await policies.add(context.registry, ref, request["StatementId"], statement, revision_id=request.get("RevisionId"))
    return {"Statement": policies.text(statement)}


async def get_policy(request: Request, context: Context) -> Result:
    """Return a policy as a string of JSON."""
    statements, revision_id = policies.get(context.registry, context.function(request))
    return {"Policy": policies.document(statements), "RevisionId": revision_id}


async def remove_permission(request: Request, context: Context) -> Result:
    """Remove a statement from a policy."""
    ref = context.function(request)
    await policies.remove(context.registry, ref, request["StatementId"], revision_id=request.get("RevisionId"))
    return {}


def principal(given: str, site: names.Site) -> Any:
    """Return a principal as a statement has it; raise InvalidParameterValue for what is none."""
    if given == "*":
        return given
    if _SERVICE.fullmatch(given):
        return {"Service": given}
    if _ACCOUNT.fullmatch(given):
        return {"AWS": f"arn:{site.partition}:iam::{given}:root"}
    if _ARN.fullmatch(given):
        return {"AWS": given}
    raise errors.InvalidParameterValue("The provided principal was invalid. Please check the principal and try again.")


def _statement(request: Request, ref: names.FunctionRef, site: names.Site) -> dict[str, Any]:
    if "FunctionUrlAuthType" in request and request["Action"] != "lambda:InvokeFunctionUrl":
        raise errors.InvalidParameterValue("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
    statement: dict[str, Any] = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": principal(request["Principal"], site),
        "Action": request["Action"],
        "Resource": site.function_arn(ref.name, ref.qualifier),
    }
    # The order is AWS's.
    equals = {
        "lambda:FunctionUrlAuthType": request.get("FunctionUrlAuthType"),
        "aws:PrincipalOrgID": request.get("PrincipalOrgID"),
        "AWS:SourceAccount": request.get("SourceAccount"),
        "lambda:EventSourceToken": request.get("EventSourceToken"),
    }
    conditions: dict[str, Any] = {}
    if any(equals.values()):
        conditions["StringEquals"] = {key: value for key, value in equals.items() if value}
    if "SourceArn" in request:
        conditions["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    if "InvokedViaFunctionUrl" in request:
        flag = "true" if request["InvokedViaFunctionUrl"] else "false"
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": flag}
    if conditions:
        statement["Condition"] = conditions
    return statement


OPERATIONS: Mapping[str, Handler] = {
    "AddPermission": add_permission,
    "GetPolicy": get_policy,
    "RemovePermission": remove_permission,
}
