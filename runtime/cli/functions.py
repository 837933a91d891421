"""``hotfork ls``, ``describe`` and ``rm``."""

from collections.abc import Mapping
from typing import Any

import click

from runtime.cli import client as clients
from runtime.cli import output as outputs


@click.command()
@outputs.options
def ls(url: str | None, output: str | None) -> None:
    """List the functions."""
    functions = clients.Client(url).listed(f"{clients.FUNCTIONS}/", "Functions")
    if outputs.wants_json(output):
        outputs.show_json(functions)
        return
    rows = [
        {**function, "Size": outputs.size(function["CodeSize"]), "When": function["LastModified"][:19]}
        for function in functions
    ]
    columns = {
        "FunctionName": "NAME",
        "Runtime": "RUNTIME",
        "Handler": "HANDLER",
        "MemorySize": "MEMORY MB",
        "Timeout": "TIMEOUT S",
        "Size": "CODE",
        "When": "MODIFIED (UTC)",
    }
    outputs.show_table(rows, columns)


@click.command()
@click.argument("name")
@outputs.options
def describe(name: str, url: str | None, output: str | None) -> None:
    """Show a function: NAME, NAME:QUALIFIER or ARN."""
    client = clients.Client(url)
    function = client.call("GET", clients.function_path(name))
    starts = _starts(client, function["Configuration"])
    function |= {"Starts": starts} if starts else {}
    if outputs.wants_json(output):
        outputs.show_json(function)
        return
    configuration = dict(function["Configuration"])
    environment = (configuration.pop("Environment", None) or {}).get("Variables", {})
    fields = {key: value for key, value in configuration.items() if value not in ({}, [], "", None)}
    fields |= {f"Environment {key}": value for key, value in environment.items()}
    fields |= {f"Tag {key}": value for key, value in (function.get("Tags") or {}).items()}
    fields |= {f"Starts {key}": value for key, value in starts.items()}
    fields["Code"] = function.get("Code", {}).get("Location")
    outputs.show_fields(fields)


def _starts(client: clients.Client, configuration: Mapping[str, Any]) -> dict[str, str]:
    """Return how the server would start a worker of a version; nothing where it does not say."""
    version = f"{configuration.get('FunctionName', '')}:{configuration.get('Version', '$LATEST')}"
    try:
        found: dict[str, str] = client.call("GET", f"/_hotfork/starts/{clients.quote(version)}")
    except clients.Refused:
        return {}
    return found


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@outputs.options
def rm(names: tuple[str, ...], url: str | None, output: str | None) -> None:
    """Delete functions with all their versions."""
    client = clients.Client(url)
    paths = [clients.function_path(name) for name in names]
    for name, path in zip(names, paths, strict=True):
        client.call("DELETE", path)
        if not outputs.wants_json(output):
            click.echo(f"Deleted {name}")
    if outputs.wants_json(output):
        outputs.show_json({"Deleted": list(names)})
