"""``hotfork layer``."""

import base64
from pathlib import Path
from typing import Any

import click

from runtime.cli import client as clients
from runtime.cli import output as outputs
from runtime.cli import package as packages

_LAYERS = "/2018-10-31/layers"
_TOP = frozenset({"python", "lib", "bin"})
"""Folders of a layer that functions find something in: docs.aws.amazon.com/lambda/latest/dg/packaging-layers.html."""


@click.command()
@click.argument("name", required=False)
@click.argument("source", metavar="[DIR|ZIP]", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--runtime", "runtimes", multiple=True, metavar="python3.N", help="It is meant for; may be repeated.")
@click.option("--description", metavar="TEXT")
@click.option("--rm", "removed", type=click.IntRange(min=1), metavar="NUMBER", help="Delete a version of the layer.")
@outputs.options
def layer(
    name: str | None,
    source: Path | None,
    runtimes: tuple[str, ...],
    description: str | None,
    removed: int | None,
    url: str | None,
    output: str | None,
) -> None:
    """Publish a layer from a folder or a zip file; or list layers, or the versions of one.

    \b
    hotfork layer                  which there are
    hotfork layer tools            its versions
    hotfork layer tools DIR        a new version of it
    hotfork layer tools --rm 3     version 3 is no more; functions that have it keep it

    What lies in the folder's own folder python can be imported by functions that have the layer:
    pip install --target DIR/python requests. A function gets it by `hotfork deploy --layer tools`.
    """  # noqa: D301 - for click, \b is a character
    if source is None and (runtimes or description is not None):
        raise click.UsageError("--runtime and --description go with a folder or zip: hotfork layer NAME DIR")
    if removed is not None and (name is None or source is not None):
        raise click.UsageError("--rm goes with a layer: hotfork layer NAME --rm NUMBER")
    client = clients.Client(url)
    if name is None:
        _layers(client, output)
    elif source is not None:
        _publish(client, name, source, {"CompatibleRuntimes": list(runtimes), "Description": description or ""}, output)
    elif removed is not None:
        client.call("GET", f"{_path(name)}/{removed}")  # deleting what is not there is no error for AWS
        client.call("DELETE", f"{_path(name)}/{removed}")
        outputs.show_done({"Deleted": removed}, f"Deleted version {removed} of layer {name}", output)
    else:
        _versions(client, name, output)


def arn_of(client: clients.Client, reference: str) -> str:
    """Return the ARN of a layer version named by ARN, NAME or NAME:NUMBER; without a number, the newest."""
    if reference.startswith("arn:"):
        return reference
    name, _, number = reference.partition(":")
    for version in client.listed(_path(name), "LayerVersions"):
        if number in {"", str(version["Version"])}:
            arn: str = version["LayerVersionArn"]
            return arn
    raise click.UsageError(f"there is no layer {reference}: see `hotfork layer`")


def _path(name: str) -> str:
    return f"{_LAYERS}/{clients.quote(name)}/versions"


def _publish(client: clients.Client, name: str, source: Path, document: dict[str, Any], output: str | None) -> None:
    try:
        package = packages.read_files(source)
    except packages.PackageError as error:
        raise click.UsageError(error.message) from None
    click.echo(f"Packed {len(package.names)} files, {outputs.size(len(package.zip_file))}", err=True)
    if not {path.partition("/")[0] for path in package.names if "/" in path} & _TOP:
        click.echo(
            f"Warning: nothing lies in a folder python, lib or bin of {source}, so functions will not find it by "
            f"themselves: it is to be read from /opt",
            err=True,
        )
    document["Content"] = {"ZipFile": base64.b64encode(package.zip_file).decode()}
    made = client.call("POST", _path(name), document)
    outputs.show_done(made, f"Version {made['Version']} of layer {name}: hotfork deploy ... --layer {name}", output)


def _layers(client: clients.Client, output: str | None) -> None:
    found = client.listed(_LAYERS, "Layers")
    if outputs.wants_json(output):
        outputs.show_json(found)
        return
    _table([{"Name": one["LayerName"], **one["LatestMatchingVersion"]} for one in found], {"Name": "LAYER"})


def _versions(client: clients.Client, name: str, output: str | None) -> None:
    found = client.listed(_path(name), "LayerVersions")
    if outputs.wants_json(output):
        outputs.show_json(found)
        return
    _table(found, {})


def _table(versions: list[dict[str, Any]], first: dict[str, str]) -> None:
    rows = [
        {
            **version,
            "Runtimes": ", ".join(version.get("CompatibleRuntimes") or []) or None,
            "When": version["CreatedDate"][:19],
            "Description": version.get("Description") or None,
        }
        for version in versions
    ]
    columns = {"Version": "VERSION", "Runtimes": "RUNTIMES", "When": "PUBLISHED (UTC)", "Description": "DESCRIPTION"}
    outputs.show_table(rows, {**first, **columns})
