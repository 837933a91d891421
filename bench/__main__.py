"""``python -m bench SCENARIO``, ``python -m bench compare OLD NEW``."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from bench import check, client, compare, harness, load, model, report, result, scenarios, setting, summary, text

_OPTIONS = [
    click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the result here."),
    click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a report here."),
    click.option("--duration", "duration_s", default=5.0, show_default=True, help="Seconds of each run."),
    click.option("--repeat", default=3, show_default=True, help="Runs of each load."),
    click.option("--count", type=int, help="Workers, functions or invocations, where a scenario has a number."),
    click.option(
        "--isolation",
        type=click.Choice(["strong", "auto", "none"]),
        default="auto",
        show_default=True,
        help="none: without the sandbox, to price it.",
    ),
    click.option("--target", help="URL of a server that runs already."),
    click.option("--function", help="With --target: a function there, to measure instead of our own."),
    click.option("--body", help="What to send it.", metavar="JSON"),
    click.option(
        "--trace",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="keepalive: folder with a day of the Azure Functions 2019 trace.",
    ),
]


_FAILURES = (harness.NotReady, load.LoadFailed, client.Refused, OSError)


def _named(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [each.partition("=") for each in given]
    if not all(name and url for name, _, url in pairs):
        raise click.BadParameter("write it as NAME=URL")
    return tuple((name, url) for name, _, url in pairs)


_INSTALL = click.option("--peers", "install_peers", is_flag=True, help="Install peers from PyPI and npm, into a cache.")
_PEERS = [
    _INSTALL,
    click.option(
        "--peer",
        "peers",
        multiple=True,
        callback=_named,
        metavar="NAME=URL",
        help="peers: a server to measure beside ours.",
    ),
]


def _with_options(*more: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed([*_OPTIONS, *more]):
            command = option(command)
        return command

    return decorate


@click.group(help="Measures hotfork, and any server that answers the Invoke path. See docs/performance.md.")
def main() -> None:
    """Take a command."""


def _command(name: str, run: Callable[[setting.Setting], tuple[list[result.Result], bool]], help_: str) -> None:
    @main.command(name, help=help_)
    @_with_options(*(_PEERS if name in {"peers", "all"} else [_INSTALL] if name in {"async", "cold"} else []))
    def command(json_file: Path | None, html_file: Path | None, **options: Any) -> None:
        if options["function"] is not None and options["target"] is None:
            raise click.UsageError("--function needs --target: a server of our own has only our functions")
        with _errors():
            results, complete = run(setting.Setting(**options, say=_say))
        _say("")
        for each in results:
            click.echo(text.rendered(each, summary.tables(each)))
        _write(results, json_file, html_file)
        if not complete:
            sys.exit(1)


def _all(given: setting.Setting) -> tuple[list[result.Result], bool]:
    """Return the results of all scenarios, and whether none failed: what others found in an hour is not lost by it."""
    found, complete = [], True
    for name, run in scenarios.ALL.items():
        try:
            found.append(run(given))
        except setting.Unsuitable as error:
            click.echo(f"{name}: left out: {error}", err=True)
        except _FAILURES as error:
            click.echo(f"{name}: failed: {error}", err=True)
            complete = False
        except KeyboardInterrupt:
            click.echo(f"{name}: interrupted", err=True)
            return found, False
    return found, complete


def _one(run: scenarios.Scenario) -> Callable[[setting.Setting], tuple[list[result.Result], bool]]:
    return lambda given: ([run(given)], True)


for _name, _run in scenarios.ALL.items():
    _command(_name, _one(_run), (_run.__doc__ or "").strip())
_command("all", _all, "Every scenario, one after the other.")


@main.command("compare", help="Say what differs between two result files, and whether by more than chance.")
@click.argument("old", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("new", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def compare_files(old: Path, new: Path) -> None:
    """Print the ratios of two files' measures."""
    try:
        files = result.load(old), result.load(new)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    for warning in compare.warnings(*files):
        click.echo(f"* {warning}")
    found = compare.compare(*files)
    click.echo(text.table(found.columns, found.rows))


@main.command("model", help="Say what a result of http means for larger machines, on paper.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--load", "load_name", default="http.c8", show_default=True, help="The load whose CPU time counts.")
def model_larger(file: Path, load_name: str) -> None:
    """Print the model's answers."""
    try:
        known = {each.scenario: each for each in result.load(file)}
        found = model.table(model.costs(known["http"], load_name))
    except (KeyError, ValueError) as error:
        raise click.ClickException(f"{file} does not say what a call costs: {error}") from None
    click.echo(found.title)
    click.echo(text.table(found.columns, found.rows))


@main.command("check", help="Hold the promises of docs/performance.md against this machine; status 1 where one fails.")
@_with_options()
@click.option("--row", "rows", type=int, multiple=True, help="Only this row of the table; may be repeated.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the table here, for the docs.")
def check_promises(
    json_file: Path | None, html_file: Path | None, rows: tuple[int, ...], markdown: Path | None, **options: Any
) -> None:
    """Measure, judge, and print what was missed."""
    with _errors():
        results, verdicts = check.run(setting.Setting(**options, say=_say), scenarios.ALL, frozenset(rows))
    _say("")
    found = check.table(verdicts)
    click.echo(text.table(found.columns, found.rows))
    _write(results, json_file, html_file)
    if markdown is not None:
        markdown.write_text(text.markdown(found.columns, found.rows), encoding="utf-8")
    if not all(verdict.kept for verdict in verdicts):
        sys.exit(1)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (setting.Unsuitable, *_FAILURES) as error:
        raise click.ClickException(str(error)) from None


def _write(results: list[result.Result], json_file: Path | None, html_file: Path | None) -> None:
    if json_file is not None:
        result.save(json_file, results)
    if html_file is not None:
        html_file.write_text(report.page(results), encoding="utf-8")


def _say(what: str) -> None:
    """Show progress: on one line of a terminal, else a line each."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{what}", nl=False, err=True)
    elif what:
        click.echo(what, err=True)


if __name__ == "__main__":
    main(prog_name="python -m bench")
