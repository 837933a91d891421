"""Which IAM actions, on which resources, a request of the API asks for; pure.

Source: docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from runtime.registry import names


class Need(NamedTuple):
    """One permission that a request takes."""

    action: str
    resource: str
    function_arn: str | None = None
    """What the condition key lambda:FunctionArn stands for, where the resource is another."""


_ACTIONS: Mapping[str, str] = {
    "GetLayerVersionByArn": "GetLayerVersion",
    "Invoke": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "ListFunctionEventInvokeConfigs": "ListFunctionEventInvokeConfigs",
}
"""Operations whose action has another name."""


def action_of(operation: str) -> str:
    """Return the action that an operation is to policies."""
    return f"lambda:{_ACTIONS.get(operation, operation)}"


def needs(operation: str, request: Mapping[str, Any], site: names.Site) -> Iterator[Need]:
    """Yield what an operation takes, given its members by name. Raises as ``names.Site`` for names of elsewhere."""
    action = action_of(operation)
    function = _function(request, site)
    if operation.endswith("EventSourceMapping"):
        yield Need(action, _mapping(request, site), function)
    else:
        yield Need(action, _resource(request, site) or function or "*")
    for package in (request, request.get("Code", {}), request.get("Content", {})):
        if "S3Bucket" in package:
            # The server fetches it with rights of its own, which the caller need not have.
            yield Need("s3:GetObject", f"arn:{site.partition}:s3:::{package['S3Bucket']}/{package.get('S3Key', '')}")
    if "Role" in request:
        yield Need("iam:PassRole", request["Role"])
    for layer in request.get("Layers", ()):
        yield Need("lambda:GetLayerVersion", _layer_version(layer, site))


def _function(request: Mapping[str, Any], site: names.Site) -> str | None:
    if "FunctionName" not in request:
        return None
    ref = site.function(request["FunctionName"], request.get("Qualifier"))
    return site.function_arn(ref.name, ref.qualifier)


def _resource(request: Mapping[str, Any], site: names.Site) -> str | None:
    """Return what is not a function."""
    if "LayerName" in request:
        return site.layer_arn(site.layer(request["LayerName"]), request.get("VersionNumber"))
    if "Arn" in request:
        return _layer_version(request["Arn"], site)
    for member in ("Resource", "ResourceArn", "CodeSigningConfigArn", "DurableExecutionArn"):
        # PutFunctionCodeSigningConfig has a function too, and is about that.
        if member in request and "FunctionName" not in request:
            return _canonical(request[member], site)
    return None


def _layer_version(arn: str, site: names.Site) -> str:
    ref = site.layer_version(arn)
    return site.layer_arn(ref.name, ref.version)


def _canonical(arn: str, site: names.Site) -> str:
    """Return an ARN as policies spell it: what handlers take for the same function must not be another resource."""
    if arn.split(":")[5:6] != ["function"] or "/" in arn:
        return arn
    ref = site.function(arn)
    return site.function_arn(ref.name, ref.qualifier)


def _mapping(request: Mapping[str, Any], site: names.Site) -> str:
    if "UUID" not in request:
        return "*"
    return f"arn:{site.partition}:lambda:{site.region}:{site.account_id}:event-source-mapping:{request['UUID']}"
