"""``hotfork versions``."""

from typing import Any

import click

from runtime.cli import aliases
from runtime.cli import client as clients
from runtime.cli import output as outputs


@click.command()
@click.argument("name")
@click.option("--publish", is_flag=True, help="Make a version of the function as it is now.")
@click.option("--description", metavar="TEXT", help="Of the version that is published.")
@click.option("--rm", "removed", metavar="NUMBER", help="Delete a version.")
@outputs.options
def versions(
    name: str, publish: bool, description: str | None, removed: str | None, url: str | None, output: str | None
) -> None:
    """List the versions of a function, or publish one.

    A version is the function's code and settings as they were when it was published; $LATEST is what `deploy` changes.
    Publishing a function that has not changed since gives the version that there is.
    """
    if publish and removed:
        raise click.UsageError("--publish and --rm exclude each other")
    if description is not None and not publish:
        raise click.UsageError("--description goes with --publish")
    client = clients.Client(url)
    if publish:
        _publish(client, name, description, output)
    elif removed:
        client.call("DELETE", clients.function_path(name) + f"?Qualifier={clients.quote(removed)}")
        outputs.show_done({"Deleted": removed}, f"Deleted version {removed} of {name}", output)
    else:
        _list(client, name, output)


def _publish(client: clients.Client, name: str, description: str | None, output: str | None) -> None:
    document = {} if description is None else {"Description": description}
    made = client.call("POST", clients.function_path(name, "versions"), document)
    outputs.show_done(made, f"Version {made['Version']} of {name}: hotfork invoke {name}:{made['Version']}", output)


def _list(client: clients.Client, name: str, output: str | None) -> None:
    found = client.listed(clients.function_path(name, "versions"), "Versions")
    if outputs.wants_json(output):
        outputs.show_json(found)
        return
    names = _aliases(client.listed(clients.function_path(name, "aliases"), "Aliases"))
    rows = [
        {
            **version,
            "Aliases": ", ".join(names.get(version["Version"], [])) or None,
            "Size": outputs.size(version["CodeSize"]),
            "Code": version["CodeSha256"][:12],
            "When": version["LastModified"][:19],
        }
        for version in found
    ]
    columns = {
        "Version": "VERSION",
        "Aliases": "ALIASES",
        "Runtime": "RUNTIME",
        "Code": "CODE SHA256",
        "Size": "SIZE",
        "When": "MODIFIED (UTC)",
        "Description": "DESCRIPTION",
    }
    outputs.show_table(rows, columns)


def _aliases(listed: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the aliases of each version, with their share of the calls where it is not all."""
    found: dict[str, list[str]] = {}
    for alias in listed:
        for version, share in aliases.shares(alias).items():
            text = alias["Name"] if share == 1 else f"{alias['Name']} {aliases.percent(share)}"
            found.setdefault(version, []).append(text)
    return found
