"""PublishVersion and ListVersionsByFunction."""

from collections.abc import Mapping

from runtime.api import configuration, paging
from runtime.api.context import Context, Handler, Request, Result
from runtime.registry import names, records, versions


async def publish_version(request: Request, context: Context) -> Result:
    """Publish $LATEST."""
    ref = context.function(request)
    version = await versions.publish(
        context.registry,
        names.FunctionRef(name=ref.name),
        code_sha256=request.get("CodeSha256"),
        description=request.get("Description"),
        revision_id=request.get("RevisionId"),
    )
    return configuration.shown(version, context.site, qualifier=version.number, snapshot=context.snapshot(version))


async def list_versions_by_function(request: Request, context: Context) -> Result:
    """Return a page of a function's versions: $LATEST, then by number."""
    ref = context.function(request)
    function = context.registry.function(names.FunctionRef(name=ref.name))
    limit = paging.size(request)
    place = paging.place(request)
    found: list[records.VersionRecord] = [] if place else [function.latest]
    found += context.registry.ledger.versions(ref.name, place[0] if place else None, limit + 1)
    shown = [
        configuration.shown(
            version, context.site, qualifier=version.number, brief=True, snapshot=context.snapshot(version)
        )
        for version in found[:limit]
    ]
    # After $LATEST, which has no place among the numbers, comes the number 0.
    last = found[:limit][-1].number if found else "0"
    return paging.page("Versions", shown, "0" if last == function.latest.number else last, more=len(found) > limit)


OPERATIONS: Mapping[str, Handler] = {
    "ListVersionsByFunction": list_versions_by_function,
    "PublishVersion": publish_version,
}
