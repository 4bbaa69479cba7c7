"""tidemill rounds: what each round saw, measured and decided."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from tidemill_contracts.errors import NotFound
from tidemill_registry.registry import Registry
from tidemill_registry.trigger_rows import triggers_of_round

from tidemill.deployment import find_addresses
from tidemill.reports import describe_triggers, plot_rounds, rounds_table


@click.command(
    epilog="""\b
Examples:
  tidemill rounds digits
  tidemill rounds digits --reasons --plot rounds.png"""
)
@click.argument("model", default="digits")
@click.option("--reasons", is_flag=True, help="Print why each round ended as it did.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw accuracy and loss.")
@click.pass_obj
def rounds(data: Path, model: str, reasons: bool, plot: Path | None) -> None:
    """Show the rounds of MODEL (digits unless told): promoted, ignored and still running."""
    registry = Registry.open(find_addresses(data).database)
    try:
        found, test_runs = registry.rounds(model), registry.test_runs(model)
        with registry.read() as sql:
            woken = {one.id: describe_triggers(triggers_of_round(sql, one.id)) for one in found}
    finally:
        registry.close()
    if not found:
        raise NotFound(
            f"{model} has had no round yet: publish samples, such as `tidemill publish {model} --bundled`"
        )
    console = Console()
    console.print(rounds_table(model, found, test_runs))
    if reasons:
        for one in found:
            console.print(f"round {one.number}: {one.reason or one.phase}", highlight=False)
            console.print(f"  [dim]{one.id}; woken by {woken[one.id]}[/]", highlight=False, soft_wrap=True)
    if plot:
        plot_rounds(model, found, test_runs, plot)
        console.print(f"drawn in {plot}")
