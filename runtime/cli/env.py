"""``hotfork env``."""

import os
import shlex

import click

from runtime.cli import client as clients
from runtime.cli import output as outputs


@click.command()
@outputs.options
def env(url: str | None, output: str | None) -> None:
    """Print the variables that lead AWS's tools to this server: eval "$(hotfork env)".

    The Lambda client alone is redirected; other services are called as before. SDKs want credentials and a
    region, so dummies are printed for those that are not set.
    """
    variables = {"AWS_ENDPOINT_URL_LAMBDA": clients.server_url(url, os.environ)}
    if not (os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")):
        variables |= {"AWS_ACCESS_KEY_ID": "hotfork", "AWS_SECRET_ACCESS_KEY": "hotfork"}
    region = os.environ.get("HOTFORK_REGION") or os.environ.get("AWS_REGION") or "us-east-1"
    variables |= {"AWS_DEFAULT_REGION": region, "AWS_REGION": region}
    if output == outputs.JSON:
        outputs.show_json(variables)
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
