"""``hotfork doctor``."""

import dataclasses

import click

from runtime.cli import output as outputs


@click.command()
@outputs.output_option
def doctor(output: str | None) -> None:
    """Show which controls of the sandbox this machine gives, why not the others, and what to do."""
    from runtime.pool import isolation  # noqa: PLC0415 - not needed by other commands

    report = isolation.probe()
    if outputs.wants_json(output):
        outputs.show_json(dataclasses.asdict(report))
        return
    click.echo(f"Isolation level {report.level} of 3")
    rows = [
        {
            "name": control.name,
            "engaged": "yes" if control.engaged else "NO",
            "why": "" if control.engaged else control.why,
            "cure": "" if control.engaged else control.cure,
        }
        for control in report.controls
    ]
    outputs.show_table(rows, {"name": "CONTROL", "engaged": "ENGAGED", "why": "WHY NOT", "cure": "WHAT TO DO"})
