"""``hotfork concurrency``."""

import time
from typing import Any

import click

from runtime.cli import client as clients
from runtime.cli import output as outputs

_SETTINGS = "/2016-08-19/account-settings"
_WAIT_S = 120
_POLL_S = 0.1


def _count(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "none":
        return value
    if not (value.isascii() and value.isdigit()):
        raise click.BadParameter(f"{value!r} is neither a number nor none")
    return int(value)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--reserve", callback=_count, metavar="N|none", help="Calls at once that are its own, and all it may have."
)
@click.option("--provision", callback=_count, metavar="N|none", help="Workers kept ready; NAME:VERSION or NAME:ALIAS.")
@outputs.options
def concurrency(
    name: str | None, reserve: int | str | None, provision: int | str | None, url: str | None, output: str | None
) -> None:
    """Show or set how many calls of a function may run at once.

    \b
    hotfork concurrency                        the server's limit, and what is free of it
    hotfork concurrency hello                  what hello has
    hotfork concurrency hello --reserve 20     20 calls are always possible, more are not
    hotfork concurrency hello --reserve 0      it is turned off
    hotfork concurrency hello --reserve none   it shares with the others
    hotfork concurrency hello:live --provision 5
    """  # noqa: D301 - for click, \b is a character
    if name is None and (reserve is not None or provision is not None):
        raise click.UsageError("--reserve and --provision go with a function: hotfork concurrency NAME")
    client = clients.Client(url)
    if name is None:
        _account(client, output)
        return
    if reserve is not None:
        _reserve(client, name, reserve)
    if provision is not None:
        _provision(client, name, provision)
    _function(client, name, output)


def _account(client: clients.Client, output: str | None) -> None:
    found = client.call("GET", _SETTINGS)
    if outputs.wants_json(output):
        outputs.show_json(found)
        return
    limits, usage = found["AccountLimit"], found["AccountUsage"]
    fields = {
        "Calls at once": limits["ConcurrentExecutions"],
        "of them not reserved": limits["UnreservedConcurrentExecutions"],
        "Functions": usage["FunctionCount"],
        "Code": f"{outputs.size(usage['TotalCodeSize'])} of {outputs.size(limits['TotalCodeSize'])}",
    }
    outputs.show_fields(fields)


def _reserve(client: clients.Client, name: str, count: int | str) -> None:
    path = f"/2017-10-31/functions/{clients.quote(name)}/concurrency"
    if count == "none":
        client.call("DELETE", path)
    else:
        client.call("PUT", path, {"ReservedConcurrentExecutions": count})


def _provision(client: clients.Client, name: str, count: int | str) -> None:
    """Have workers kept ready, and wait until they are."""
    function, _, qualifier = name.rpartition(":")
    if not function or name.startswith("arn:"):
        raise click.UsageError("--provision wants a version or an alias: hotfork concurrency NAME:ALIAS --provision N")
    path = f"{_provisioned(function)}?Qualifier={clients.quote(qualifier)}"
    if count == "none":
        client.call("DELETE", path)
        return
    client.call("PUT", path, {"ProvisionedConcurrentExecutions": count})
    give_up = time.monotonic() + _WAIT_S
    while (found := client.call("GET", path))["Status"] != "READY":
        if found["Status"] == "FAILED":
            raise click.ClickException(f"{name} could not be provisioned: {found.get('StatusReason')}")
        if time.monotonic() > give_up:
            ready = found["AvailableProvisionedConcurrentExecutions"]
            raise clients.Unreachable(f"{ready} of {count} workers are ready after {_WAIT_S} s")
        time.sleep(_POLL_S)


def _function(client: clients.Client, name: str, output: str | None) -> None:
    function = name if name.startswith("arn:") else name.partition(":")[0]
    reserved = client.call("GET", f"/2019-09-30/functions/{clients.quote(function)}/concurrency")
    provisioned = client.listed(f"{_provisioned(function)}?List=ALL", "ProvisionedConcurrencyConfigs")
    if outputs.wants_json(output):
        outputs.show_json({**reserved, "ProvisionedConcurrencyConfigs": provisioned})
        return
    own = reserved.get("ReservedConcurrentExecutions")
    texts = {None: "none, it shares with the others", 0: "0, it is turned off"}
    fields: dict[str, Any] = {"Reserved": texts.get(own, own)}
    for one in provisioned:
        qualifier = one["FunctionArn"].rpartition(":")[2]
        ready = one["AvailableProvisionedConcurrentExecutions"]
        text = f"{ready} of {one['RequestedProvisionedConcurrentExecutions']}"
        fields[f"Ready for {qualifier}"] = f"{text}, {one['StatusReason']}" if "StatusReason" in one else text
    outputs.show_fields(fields)


def _provisioned(function: str) -> str:
    return f"/2019-09-30/functions/{clients.quote(function)}/provisioned-concurrency"
