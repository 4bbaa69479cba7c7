"""tidemill promote and tidemill rollback: a person decides which version answers."""

from __future__ import annotations

import getpass
from pathlib import Path

import click
from tidemill_chassis.adapters import open_store
from tidemill_contracts import label_changes

from tidemill.deployment import find_addresses

WHY = click.option("--why", default="", help="Kept in the record of changes.")
BY = click.option("--by", default=getpass.getuser, help="Who decides.  [default: the user]")


@click.command(epilog='Example: tidemill promote digits 4 --why "version 5 mistakes sevens"')
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@WHY
@BY
@click.pass_obj
def promote(data: Path, model: str, version: int, why: str, by: str) -> None:
    """Make VERSION of MODEL the stable one; what was stable becomes the previous one."""
    store = open_store(find_addresses(data).store)
    _tell(label_changes.promote(store, model, version, by=by, reason=why))


@click.command(epilog="Example: tidemill rollback digits")
@click.argument("model")
@WHY
@BY
@click.pass_obj
def rollback(data: Path, model: str, why: str, by: str) -> None:
    """Make the previous version of MODEL the stable one again."""
    store = open_store(find_addresses(data).store)
    _tell(label_changes.rollback(store, model, by=by, reason=why))


def _tell(change: label_changes.LabelChange) -> None:
    before, after = change.labels_before.stable, change.labels_after.stable
    was = f"was {before}" if before != after else "as it was"
    click.echo(f"version {after} of {change.model} is stable now ({was}); serving switches within seconds")
