"""How answers are shown: a table for people, JSON for programs."""

import functools
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

JSON = "json"
TABLE = "table"
_UNUSUAL = re.compile(r"[^\n\x20-\x7e]")


def inherited(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return an option's value, or where it is not given that of the groups before the command, the nearest first."""
    group = context.parent
    while value is None and group is not None:
        value, group = group.params.get(str(parameter.name)), group.parent
    return value


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --output and --url, which every command that speaks to a server takes: behind its name, or before it."""

    @click.option(
        "--url",
        metavar="URL",
        callback=inherited,
        help="Server; default: $HOTFORK_URL, $AWS_ENDPOINT_URL_LAMBDA, loopback.",
    )
    @output_option
    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        command(**arguments)

    return wrapped


def output_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add --output alone."""
    return click.option(
        "--output",
        type=click.Choice([JSON, TABLE]),
        callback=inherited,
        help="Default: $HOTFORK_OUTPUT, else table on a terminal, else json.",
    )(command)


def group_options(variable: str | None = None) -> Callable[[Callable[[], None]], Callable[..., None]]:
    """Add --output and --url to a group: given before a command's name, they count for that command."""

    def decorate(group: Callable[[], None]) -> Callable[..., None]:
        @click.option("--url", metavar="URL", help="As with the commands.")
        @click.option("--output", type=click.Choice([JSON, TABLE]), envvar=variable, help="As with the commands.")
        @functools.wraps(group)
        def wrapped(url: str | None, output: str | None) -> None:  # noqa: ARG001 - its commands inherit them
            group()

        return wrapped

    return decorate


def wants_json(chosen: str | None) -> bool:
    """Return whether JSON is to be printed: as chosen, else whenever stdout is no terminal."""
    return chosen == JSON or (chosen is None and not sys.stdout.isatty())


def show_json(document: Any) -> None:
    """Print a document, indented. What no terminal should get, or no encoding has, is escaped: JSON allows it."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    click.echo(_UNUSUAL.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text))


def show_done(document: Any, line: str, output: str | None) -> None:
    """Print what came of a change: the document for programs, one line for people."""
    if wants_json(output):
        show_json(document)
    else:
        click.echo(line)


def show_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print rows as a table; ``columns`` maps a row's key to its heading. Numbers are aligned right."""
    cells = [[_text(row.get(key)) for key in columns] for row in rows]
    numeric = [bool(rows) and all(isinstance(row.get(key), int | float | None) for row in rows) for key in columns]
    headings = list(columns.values())
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for line in (headings, *cells):
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        click.echo("  ".join(aligned).rstrip())


def show_fields(fields: Mapping[str, Any]) -> None:
    """Print a mapping, one line for each entry."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        click.echo(f"{name.ljust(width)}  {_text(value)}")


def printable(text: str) -> str:
    """Return a function's text for a terminal: a stray carriage return or escape sequence must not rule it.

    AWS's runtime joins the lines of a stack trace by carriage returns; they become line breaks.
    """
    return "".join(
        character if character.isprintable() or character in "\t\n\xa0" else ascii(character)[1:-1]
        for character in text.replace("\r\n", "\n").replace("\r", "\n")
    )


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    amount = float(count)
    for unit in ("B", "KB", "MB"):
        if amount < 1024:  # noqa: PLR2004
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text).replace("\n", "\\n")
