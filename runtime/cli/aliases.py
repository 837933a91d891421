"""``hotfork alias``."""

import re
from collections.abc import Mapping
from typing import Any

import click

from runtime.cli import client as clients
from runtime.cli import output as outputs

_SHARE = re.compile(r"(\d+)=(\d+(?:\.\d+)?)%")


def _share(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, float] | None:
    if value is None:
        return None
    match = _SHARE.fullmatch(value)
    if match is None or float(match[2]) > 100:  # noqa: PLR2004 - percent
        raise click.BadParameter(f"{value!r} is not a version and its share of the calls, such as 4=10%")
    return match[1], float(match[2]) / 100


@click.command()
@click.argument("name")
@click.argument("alias_name", metavar="[ALIAS]", required=False)
@click.argument("version", metavar="[VERSION]", required=False)
@click.option(
    "--also", callback=_share, metavar="VERSION=N%", help="A second version, and how many of the calls it gets."
)
@click.option("--description", metavar="TEXT")
@click.option("--rm", "remove", is_flag=True, help="Delete the alias.")
@outputs.options
def alias(
    name: str,
    alias_name: str | None,
    version: str | None,
    also: tuple[str, float] | None,
    description: str | None,
    remove: bool,
    url: str | None,
    output: str | None,
) -> None:
    """Point an alias of a function at a version; or list its aliases.

    \b
    hotfork alias hello                     which there are
    hotfork alias hello live 3              live is version 3: invoke hello:live
    hotfork alias hello live 3 --also 4=10% nine calls of ten go to 3, one to 4
    hotfork alias hello live 4              all go to 4
    hotfork alias hello live --rm           live is no more
    """  # noqa: D301 - for click, \b is a character
    if version is None and (also or description is not None):
        raise click.UsageError("--also and --description go with a version: hotfork alias NAME ALIAS VERSION")
    if remove and (alias_name is None or version is not None):
        raise click.UsageError("--rm goes with an alias: hotfork alias NAME ALIAS --rm")
    client = clients.Client(url)
    if alias_name is None:
        _show(client.listed(clients.function_path(name, "aliases"), "Aliases"), output)
        return
    path = clients.function_path(name, "aliases", clients.quote(alias_name))
    if remove:
        client.call("GET", path)  # AWS has nothing against deleting what is not there; one who types a name has
        client.call("DELETE", path)
        outputs.show_done({"Deleted": alias_name}, f"Deleted alias {alias_name} of {name}", output)
    elif version is None:
        found = client.call("GET", path)
        _show(found if outputs.wants_json(output) else [found], output)
    else:
        routing = {"AdditionalVersionWeights": dict([also] if also else [])}
        document: dict[str, Any] = {"FunctionVersion": version, "RoutingConfig": routing}
        if description is not None:
            document["Description"] = description
        made = _put(client, name, path, alias_name, document)
        outputs.show_done(made, f"{name}:{alias_name} is {_meaning(made)}", output)


def shares(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the versions of an alias, each with its share of the calls, 0.0 to 1.0."""
    weights: dict[str, float] = (found.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return {found["FunctionVersion"]: 1 - sum(weights.values()), **weights}


def percent(share: float) -> str:
    """Return a share as people write it."""
    return f"{100 * share:.4g} %"


def _put(client: clients.Client, name: str, path: str, alias_name: str, document: dict[str, Any]) -> Any:
    """Move an alias, or make it where there is none."""
    try:
        return client.call("PUT", path, document)
    except clients.Refused as error:
        if error.code != "ResourceNotFoundException":
            raise
    return client.call("POST", clients.function_path(name, "aliases"), {"Name": alias_name, **document})


def _meaning(made: dict[str, Any]) -> str:
    parts = shares(made).items()
    texts = [f"version {version}" + ("" if share == 1 else f" for {percent(share)}") for version, share in parts]
    return ", ".join(texts)


def _show(found: Any, output: str | None) -> None:
    if outputs.wants_json(output):
        outputs.show_json(found)
        return
    rows = [{**one, "Meaning": _meaning(one), "Description": one.get("Description") or None} for one in found]
    outputs.show_table(rows, {"Name": "ALIAS", "Meaning": "IS", "Description": "DESCRIPTION"})
