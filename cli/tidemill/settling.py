"""Waits until the platform has made of the published samples what it will."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from tidemill_contracts.errors import NotFound, Unavailable
from tidemill_contracts.model_spec import load_specs

from tidemill.deployment import Addresses
from tidemill.observation import Observation, Observer
from tidemill.unread import Unread

LOOK_EVERY_S = 0.5
STILL_S_MAX = 120.0
"""If nothing moves for so long, what is left waits for more samples, not for us."""


def wait_until_settled(
    addresses: Addresses, dataset: str, unread: Unread, console: Console, *, limit_s: float
) -> None:
    """Return when every sample is read and no round is due any more for any model on the dataset.

    What happens meanwhile is said. The bus is not asked, so that waiting is the same on every one.

    Raises:
        NotFound: no model learns from the dataset.
        Unavailable: it took longer than `limit_s`, or samples do not arrive.
    """
    specs = [spec for spec in load_specs(Path(addresses.models)).values() if spec.dataset == dataset]
    if not specs:
        raise NotFound(f"no model learns from {dataset}: there is nothing to wait for")
    end_s = time.monotonic() + limit_s
    with ExitStack() as stack:
        for spec in specs:
            observer = stack.enter_context(Observer(addresses, spec, unread))
            status = stack.enter_context(console.status(f"{spec.name}: waiting"))
            moved_s, before = time.monotonic(), None
            while not (seen := observer.look()).is_settled:
                for line in closed_since(before, seen):
                    console.print(f"{spec.name}: {line}")
                status.update(f"{spec.name}: {describe(seen)}")
                if seen != before:
                    moved_s = time.monotonic()
                if not seen.running and time.monotonic() - moved_s > STILL_S_MAX:
                    if seen.in_flight:
                        raise Unavailable(_missing(unread))
                    console.print(f"{spec.name}: {seen.pools.new} samples wait for more to come")
                    break
                if time.monotonic() > end_s:
                    raise Unavailable(f"{spec.name} is not done after {limit_s:.0f} s: {describe(seen)}")
                before = seen
                time.sleep(LOOK_EVERY_S)
            for line in closed_since(before, seen):
                console.print(f"{spec.name}: {line}")


def _missing(unread: Unread) -> str:
    return (
        f"nothing moved for {STILL_S_MAX:.0f} s, and {len(unread):,} samples that ingest confirmed are not "
        f"read, such as {', '.join(unread.some(3))}: look whether persistor and trainer are up, then for the "
        "samples with `tidemill dead list` and `tidemill verify`"
    )


def closed_since(before: Observation | None, seen: Observation) -> list[str]:
    """A line for every round that closed between two looks."""
    known = {one.id for one in before.rounds if one.closed_at} if before else set()
    lines = []
    for one in seen.rounds:
        if one.closed_at and one.id not in known:
            accuracy = f"{one.challenger_accuracy:.4f}" if one.challenger_accuracy is not None else "none"
            lines.append(f"round {one.number} {one.status}, validation accuracy {accuracy}: {one.reason}")
    return lines


def describe(seen: Observation) -> str:
    """What goes on, in a few words."""
    running = seen.running
    if running:
        epoch = f", epoch {running.epoch} of {running.epochs_max}" if running.epoch else ""
        return f"round {running.number} {running.phase}{epoch}"
    if seen.in_flight:
        return f"{seen.in_flight:,} samples on their way"
    if seen.unread:
        return "the trainer has objects to read"
    if seen.pools.new:
        return f"{seen.pools.new} new samples wait for a round"
    return "measuring" if seen.labels.candidate is None else f"version {seen.labels.candidate} rolls out"
