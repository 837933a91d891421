"""``hotfork deploy``."""

import base64
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import click

from runtime.cli import client as clients
from runtime.cli import layers as layering
from runtime.cli import output as outputs
from runtime.cli import package as packages

WAIT_S = 60
"""For a function to become Active."""
POLL_S = 0.05


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Default: the name of the folder or zip file.")
@click.option("--handler", help="Default: lambda_function.lambda_handler or handler.handler, whichever exists.")
@click.option("--memory", type=int, metavar="MB")
@click.option("--timeout", type=int, metavar="SECONDS")
@click.option("--env", "variables", multiple=True, metavar="K=V", help="A variable of the function; may be repeated.")
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME[:N]", help="Newest version if N is not given; repeatable."
)
@click.option("--runtime", metavar="python3.N", help="Default for a new function: that of this command.")
@outputs.options
def deploy(
    source: Path,
    name: str | None,
    variables: tuple[str, ...],
    layers: tuple[str, ...],
    url: str | None,
    output: str | None,
    **options: Any,
) -> None:
    """Create or update a function from a folder or a zip file, and wait until it is active.

    A file function.toml in the folder may hold handler, runtime, memory, timeout, description and a table
    [environment]; options go before it. An update leaves alone what neither names; if one of them names
    variables, or layers, these are all that the function has afterwards.
    """
    overrides = {**options, "environment": environment(variables)}
    try:
        package = packages.read(source, name, overrides)
    except packages.PackageError as error:
        raise click.UsageError(error.message) from None
    client = clients.Client(url)
    _say(f"Packed {package.entries} files, {outputs.size(len(package.zip_file))}")
    configuration = put(client, with_layers(client, package, layers))
    _say(f"{package.name} is {configuration['State']}")
    if outputs.wants_json(output):
        outputs.show_json(configuration)
    else:
        click.echo(f"Try: hotfork invoke {package.name} --log")


def with_layers(client: clients.Client, package: packages.Package, layers: tuple[str, ...]) -> packages.Package:
    """Return a package with these layers, if there are any, each given as NAME or NAME:N."""
    if not layers:
        return package
    arns = [layering.arn_of(client, layer) for layer in layers]
    return dataclasses.replace(package, configuration={**package.configuration, "Layers": arns})


def put(client: clients.Client, package: packages.Package) -> dict[str, Any]:
    """Create or update a function, and return its configuration once it is active."""
    current = _current(client, package.name)
    if current is None:
        _create(client, package)
    else:
        _update(client, package, current)
    return _wait(client, package.name)


def _say(line: str) -> None:
    click.echo(line, err=True)


def environment(variables: tuple[str, ...]) -> dict[str, str]:
    """Return the variables that --env names; raise UsageError where it is not NAME=VALUE."""
    for variable in variables:
        if "=" not in variable:
            raise click.UsageError(f"--env {variable}: write it as NAME=VALUE")
    return dict(variable.split("=", 1) for variable in variables)


def _current(client: clients.Client, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.call("GET", clients.function_path(name, "configuration"))
    except clients.Refused as error:
        if error.code == "ResourceNotFoundException":
            return None
        raise
    return found


def _create(client: clients.Client, package: packages.Package) -> None:
    if "Handler" not in package.configuration:
        raise click.UsageError(
            "there is neither lambda_function.py nor handler.py at the top of the package: "
            "name the handler with --handler MODULE.FUNCTION"
        )
    document = package.creation(f"python3.{sys.version_info.minor}")
    document["Code"] = {"ZipFile": base64.b64encode(package.zip_file).decode()}
    client.call("POST", clients.FUNCTIONS, document)
    _say(f"Created {package.name}")


def _update(client: clients.Client, package: packages.Package, current: dict[str, Any]) -> None:
    present = {**current, "Layers": [layer["Arn"] for layer in current.get("Layers") or []]}
    changes = {key: value for key, value in package.configuration.items() if value != present.get(key)}
    if changes:
        client.call("PUT", clients.function_path(package.name, "configuration"), changes)
        _wait(client, package.name)
        _say(f"Updated {', '.join(changes)} of {package.name}")
    if package.sha256 == current["CodeSha256"]:
        _say("The code is unchanged" if changes else "Nothing has changed")
        return
    document = {"ZipFile": base64.b64encode(package.zip_file).decode()}
    client.call("PUT", clients.function_path(package.name, "code"), document)
    _say(f"Updated the code of {package.name}")


def _wait(client: clients.Client, name: str) -> dict[str, Any]:
    """Return the configuration once it is active and its last update is through; exit with 1 if that failed."""
    give_up = time.monotonic() + WAIT_S
    while True:
        found: dict[str, Any] = client.call("GET", clients.function_path(name, "configuration"))
        state, update = found.get("State"), found.get("LastUpdateStatus")
        if "Failed" in {state, update}:
            reason = found.get("StateReason") if state == "Failed" else found.get("LastUpdateStatusReason")
            raise click.ClickException(f"{name} failed: {reason}")
        if state == "Active" and update == "Successful":
            return found
        if time.monotonic() > give_up:
            raise clients.Unreachable(f"{name} is {state} (last update: {update}) after {WAIT_S} s")
        time.sleep(POLL_S)
