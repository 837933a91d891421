"""CreateFunction, GetFunction, ListFunctions, UpdateFunctionCode, ... DeleteFunction."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from runtime import errors, model
from runtime.api import configuration, modes, paging, sources, tags
from runtime.api.context import Context, Handler, Request, Result
from runtime.registry import functions, layers, names, records, unpacking

_log = logging.getLogger(__name__)

ZIP_LIMIT = 52_428_800
"""Bytes of a zip in a request: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
_NAME_LIMIT = 64
_INERT = ("VpcConfig", "FileSystemConfigs", "KMSKeyArn", "DurableConfig")
"""Settings that are kept and returned, and have no effect here."""


async def create_function(request: Request, context: Context) -> Result:
    """Create a function from a zip."""
    name = _new_name(request["FunctionName"], context.site)
    modes.check_code_signing(request)
    settings = configuration.of_create(name, request, context.options.interpreters)
    zip_file = await zip_of(request["Code"], context)
    _notice(name, request)
    version = await functions.create(
        context.registry,
        name,
        settings,
        zip_file,
        layers=layers.referred(context.registry, request.get("Layers", [])),
        tags=tags.checked(request.get("Tags", {})),
        publish=request.get("Publish", False),
    )
    return configuration.shown(version, context.site)


async def get_function(request: Request, context: Context) -> Result:
    """Return a function's configuration, where its code is, its tags and reserved concurrency."""
    ref = context.function(request)
    version = context.registry.resolve(ref)
    function = context.registry.function(ref)
    link = context.links.link(version.code.sha256, context.now)
    result: Result = {
        "Configuration": configuration.shown(
            version, context.site, qualifier=ref.qualifier, snapshot=context.snapshot(version)
        ),
        "Code": {"RepositoryType": "S3", "Location": context.base_url + link},
    }
    if function.tags:
        result["Tags"] = function.tags
    if function.reserved_concurrency is not None:
        result["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
    return result


async def get_function_configuration(request: Request, context: Context) -> Result:
    """Return a function's configuration."""
    ref = context.function(request)
    version = context.registry.resolve(ref)
    return configuration.shown(version, context.site, qualifier=ref.qualifier, snapshot=context.snapshot(version))


async def list_functions(request: Request, context: Context) -> Result:
    """Return a page of functions by name, with all their versions if asked."""
    limit = paging.size(request)
    place = paging.place(request) or [""]
    if "FunctionVersion" in request:
        return _all_versions(place, limit, context)
    found = context.registry.ledger.functions(place[0], limit + 1)
    shown = [configuration.shown(function.latest, context.site, brief=True) for function in found[:limit]]
    return paging.page("Functions", shown, found[:limit][-1].name if found else "", more=len(found) > limit)


def _all_versions(place: Sequence[str], limit: int, context: Context) -> Result:
    """Return a page of versions; a place is a function's name and, inside of its versions, a number."""
    ledger = context.registry.ledger
    name, number = place[0], place[1] if len(place) > 1 else None
    found: list[records.VersionRecord] = []
    if number is not None:
        found += ledger.versions(name, number, limit + 1)
    while len(found) <= limit and (following := ledger.functions(name, 1)):
        name = following[0].name
        found += [following[0].latest, *ledger.versions(name, None, limit + 1)]
    shown = [
        configuration.shown(
            version, context.site, qualifier=version.number, brief=True, snapshot=context.snapshot(version)
        )
        for version in found[:limit]
    ]
    if len(found) <= limit:
        return {"Functions": shown}
    last = found[limit - 1]
    after = "0" if last.number == model.LATEST else last.number
    return {"Functions": shown, "NextMarker": paging.marker([last.function, after])}


async def update_function_code(request: Request, context: Context) -> Result:
    """Give $LATEST another package."""
    ref = context.function(request)
    context.registry.function(ref)
    if "ImageUri" in request:
        raise errors.InvalidParameterValue(
            "Please don't provide ImageUri when updating a function with packageType Zip."
        )
    version = await functions.update_code(
        context.registry,
        names.FunctionRef(name=ref.name),
        await zip_of(request, context),
        request.get("Architectures"),
        revision_id=request.get("RevisionId"),
        publish=request.get("Publish", False),
        dry_run=request.get("DryRun", False),
    )
    published = None if version.number == model.LATEST else version.number
    snapshot = context.snapshot(version)
    return configuration.shown(version, context.site, qualifier=published, snapshot=snapshot)


async def update_function_configuration(request: Request, context: Context) -> Result:
    """Change settings of $LATEST; what the request leaves out stays."""
    ref = context.function(request)
    _notice(ref.name, request)

    def change(settings: Mapping[str, Any]) -> dict[str, Any]:
        return configuration.of_update(settings, request, context.options.interpreters)

    version = await functions.update_settings(
        context.registry,
        names.FunctionRef(name=ref.name),
        change,
        layers=layers.referred(context.registry, request["Layers"]) if "Layers" in request else None,
        revision_id=request.get("RevisionId"),
    )
    return configuration.shown(version, context.site)


async def delete_function(request: Request, context: Context) -> Result:
    """Delete a function, or one of its versions."""
    await functions.delete(context.registry, context.function(request))
    return {}


async def zip_of(request: Request, context: Context) -> bytes:
    """Return the zip that a request brings, or names by S3 bucket and key."""
    if "ZipFile" in request:
        zip_file: bytes = request["ZipFile"]
        if len(zip_file) > ZIP_LIMIT:
            raise errors.RequestEntityTooLarge(f"Zipped size must be smaller than {ZIP_LIMIT} bytes")
        return zip_file
    if "S3Bucket" not in request or "S3Key" not in request:
        raise errors.InvalidParameterValue("Please provide a source for function code.")
    version = request.get("S3ObjectVersion")
    return await sources.fetch(
        context.options.source, request["S3Bucket"], request["S3Key"], version, unpacking.UNPACKED_LIMIT
    )


def _new_name(reference: str, site: names.Site) -> str:
    ref = site.function(reference)
    if len(ref.name) > _NAME_LIMIT:
        raise errors.InvalidParameterValue(
            f"1 validation error detected: Value '{ref.name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {_NAME_LIMIT}"
        )
    return ref.name


def _notice(name: str, request: Request) -> None:
    for key in _INERT:
        if request.get(key):
            _log.warning("function %s: %s is kept and returned, but has no effect", name, key)


OPERATIONS: Mapping[str, Handler] = {
    "CreateFunction": create_function,
    "DeleteFunction": delete_function,
    "GetFunction": get_function,
    "GetFunctionConfiguration": get_function_configuration,
    "ListFunctions": list_functions,
    "UpdateFunctionCode": update_function_code,
    "UpdateFunctionConfiguration": update_function_configuration,
}
