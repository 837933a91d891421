"""Layers and their policies: PublishLayerVersion, GetLayerVersion, ... RemoveLayerVersionPermission."""

from collections.abc import Iterable, Mapping
from typing import Any

from runtime.api import functions, paging
from runtime.api.context import Context, Handler, Request, Result
from runtime.api.permissions import principal
from runtime.registry import layers, policies, records, registry


async def publish_layer_version(request: Request, context: Context) -> Result:
    """Add a version to a layer."""
    version = await layers.publish(
        context.registry,
        context.site.layer(request["LayerName"]),
        await functions.zip_of(request["Content"], context),
        description=request.get("Description", ""),
        license_info=request.get("LicenseInfo"),
        runtimes=request.get("CompatibleRuntimes"),
        architectures=request.get("CompatibleArchitectures"),
    )
    return _whole(version, context)


async def get_layer_version(request: Request, context: Context) -> Result:
    """Return a layer version and where its zip is."""
    name = context.site.layer(request["LayerName"])
    return _whole(layers.get(context.registry, name, request["VersionNumber"]), context)


async def get_layer_version_by_arn(request: Request, context: Context) -> Result:
    """Return a layer version and where its zip is."""
    ref = context.site.layer_version(request["Arn"])
    return _whole(layers.get(context.registry, ref.name, ref.version), context)


async def list_layers(request: Request, context: Context) -> Result:
    """Return a page of layers by name, each with its newest version that fits."""
    found = []
    for name in layers.names_of(context.registry):
        versions = list(_fitting(layers.versions(context.registry, name), request))
        if versions:
            arn = context.site.layer_arn(name)
            newest = _brief(versions[0], context)
            found.append({"LayerName": name, "LayerArn": arn, "LatestMatchingVersion": newest})
    return paging.listed("Layers", found, request)


async def list_layer_versions(request: Request, context: Context) -> Result:
    """Return a page of a layer's versions, newest first."""
    versions = layers.versions(context.registry, context.site.layer(request["LayerName"]))
    found = [_brief(version, context) for version in _fitting(versions, request)]
    return paging.listed("LayerVersions", found, request)


async def delete_layer_version(request: Request, context: Context) -> Result:
    """Delete a layer version; functions that have it keep it."""
    await layers.delete(context.registry, context.site.layer(request["LayerName"]), request["VersionNumber"])
    return {}


async def add_layer_version_permission(request: Request, context: Context) -> Result:
    """Allow others to use a layer version."""
    name, number, sid = context.site.layer(request["LayerName"]), request["VersionNumber"], request["StatementId"]
    statement: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": principal(request["Principal"], context.site),
        "Action": request["Action"],
        "Resource": context.site.layer_arn(name, number),
    }
    if "OrganizationId" in request:
        statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": request["OrganizationId"]}}
    version = await layers.change_policy(
        context.registry, name, number, sid, statement, revision_id=request.get("RevisionId")
    )
    return {"Statement": policies.text(statement), "RevisionId": version.revision_id}


async def get_layer_version_policy(request: Request, context: Context) -> Result:
    """Return who may use a layer version."""
    version = layers.policy(context.registry, context.site.layer(request["LayerName"]), request["VersionNumber"])
    return {"Policy": policies.document(version.policy), "RevisionId": version.revision_id}


async def remove_layer_version_permission(request: Request, context: Context) -> Result:
    """Take a permission back."""
    name, number = context.site.layer(request["LayerName"]), request["VersionNumber"]
    await layers.change_policy(
        context.registry, name, number, request["StatementId"], None, revision_id=request.get("RevisionId")
    )
    return {}


def _fitting(versions: Iterable[records.LayerVersionRecord], request: Request) -> Iterable[records.LayerVersionRecord]:
    runtime, architecture = request.get("CompatibleRuntime"), request.get("CompatibleArchitecture")
    for version in versions:
        if runtime is not None and runtime not in (version.runtimes or ()):
            continue
        if architecture is not None and architecture not in (version.architectures or ()):
            continue
        yield version


def _brief(version: records.LayerVersionRecord, context: Context) -> Result:
    """Return a layer version as lists have it."""
    return {
        "LayerVersionArn": context.site.layer_arn(version.name, version.number),
        "Version": version.number,
        "Description": version.description,
        "CreatedDate": version.created,
        "CompatibleRuntimes": version.runtimes,
        "CompatibleArchitectures": version.architectures,
        "LicenseInfo": version.license_info,
    }


def _whole(version: records.LayerVersionRecord, context: Context) -> Result:
    link = context.links.link(version.code.sha256, context.now)
    content = {
        "Location": context.base_url + link,
        "CodeSha256": registry.base64_digest(version.code.sha256),
        "CodeSize": version.code.size,
    }
    return {**_brief(version, context), "LayerArn": context.site.layer_arn(version.name), "Content": content}


OPERATIONS: Mapping[str, Handler] = {
    "AddLayerVersionPermission": add_layer_version_permission,
    "DeleteLayerVersion": delete_layer_version,
    "GetLayerVersion": get_layer_version,
    "GetLayerVersionByArn": get_layer_version_by_arn,
    "GetLayerVersionPolicy": get_layer_version_policy,
    "ListLayerVersions": list_layer_versions,
    "ListLayers": list_layers,
    "PublishLayerVersion": publish_layer_version,
    "RemoveLayerVersionPermission": remove_layer_version_permission,
}
