"""``hotfork dev``: serve a folder, and what it holds after each change."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from runtime.cli import client as clients
from runtime.cli import deploy as deploying
from runtime.cli import logs, watching
from runtime.cli import output as outputs
from runtime.cli import package as packages

STOP_S = 40.0
"""For a server of our own to end."""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", help="Default: the name of the folder.")
@click.option("--handler", help="Default: lambda_function.lambda_handler or handler.handler, whichever exists.")
@click.option("--memory", type=int, metavar="MB")
@click.option("--timeout", type=int, metavar="SECONDS")
@click.option("--env", "variables", multiple=True, metavar="K=V", help="A variable of the function; may be repeated.")
@click.option("--layer", "layers", multiple=True, metavar="NAME[:N]", help="As with deploy; for what rarely changes.")
@click.option("--runtime", metavar="python3.N", help="Default for a new function: that of this command.")
@click.option("--url", metavar="URL", callback=outputs.inherited, help="Server; default: as with all commands.")
def dev(
    folder: Path, name: str | None, variables: tuple[str, ...], layers: tuple[str, ...], url: str | None, **options: Any
) -> None:
    """Serve a folder: after each change the next invocation runs the new code.

    Uses the server that runs; where none does, and --url names none, starts one of its own that ends with this command
    and leaves nothing behind. Prints the function's log. Calls that are under way when a file changes finish with
    the old code.
    """
    _exit_when_terminated()
    overrides = {**options, "environment": deploying.environment(variables)}
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(_server(url))
            _serve(client, folder, name, overrides, layers)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)


def _serve(
    client: clients.Client, folder: Path, name: str | None, overrides: dict[str, Any], layers: tuple[str, ...]
) -> None:
    try:
        watch = watching.Watch(folder, packages.SKIPPED_FOLDERS)
    except OSError as error:
        raise click.ClickException(f"cannot watch {folder}: {error}") from None
    with contextlib.closing(watch):
        try:
            package = packages.read(folder, name, overrides)
        except packages.PackageError as error:
            raise click.UsageError(error.message) from None
        began = time.time()
        deploying.put(client, deploying.with_layers(client, package, layers))
        _warn_of_syntax(folder, 0.0)
        click.echo(f"{package.name} is served at {client.url}: change a file, and invoke it again", err=True)
        threading.Thread(target=_follow, args=(client.url, package.name), daemon=True).start()
        while True:
            watch.wait()
            since, began = began, time.time()
            _update(client, folder, package, overrides, layers)
            _warn_of_syntax(folder, since)


def _update(
    client: clients.Client, folder: Path, first: packages.Package, overrides: dict[str, Any], layers: tuple[str, ...]
) -> None:
    """Deploy what there is now; what keeps it from that is said, and the next change is another chance."""
    began = time.monotonic()
    try:
        package = packages.read(folder, first.name, overrides)
        deploying.put(client, deploying.with_layers(client, package, layers))
    except (packages.PackageError, clients.Refused) as error:
        click.echo(f"Not deployed: {error.message}", err=True)
    else:
        click.echo(f"Ready after {(time.monotonic() - began) * 1000:.0f} ms", err=True)


def _warn_of_syntax(folder: Path, since: float) -> None:
    """Say which changed modules cannot be compiled: the function answers with that error."""
    for path in sorted(folder.rglob("*.py")):
        try:
            if path.stat().st_mtime >= since and not packages.SKIPPED_FOLDERS & set(path.parts):
                compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
        except OSError:
            continue  # it went meanwhile


def _follow(url: str, name: str) -> None:
    """Print the function's log until the server is gone; ``hotfork logs`` shows what there was before."""
    with contextlib.suppress(click.ClickException):
        logs.show(clients.Client(url), name, follow=True, as_json=False, only_new=True)


@contextlib.contextmanager
def _server(url: str | None) -> Iterator[clients.Client]:
    """Return a client of the server that runs, or of one that ends with the block."""
    client = clients.Client(url)
    try:
        client.request("GET", "/healthz")
    except clients.Unreachable:
        if url or "HOTFORK_URL" in os.environ or "AWS_ENDPOINT_URL_LAMBDA" in os.environ:
            raise
    else:
        yield client
        return
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-c", "from runtime.cli import dev; dev.own_server()", str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if "listens on" not in line:
            raise click.ClickException("the server could not be started")
        yield clients.Client(line.split()[-1])
    finally:
        process.terminate()
        process.communicate(timeout=STOP_S)


def own_server() -> None:
    """Be the server of a ``hotfork dev``, whose pid is given: until that ends, however it does."""
    from runtime.cli import serve  # noqa: PLC0415 - what the command itself does without
    from runtime.pool import kernel  # noqa: PLC0415

    _exit_when_terminated()  # until the server hears of it itself
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        return  # it ended before the kernel knew of our wish
    with tempfile.TemporaryDirectory(prefix="hotfork-dev-") as folder:
        Path(folder).chmod(0o755)  # a worker's uid must be able to reach the code below it
        serve.serve(["--isolation", "auto", "--state-dir", f"{folder}/state"])


def _exit_when_terminated() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
