"""tidemill force, tidemill veto and tidemill doubts: a person has the last word, with who and why."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from tidemill_contracts.errors import InvalidInput, NotFound
from tidemill_registry.decision_rows import Action, add_wish, list_wishes
from tidemill_registry.doubt_rows import labels_by_id, list_near, open_claims
from tidemill_registry.records import RoundRecord
from tidemill_registry.registry import Registry

from tidemill.deployment import find_addresses

NEAR_SHOWN_MAX = 20
WHY = click.option("--why", required=True, help="Kept with the decision and in the model card.")
BY = click.option("--by", default=getpass.getuser, help="Who decides.  [default: the user]")


@click.command(epilog='Example: tidemill force digits 12 --why "the new camera is the only one now"')
@click.argument("model")
@click.argument("number", type=click.IntRange(min=1))
@WHY
@BY
@click.pass_obj
def force(data: Path, model: str, number: int, why: str, by: str) -> None:
    """Publish the challenger of round NUMBER of MODEL, whatever the gate says or said.

    A challenger that is no working model is not published even so.
    """
    _wish(data, "force", model, number, by=by, why=why)


@click.command(epilog='Example: tidemill veto digits 13 --why "its labels come from the broken scanner"')
@click.argument("model")
@click.argument("number", type=click.IntRange(min=1))
@WHY
@BY
@click.pass_obj
def veto(data: Path, model: str, number: int, why: str, by: str) -> None:
    """Keep the challenger of the running round NUMBER of MODEL from being published.

    What is published already is taken back by `tidemill rollback`.
    """
    _wish(data, "veto", model, number, by=by, why=why)


def _wish(data: Path, action: Action, model: str, number: int, *, by: str, why: str) -> None:
    registry = Registry.open(find_addresses(data).database)
    try:
        round_ = next((one for one in registry.rounds(model) if one.number == number), None)
        if round_ is None:
            raise NotFound(f"{model} has no round {number}; `tidemill rounds {model}` lists them")
        _check(action, round_)
        with registry.write() as sql:
            add_wish(sql, action, scope=model, subject=round_.id, by=by, why=why, at=_now())
    finally:
        registry.close()
    click.echo(f"noted: the trainer does it at its next look; `tidemill rounds {model} --reasons` tells")


def _check(action: Action, round_: RoundRecord) -> None:
    """Say at once what can be known at once; the trainer looks again."""
    number = round_.number
    if action == "veto" and round_.closed_at is not None:
        remedy = f"`tidemill rollback {round_.model}` takes it back" if round_.status == "promoted" else ""
        raise InvalidInput(f"round {number} is {round_.status} already. {remedy}".rstrip(), field="number")
    if action == "force" and round_.status in ("promoted", "failed"):
        raise InvalidInput(
            f"round {number} is {round_.status}; only a running or an ignored one can be forced",
            field="number",
        )


@click.command(
    epilog="""\b
Examples:
  tidemill doubts digits
  tidemill doubts digits --resolve 3f2a… --label 7 --why "it is a seven with a bar" """
)
@click.argument("dataset")
@click.option("--resolve", metavar="SAMPLE", help="Decide on this sample.")
@click.option("--label", help="The label that it has from now on.")
@click.option("--why", default="", help="Kept in the registry.")
@BY
@click.pass_obj
def doubts(data: Path, dataset: str, resolve: str | None, label: str | None, why: str, by: str) -> None:
    """List samples of DATASET with two labels, which train nothing until resolved, and near-duplicates."""
    if (resolve is None) != (label is None):
        raise InvalidInput("--resolve SAMPLE and --label LABEL belong together", field="label")
    registry = Registry.open(find_addresses(data).database)
    try:
        if resolve is not None:
            with registry.write() as sql:
                if resolve not in labels_by_id(sql, dataset, [resolve]):
                    raise NotFound(f"dataset {dataset} has no sample {resolve}; `tidemill doubts` lists them")
                add_wish(
                    sql, "relabel", scope=dataset, subject=resolve, value=label, by=by, why=why, at=_now()
                )
            click.echo(f"noted: {resolve} is {label} from the trainer's next look on")
            return
        _show(registry, dataset)
    finally:
        registry.close()


def _show(registry: Registry, dataset: str) -> None:
    with registry.read() as sql:
        claims, near = open_claims(sql, dataset), list_near(sql, dataset)
        decided = [each for each in list_wishes(sql, dataset) if each.action == "relabel"]
    console = Console()
    table = Table(title=f"{len(claims):,} labels of {dataset} in doubt", title_justify="left")
    for heading in ("sample", "role", "kept as", "also said to be", "under", "in"):
        table.add_column(heading, overflow="fold")
    for each in claims:
        under = "" if each.claimed_id == each.sample_id else each.claimed_id
        table.add_row(each.sample_id, each.role, each.kept_label, each.label, under, each.object)
    console.print(table)
    for wish in decided:
        outcome = wish.result or "waits for the trainer"
        console.print(f"{wish.at:%Y-%m-%d %H:%M} {wish.by}: {wish.subject} is {wish.value} ({outcome})")
    console.print(
        f"{len({each.test_id for each in near}):,} test samples stand near one to learn from", highlight=False
    )
    for pair in near[:NEAR_SHOWN_MAX]:
        console.print(
            f"  {pair.test_id} ~ {pair.train_id}: {pair.distance} of 256 bits differ", highlight=False
        )


def _now() -> datetime:
    return datetime.now(UTC)
