"""tidemill replay: publish again what the store keeps."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tidemill_chassis import retry
from tidemill_chassis.adapters import open_bus, open_store
from tidemill_contracts.bus import Bus, Message
from tidemill_contracts.errors import NotFound
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import SPLITS

from tidemill.checkpoint import Checkpoint
from tidemill.deployment import find_addresses
from tidemill.replaying import Period, Selection, Stages, list_batches, list_foreign
from tidemill.where import Where

TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.command(
    epilog="""\b
Examples:
  tidemill replay digits --dry-run
  tidemill replay digits --split train --from 2026-01-01 --to 2026-02-01
  tidemill replay digits --where label=7 --where label=9
  tidemill replay digits --foreign old-subscription/"""
)
@click.argument("dataset")
@click.option("--split", type=click.Choice(SPLITS), help="Only this split.")
@click.option("--from", "since", type=TIME, help="Only messages published at or after this time (UTC).")
@click.option("--to", "until", type=TIME, help="Only messages published before this time (UTC).")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only samples with this label or id, or of messages with this source or attribute.",
)
@click.option(
    "--foreign",
    metavar="PREFIX",
    help="Objects that Cloud Storage subscriptions or Syntio's Persistor wrote, below this prefix.",
)
@click.option("--dry-run", is_flag=True, help="Count, and publish nothing.")
@click.option("--restart", is_flag=True, help="Begin at the first object, not where a try was stopped.")
@click.pass_obj
def replay(
    data: Path,
    dataset: str,
    split: str | None,
    since: datetime | None,
    until: datetime | None,
    conditions: tuple[str, ...],
    foreign: str | None,
    dry_run: bool,
    restart: bool,
) -> None:
    """Publish the kept messages of DATASET again, under the same ids, so that nothing is counted twice."""
    # Our batches lie by dataset and split; what others wrote is told apart by what it says itself.
    own = (f"dataset={dataset}", *((f"split={split}",) if split else ())) if foreign else ()
    where = Where.parse((*conditions, *own))
    addresses = find_addresses(data)
    store = open_store(addresses.store)
    identity = (addresses.store, addresses.bus, dataset, split, since, until, sorted(conditions), foreign)
    checkpoint = Checkpoint.of(data, "replay", *identity)
    if restart:
        checkpoint.forget()
    state = {} if dry_run else checkpoint.load()
    # What this replay makes the persistor keep is published later than its beginning: it is not replayed too.
    begun = state.get("begun") or datetime.now(UTC).replace(tzinfo=None).isoformat()
    period = Period(since, until or datetime.fromisoformat(begun))
    names = _names(store, dataset, split, foreign)
    console = Console(stderr=True)
    selection = Selection(store, period, where, Stages(**state.get("stages", {})))
    remaining = [name for name in names if name > state.get("after", "")]
    if state:
        console.print(f"going on after {len(names) - len(remaining):,} objects (--restart begins anew)")
    bus = None if dry_run else open_bus(addresses.bus)
    for name in track(remaining, "replaying", console=console):
        messages = selection.choose(name)
        if bus is not None:
            _publish(bus, messages)
        selection.stages.published_count += len(messages)
        if bus is not None:
            checkpoint.save({"begun": begun, "after": name, "stages": asdict(selection.stages)})
    if bus is not None:
        bus.close()
        checkpoint.forget()
    console.print(_table(selection.stages, dry_run))


def _names(store: ObjectStore, dataset: str, split: str | None, foreign: str | None) -> list[str]:
    """The objects to read, in order; raises NotFound where there are none."""
    if foreign:
        names, missing = list_foreign(store, foreign), f"the store has no foreign object below {foreign}"
    else:
        names = list_batches(store, dataset, (split,) if split else SPLITS)
        missing = f"the store keeps no batch of {dataset}" + (f" in split {split}" if split else "")
    if not names:
        raise NotFound(missing)
    return names


def _publish(bus: Bus, messages: list[Message]) -> None:
    """All of an object's messages; Unavailable after a few tries, and the next replay goes on from here."""
    if messages:
        retry.call(lambda: bus.publish(SamplesReceived.topic, messages))


def _table(stages: Stages, dry_run: bool) -> Table:
    table = Table("stage", title_justify="left", title="would be replayed" if dry_run else "replayed")
    table.add_column("count", justify="right")
    for name, count in (
        ("objects read", stages.object_count),
        ("objects not readable", stages.unreadable_count),
        ("messages found", stages.message_count),
        ("outside the times", stages.outside_count),
        ("copies skipped", stages.copy_count),
        ("not as --where says", stages.unlike_count),
        ("messages that would be published" if dry_run else "messages published", stages.published_count),
        ("samples in them", stages.sample_count),
    ):
        table.add_row(name, f"{count:,}")
    return table
