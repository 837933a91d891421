"""CreateAlias, GetAlias, ListAliases, UpdateAlias, DeleteAlias."""

from collections.abc import Mapping

from runtime.api import paging
from runtime.api.context import Context, Handler, Request, Result
from runtime.registry import aliases, names, records


async def create_alias(request: Request, context: Context) -> Result:
    """Point a new alias to a version."""
    ref = context.function(request)
    alias = await aliases.create(
        context.registry,
        ref.name,
        request["Name"],
        request["FunctionVersion"],
        description=request.get("Description", ""),
        weights=_weights(request),
    )
    return _shown(alias, ref.name, context)


async def get_alias(request: Request, context: Context) -> Result:
    """Return an alias."""
    ref = context.function(request)
    return _shown(aliases.get(context.registry, ref.name, request["Name"]), ref.name, context)


async def list_aliases(request: Request, context: Context) -> Result:
    """Return a page of a function's aliases by name, those of one version if asked."""
    ref = context.function(request)
    function = context.registry.function(names.FunctionRef(name=ref.name))
    version = request.get("FunctionVersion")
    found = [
        _shown(alias, ref.name, context)
        for _, alias in sorted(function.aliases.items())
        if version is None or version in {alias.version, *alias.weights}
    ]
    return paging.listed("Aliases", found, request)


async def update_alias(request: Request, context: Context) -> Result:
    """Change an alias."""
    ref = context.function(request)
    alias = await aliases.update(
        context.registry,
        ref.name,
        request["Name"],
        version=request.get("FunctionVersion"),
        description=request.get("Description"),
        weights=_weights(request),
        revision_id=request.get("RevisionId"),
    )
    return _shown(alias, ref.name, context)


async def delete_alias(request: Request, context: Context) -> Result:
    """Delete an alias."""
    await aliases.delete(context.registry, context.function(request).name, request["Name"])
    return {}


def _weights(request: Request) -> Mapping[str, float] | None:
    routing = request.get("RoutingConfig")
    return None if routing is None else routing.get("AdditionalVersionWeights", {})


def _shown(alias: records.AliasRecord, function_name: str, context: Context) -> Result:
    document: Result = {
        "AliasArn": context.site.function_arn(function_name, alias.name),
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }
    if alias.weights:
        document["RoutingConfig"] = {"AdditionalVersionWeights": alias.weights}
    return document


OPERATIONS: Mapping[str, Handler] = {
    "CreateAlias": create_alias,
    "DeleteAlias": delete_alias,
    "GetAlias": get_alias,
    "ListAliases": list_aliases,
    "UpdateAlias": update_alias,
}
