"""ListTags, TagResource, UntagResource: on functions, the only taggable thing that exists here."""

import dataclasses
from collections.abc import Mapping

from runtime import errors
from runtime.api.context import Context, Handler, Request, Result
from runtime.registry import names, records

MOST = 50
"""Tags of a function: docs.aws.amazon.com/lambda/latest/dg/configuration-tags.html."""

_OTHERS = {
    "event-source-mapping": "Event source mapping not found: ",
    "capacity-provider": "Capacity provider not found: ",
}


async def list_tags(request: Request, context: Context) -> Result:
    """Return a function's tags."""
    ref = _function(request["Resource"], context.site)
    return {"Tags": context.registry.function(ref).tags}


async def tag_resource(request: Request, context: Context) -> Result:
    """Add tags to a function, or change their values."""
    ref = _function(request["Resource"], context.site)
    tags = request["Tags"]

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        if not tags:
            raise errors.InvalidParameterValue("An error occurred and the request cannot be processed.")
        return dataclasses.replace(function, tags=checked({**function.tags, **tags}))

    await context.registry.change(ref, decide)
    return {}


async def untag_resource(request: Request, context: Context) -> Result:
    """Remove tags from a function; those it does not have are no error."""
    ref = _function(request["Resource"], context.site)
    gone = frozenset(request["TagKeys"])

    def decide(function: records.FunctionRecord) -> records.FunctionRecord:
        kept = {key: value for key, value in function.tags.items() if key not in gone}
        return dataclasses.replace(function, tags=kept)

    await context.registry.change(ref, decide)
    return {}


def checked(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return tags; raise InvalidParameterValue where there are too many."""
    if len(tags) > MOST:
        raise errors.InvalidParameterValue("Number of tags exceeds resource tag limit.")
    return tags


def _function(arn: str, site: names.Site) -> names.FunctionRef:
    kind = arn.split(":")[5]
    if kind in _OTHERS:
        raise errors.ResourceNotFound(_OTHERS[kind] + arn)
    if kind == "code-signing-config":
        raise errors.ResourceNotFound(f"The Lambda code signing configuration {arn} can not be found.", type_=None)
    if kind != "function":
        raise errors.InvalidParameterValue(f"Tags on this resource are not supported: {arn}")
    ref = site.function(arn)
    if ref.qualifier is not None:
        raise errors.InvalidParameterValue(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return ref


OPERATIONS: Mapping[str, Handler] = {
    "ListTags": list_tags,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
}
