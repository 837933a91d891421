"""``hotfork events``: what waits, and what became of asynchronous events that nobody took."""

import re
import sys
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import click

from runtime.cli import client as clients
from runtime.cli import output as outputs

ROOT = "/_hotfork/events"
BATCH = 100
_SPAN = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _span(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    match = _SPAN.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no span of time such as 90s, 15m, 2h or 7d")
    return int(time.time()) - int(match[1]) * _SECONDS[match[2]]


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose dead letters."""
    for option in (
        click.option("--since", callback=_span, metavar="SPAN", help="Ended within 90s, 15m, 2h, 7d."),
        click.option("--error", metavar="TYPE", help="Error type, such as ValueError or Sandbox.Timedout."),
        click.option("--condition", metavar="NAME", help="RetriesExhausted, EventAgeExceeded ..."),
        click.option("--function", metavar="NAME"),
    ):
        command = option(command)
    return command


@click.group()
@outputs.group_options()
def events() -> None:
    """Look at asynchronous events: what waits, and the dead letters.

    An event that failed, or whose result could not be delivered, becomes a dead letter unless a destination or a
    dead-letter queue of its function took it.
    """


@events.command()
@outputs.options
def queue(url: str | None, output: str | None) -> None:
    """Show what waits, by function and by target of deliveries."""
    found = clients.Client(url).call("GET", f"{ROOT}/queue")
    if outputs.wants_json(output):
        outputs.show_json(found)
        return
    columns = {
        "name": "FUNCTION OR TARGET",
        "events": "WAITING",
        "bytes": "BYTES",
        "running": "RUNNING",
        "lag_s": "LATE S",
        "paused_s": "PAUSED S",
    }
    outputs.show_table(found["queues"], columns)
    click.echo(f"Dead letters: {found['letters']}")


@events.command("list")
@_filters
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@outputs.options
def list_(limit: int, url: str | None, output: str | None, **filters: Any) -> None:
    """List the dead letters, newest first."""
    client = clients.Client(url)
    found: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    count = None
    while len(found) < limit:
        asked = min(limit - len(found), 1000)
        page = client.call("GET", _path(filters, limit=asked, **before))
        count = page["count"] if count is None else count
        found += page["letters"]
        if len(page["letters"]) < asked:
            break
        before = {"before": found[-1]["id"]}
    if outputs.wants_json(output):
        outputs.show_json(found)
        return
    rows = [{**one, "size": outputs.size(one["size"])} for one in found]
    columns = {
        "id": "ID",
        "function": "FUNCTION",
        "ended": "ENDED (UTC)",
        "condition": "CONDITION",
        "error_type": "ERROR",
        "size": "SIZE",
    }
    outputs.show_table(rows, columns)
    if count and count > len(found):
        click.echo(f"{len(found)} of {count:,}: --limit shows more", err=True)


@events.command()
@click.argument("number", metavar="ID", type=click.IntRange(1))
@outputs.options
def show(number: int, url: str | None, output: str | None) -> None:
    """Show a dead letter: payload, error, tries, and the end of its log."""
    found = clients.Client(url).call("GET", f"{ROOT}/letters/{number}")
    if outputs.wants_json(output):
        outputs.show_json(found)
        return
    texts = {key: found.pop(key) for key in ("payload", "response", "log")}
    tries = found.pop("tries")
    outputs.show_fields({key: value for key, value in found.items() if value not in (None, "")})
    for one in tries:
        text = f"{one['at']}  {one['durationSeconds']:.3f} s  {one['errorType']}: {one['errorMessage']}"
        click.echo(f"try   {outputs.printable(text)}")
    for key, text in texts.items():
        if text:
            click.echo(f"\n--- {key}\n{outputs.printable(text.rstrip())}")


@events.command()
@click.argument("numbers", metavar="[ID]...", nargs=-1, type=click.IntRange(1))
@_filters
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many a second.")
@outputs.options
def redrive(
    numbers: tuple[int, ...], everything: bool, rate: float | None, url: str | None, output: str | None, **filters: Any
) -> None:
    """Run dead letters again, as new events with their old request ids.

    Where only the delivery of a result failed, it is delivered again.
    """
    _demand_choice(numbers, filters, everything=everything)
    client = clients.Client(url)
    chosen = [{"id": number} for number in numbers] or [_given(filters)]
    count, newest = _count(client, filters, numbers)
    started = time.monotonic()
    done = 0
    gone: set[int] = set()
    bar: Any
    with click.progressbar(
        length=count,
        label="Redriving",
        show_pos=True,
        item_show_func=lambda _item: f"{done / max(0.001, time.monotonic() - started):.0f}/s",
        file=sys.stderr,
    ) as bar:
        for one in chosen:
            # Events that fail again come back with higher numbers: they are not redriven for ever.
            document = {"until": newest, **one}
            while moved := client.call("POST", f"{ROOT}/redrive", {**document, "limit": _batch(rate)})["redriven"]:
                done += len(moved)
                gone.update(moved if numbers else ())
                bar.update(len(moved))
                if rate is not None:
                    time.sleep(max(0.0, started + done / rate - time.monotonic()))
    _conclude("Redriven", done, time.monotonic() - started, output)
    _demand_all(numbers, gone)


@events.command()
@click.argument("numbers", metavar="[ID]...", nargs=-1, type=click.IntRange(1))
@_filters
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@outputs.options
def purge(numbers: tuple[int, ...], everything: bool, url: str | None, output: str | None, **filters: Any) -> None:
    """Remove dead letters for good."""
    _demand_choice(numbers, filters, everything=everything)
    client = clients.Client(url)
    _, newest = _count(client, filters, numbers)
    started = time.monotonic()
    documents = [{"id": number} for number in numbers] or [{**_given(filters), "until": newest}]
    purged = [client.call("POST", f"{ROOT}/purge", one, timeout_s=600)["purged"] for one in documents]
    _conclude("Purged", sum(purged), time.monotonic() - started, output)
    _demand_all(numbers, {number for number, count in zip(numbers, purged, strict=False) if count})


def _demand_choice(numbers: tuple[int, ...], filters: dict[str, Any], *, everything: bool) -> None:
    if sum((bool(numbers), bool(_given(filters)), everything)) != 1:
        raise click.UsageError("choose dead letters by their numbers, by options, or --all of them")


def _demand_all(numbers: tuple[int, ...], gone: set[int]) -> None:
    """Raise Refused where one that was named is not there."""
    missing = [str(number) for number in dict.fromkeys(numbers) if number not in gone]
    if missing:
        raise clients.Refused(404, "ResourceNotFoundException", f"There is no dead letter {', '.join(missing)}.")


def _given(filters: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in filters.items() if value is not None}


def _count(client: clients.Client, filters: dict[str, Any], numbers: tuple[int, ...]) -> tuple[int, int]:
    found = client.call("GET", _path(filters, limit=1))
    return len(numbers) or found["count"], found["newest"]


def _batch(rate: float | None) -> int:
    return BATCH if rate is None else max(1, min(BATCH, int(rate / 5)))


def _path(filters: dict[str, Any], **more: Any) -> str:
    return f"{ROOT}/letters?{urllib.parse.urlencode({**_given(filters), **more})}"


def _conclude(what: str, count: int, seconds: float, output: str | None) -> None:
    if outputs.wants_json(output):
        outputs.show_json({what.lower(): count, "seconds": round(seconds, 3)})
    else:
        click.echo(f"{what} {count} in {seconds:.1f} s ({count / max(0.001, seconds):.0f}/s)")
