"""``hotfork logs``."""

import datetime as dt
import json
import signal
import sys
import urllib.parse
from typing import Any

import click

from runtime.cli import client as clients
from runtime.cli import output as outputs

PAGE = 1000
WAIT_S = 20
"""How long the server may hold a request open until there is something new."""


@click.command()
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come, until interrupted.")
@outputs.options
def logs(name: str, follow: bool, url: str | None, output: str | None) -> None:
    """Print a function's log. With --output json: one JSON document a line."""
    if not name:
        raise click.UsageError("the function's name is empty")
    try:
        show(clients.Client(url), name, follow=follow, as_json=output == outputs.JSON)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # as tail -f ends, without a word


def show(client: clients.Client, name: str, *, follow: bool, as_json: bool, only_new: bool = False) -> None:
    """Print a function's log: to its end, or with ``follow`` for ever; with ``only_new`` not what there is already."""
    cursor = ""
    while True:
        query = {"after": cursor, "limit": str(PAGE)} | ({"wait": str(WAIT_S)} if follow and not only_new else {})
        path = f"/_hotfork/logs/{urllib.parse.quote(name, safe='')}?{urllib.parse.urlencode(query)}"
        page = client.call("GET", path, timeout_s=WAIT_S + 40)
        for event in () if only_new else page["events"]:
            _show(event, as_json=as_json)
        cursor = page["cursor"]
        only_new = only_new and not page["at_end"]
        if not follow and page["at_end"]:
            return


def _show(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(event, ensure_ascii=False))
        return
    time = dt.datetime.fromtimestamp(event["timestamp"] / 1000, dt.UTC)
    message = outputs.printable(event["message"].rstrip())
    click.echo(f"{time:%Y-%m-%dT%H:%M:%S}.{event['timestamp'] % 1000:03d}Z {message}")
