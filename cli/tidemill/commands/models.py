"""tidemill models: which versions there are, and which of them answer."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from tidemill_chassis.adapters import open_store
from tidemill_contracts import layout
from tidemill_contracts.errors import Corrupt, InvalidInput, NotFound
from tidemill_contracts.manifest import Labels, ModelCard, parse_document, read_labels
from tidemill_contracts.objects import ObjectStore

from tidemill.deployment import find_addresses
from tidemill.history import show_history


@click.command(
    epilog="""\b
Examples:
  tidemill models digits
  tidemill models digits --lineage 3
  tidemill models digits --sample 3f2a…
  tidemill models digits --plot tests.svg"""
)
@click.argument("model", required=False)
@click.option("--lineage", type=click.IntRange(min=1), help="Print every sample that made this version.")
@click.option("--sample", help="Print which versions this sample made.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw tests and drift over time."
)
@click.pass_obj
def models(data: Path, model: str | None, lineage: int | None, sample: str | None, plot: Path | None) -> None:
    """List the versions of MODEL, or of every model, with what each was made from and how good it is."""
    if lineage is not None or sample is not None or plot is not None:
        if model is None:
            raise InvalidInput("name the model, such as `tidemill models digits --lineage 3`", field="model")
        show_history(find_addresses(data).database, model, lineage=lineage, sample=sample, plot=plot)
        return
    store = open_store(find_addresses(data).store)
    names = [model] if model else list_models(store)
    if not names:
        raise NotFound(
            "no model has a version yet: publish samples, such as `tidemill publish digits --bundled`"
        )
    console = Console()
    for name in names:
        console.print(_table(store, name))


def list_models(store: ObjectStore) -> list[str]:
    """Every model that has something in the store."""
    prefix = layout.MODELS
    return sorted({info.name.removeprefix(prefix).split("/")[0] for info in store.list(prefix)})


def list_versions(store: ObjectStore, model: str) -> list[int]:
    """The versions of a model that are whole, oldest first."""
    prefix = layout.model_prefix(model)
    parts = (info.name.removeprefix(prefix).split("/") for info in store.list(prefix))
    return sorted(int(part[0]) for part in parts if len(part) == 2 and part[1] == layout.MANIFEST)


def _table(store: ObjectStore, model: str) -> Table:
    versions = list_versions(store, model)
    if not versions:
        raise NotFound(f"there is no model {model} with a version; `tidemill models` lists them")
    labels, _ = read_labels(store, model)
    table = Table(title=f"Versions of {model}", title_justify="left")
    for heading in ("version", "label", "made", "parent", "trained on", "accuracy", "loss", "why"):
        numeric = heading in {"version", "parent", "trained on", "accuracy", "loss"}
        table.add_column(heading, justify="right" if numeric else "left")
    for version in versions:
        table.add_row(str(version), _labels_of(labels, version), *_facts(store, model, version))
    return table


def _labels_of(labels: Labels, version: int) -> str:
    return ", ".join(name for name, value in labels if value == version)


def _facts(store: ObjectStore, model: str, version: int) -> tuple[str, ...]:
    name = layout.model_card_name(model, version)
    try:
        card = parse_document(ModelCard, store.get(name), name)
    except (NotFound, Corrupt) as error:
        return ("", "", "", "", "", str(error))
    return (
        f"{card.created_at:%Y-%m-%d %H:%M}",
        str(card.parent_version or ""),
        f"{card.train_samples:,}",
        f"{card.metrics.get('accuracy', float('nan')):.4f}",
        f"{card.metrics.get('loss', float('nan')):.4f}",
        card.decision,
    )
