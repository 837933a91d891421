"""``hotfork doctor``."""

import platform
import sys
import sysconfig

import click

from runtime import errors
from runtime.cli import output as outputs


@click.command()
@outputs.output_option
def doctor(output: str | None) -> None:
    """Show which controls of the sandbox this machine gives, why not the others, and what to do.

    It tries each of them in a throw-away process, as the server does at its start; no server need run. What it
    finds is true for whoever runs it: try it as the user that the server is to run as.
    """
    from runtime.pool import isolation  # noqa: PLC0415 - not needed by other commands

    try:
        report = isolation.probe()
    except errors.IsolationError as error:
        raise click.ClickException(error.message) from None
    if outputs.wants_json(output):
        interpreter = {"version": platform.python_version(), "optimised": _is_optimised()}
        outputs.show_json({**report.document(), "interpreter": interpreter})
        return
    click.echo(report.summary().partition(". ")[0])
    width = max(len(control.name) for control in report.controls)
    for control in report.controls:
        name = control.name.ljust(width)
        if control.engaged:
            click.echo(f"  {name}  engaged")
            continue
        click.echo(f"  {name}  MISSING: {control.why}")
        if control.cure:
            click.echo(f"  {' ' * width}  to do: {control.cure}")
    if not _is_optimised():
        click.echo(
            f"This Python {platform.python_version()} was built without --enable-optimizations: every call takes about "
            "1.4 times as much processor time.\n  to do: install with the system's own python3, or build Python with it"
        )


def _is_optimised() -> bool:
    """Return whether the interpreter was built with profile-guided optimisation, as far as it says.

    Distributions all do, not all by this option.
    """
    return sys.base_prefix == "/usr" or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
