"""``hotfork invoke``."""

import base64
import json
import sys
from pathlib import Path

import click

from runtime.cli import client as clients
from runtime.cli import output as outputs

TIMEOUT_S = 960
"""A function may run for 900 s."""


@click.command()
@click.argument("name")
@click.option("--payload", "-p", metavar="JSON|@FILE|-", help="The event; @FILE reads a file, - reads stdin.")
@click.option("--log", "-l", is_flag=True, help="Print the end of the log (4 KB) to stderr.")
@outputs.options
def invoke(name: str, payload: str | None, log: bool, url: str | None, output: str | None) -> None:
    """Invoke a function: NAME, NAME:QUALIFIER or ARN.

    The payload that it returns goes to stdout as it is (indented with --output table, and on a terminal),
    logs to stderr. Exits with 1 if the function failed.
    """
    answer = clients.Client(url).request(
        "POST",
        clients.function_path(name, "invocations"),
        _read(payload),
        {"X-Amz-Log-Type": "Tail"} if log else {},
        timeout_s=TIMEOUT_S,
    )
    clients.check(answer)
    if log:
        tail = base64.b64decode(answer.headers.get("X-Amz-Log-Result", "")).decode(errors="replace")
        click.echo(outputs.printable(tail), err=True, nl=not tail.endswith("\n"))
    _show(answer.body, indent=not outputs.wants_json(output))
    if "X-Amz-Function-Error" in answer.headers:
        sys.exit(1)


def _read(payload: str | None) -> bytes:
    if payload is None:
        return b"{}"
    if payload == "-":
        return sys.stdin.buffer.read()
    if payload.startswith("@"):
        try:
            return Path(payload[1:]).read_bytes()
        except OSError as error:
            raise click.UsageError(f"cannot read the payload {payload[1:]}: {error.strerror}") from None
    return payload.encode()


def _show(payload: bytes, *, indent: bool) -> None:
    if not indent:
        click.echo(payload, nl=not payload.endswith(b"\n"))
        return
    try:
        outputs.show_json(json.loads(payload))
    except ValueError:
        click.echo(outputs.printable(payload.decode(errors="replace")))
