"""``hotfork serve``."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from runtime import config, errors
from runtime.cli import client as clients
from runtime.cli import package as packages


@click.command()
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    envvar="HOTFORK_CONFIG",
    help="TOML file; configs/hotfork.toml lists every setting.",
)
@click.option("--host", help="Default: 127.0.0.1.")
@click.option("--port", type=int, help="Default: 3001; 0 takes a free one.")
@click.option("--state-dir", type=click.Path(), help="Default: $XDG_STATE_HOME/hotfork; as root /var/lib/hotfork.")
@click.option(
    "--isolation",
    type=click.Choice(["strong", "auto", "none"]),
    help="strong (default) refuses to start where a control is missing; auto takes the best there is; none confines "
    "nothing, to measure what the sandbox costs (dangerous).",
)
@click.option("--credentials", type=click.Path(), help="TOML file of users: every request must then be signed.")
@click.option(
    "--insecure", is_flag=True, default=None, help="Listen on any address although nobody needs to sign (dangerous)."
)
@click.option("--examples/--no-examples", default=None, help="Deploy the example functions, where names are free.")
def serve(file: Path | None, **flags: Any) -> None:
    """Run the server until SIGINT or SIGTERM."""
    flags |= {f"auth.{name}": flags.pop(name) for name in ("credentials", "insecure")}
    try:
        settings = config.load(flags, os.environ, file, is_root=os.geteuid() == 0)
        examples = packages.examples() if settings.examples else []
        sys.exit(_run(settings, examples))
    except (errors.ConfigError, packages.PackageError) as error:
        raise click.UsageError(error.message) from None
    except errors.HotforkError as error:
        raise click.ClickException(error.message) from None


def _run(settings: config.Settings, examples: list[packages.Package]) -> int:
    from runtime import supervisor  # noqa: PLC0415 - asyncio, uvloop and botocore: for this command alone

    own_runtime = f"python3.{sys.version_info.minor}"
    functions = [example.creation(own_runtime) for example in examples]
    names = [example.name for example in examples]
    return supervisor.main(settings, functions, lambda url, confinement: announce(url, confinement, names))


def announce(url: str, confinement: str, examples: list[str]) -> None:
    """Print where the server is, what is confined, and what to try next."""
    click.echo(f"hotfork listens on {url}")
    click.echo(confinement)
    if not examples:
        return
    boto3_line = "import boto3; print(boto3.client('lambda').invoke(FunctionName='hello')['Payload'].read())"
    click.echo(f"Functions: {', '.join(examples)}. Try in another terminal:")
    click.echo(f"""  curl -d '{{"name": "you"}}' {url}{clients.function_path("hello", "invocations")}""")
    click.echo("or, with AWS's own tools led here:")
    click.echo(f'  eval "$({_typed(sys.argv[0])} env --url {url})"')
    click.echo("  aws lambda invoke --function-name hello /dev/stdout")
    click.echo(f'  {_typed(sys.executable)} -c "{boto3_line}"')


def _typed(program: str) -> str:
    """Return what one types to call a program."""
    path = Path(program)
    if str(path.parent) in os.environ.get("PATH", "").split(os.pathsep):
        return path.name
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return program
