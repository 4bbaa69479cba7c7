"""tidemill verify: does the store hold what the registry says, unchanged?"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from tidemill_chassis.adapters import open_store
from tidemill_registry.registry import Registry

from tidemill.checkpoint import Checkpoint
from tidemill.deployment import find_addresses
from tidemill.verification import Difference, Tally, Verifier

SAVE_EVERY = 20


@click.command(
    epilog="""\b
Examples:
  tidemill verify
  tidemill verify digits --restart"""
)
@click.argument("dataset", required=False)
@click.option("--restart", is_flag=True, help="Begin at the first object, not where a try was stopped.")
@click.pass_obj
def verify(data: Path, dataset: str | None, restart: bool) -> None:
    """Read every kept object of DATASET, or of all, and name every difference from the registry.

    Exit code 0: there is none; 1: there are some. Nothing is changed.
    """
    addresses = find_addresses(data)
    registry = Registry.open(addresses.database)
    checkpoint = Checkpoint.of(data, "verify", addresses.store, addresses.database, dataset)
    if restart:
        checkpoint.forget()
    try:
        verifier = Verifier(open_store(addresses.store), registry)
        tally, differences = _walk(verifier, dataset, checkpoint)
    finally:
        registry.close()
    for each in differences:
        click.echo(f"{each.object}: {each.fault}")
    click.echo(
        f"{tally.object_count:,} objects, {tally.message_count:,} messages, {tally.sample_count:,} samples, "
        f"{tally.size_bytes:,} bytes; {tally.waiting:,} objects not read by the trainer yet; "
        f"{len(differences):,} differences",
        err=True,
    )
    if differences:
        sys.exit(1)


def _walk(verifier: Verifier, dataset: str | None, checkpoint: Checkpoint) -> tuple[Tally, list[Difference]]:
    """Check object by object, then the rows; what an earlier try looked at is not read again."""
    console = Console(stderr=True)
    state = checkpoint.load()
    tally = Tally(**state.get("tally", {}))
    differences = [Difference(*pair) for pair in state.get("differences", [])]
    after = state.get("after", "")
    names = verifier.names(dataset)
    remaining = [name for name in names if name > after]
    if after:
        console.print(f"going on after {len(names) - len(remaining):,} objects (--restart begins anew)")
    for count, name in enumerate(track(remaining, "verifying", console=console), start=1):
        differences += verifier.check(name, tally)
        if count % SAVE_EVERY == 0:
            found = [(each.object, each.fault) for each in differences]
            checkpoint.save({"after": name, "tally": asdict(tally), "differences": found})
    differences += verifier.missing(names, dataset)
    differences += verifier.miscounted(dataset)
    checkpoint.forget()
    return tally, differences
