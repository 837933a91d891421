"""The ``hotfork`` command.

``hotfork ls`` must start in under 100 ms of CPU, so a command's module is imported when it is called, and the
commands that speak to a server use http.client instead of an SDK.

Exit codes: 0 done, 1 the function failed, 2 the command or what it asked for is wrong, 3 no server answers, or it
broke.
"""

import importlib

import click

import runtime
from runtime.cli import output

_COMMANDS = {
    "serve": "runtime.cli.serve",
    "deploy": "runtime.cli.deploy",
    "dev": "runtime.cli.dev",
    "invoke": "runtime.cli.invoke",
    "ls": "runtime.cli.functions",
    "describe": "runtime.cli.functions",
    "logs": "runtime.cli.logs",
    "events": "runtime.cli.events",
    "rm": "runtime.cli.functions",
    "versions": "runtime.cli.versions",
    "alias": "runtime.cli.aliases",
    "layer": "runtime.cli.layers",
    "concurrency": "runtime.cli.concurrency",
    "doctor": "runtime.cli.doctor",
    "env": "runtime.cli.env",
}
"""In the order of --help: the order in which one needs them."""


class Commands(click.Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, or None where there is none of this name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name)
        return command


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 the function failed, 2 the command or what it asked for is wrong, "
    "3 no server answers, or it broke.",
)
@click.version_option(runtime.__version__, prog_name="hotfork")
@output.group_options("HOTFORK_OUTPUT")
def main() -> None:
    """AWS Lambda functions on your own machine, in forked and confined workers."""
