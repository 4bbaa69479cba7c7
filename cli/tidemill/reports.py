"""Rounds as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from tidemill_registry.records import RoundRecord, TestRun

_STATUS_STYLE = {"promoted": "green", "ignored": "yellow", "failed": "red"}


def rounds_table(model: str, rounds: Sequence[RoundRecord], test_runs: Sequence[TestRun]) -> Table:
    """Every round with what it saw, how good both sides were, and what was decided."""
    table = Table(
        title=f"Rounds of {model}",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
    )
    for heading in ("round", "seen", "validation", "test", "decision", "version", "s"):
        table.add_column(heading, justify="left" if heading == "decision" else "right")
    for one, seen in zip(rounds, samples_seen(rounds), strict=True):
        test = latest_test_run(test_runs, one.challenger_version) if one.status == "promoted" else None
        table.add_row(
            f"{one.number}{'*' if one.kind == 'retry' else ''}",
            f"{seen:,}",
            measure(one.challenger_accuracy, one.challenger_loss),
            measure(test.accuracy, test.loss) if test else "",
            f"[{_STATUS_STYLE.get(one.status, 'white')}]{one.status}[/]",
            str(one.challenger_version) if one.status == "promoted" else "",
            f"{one.seconds:.0f}" if one.seconds is not None else "",
        )
    table.caption = (
        "seen: training samples so far; *: a round of ignored ones, regrouped\n"
        "validation of the challenger, test of what was promoted: accuracy / loss"
    )
    return table


def samples_seen(rounds: Sequence[RoundRecord]) -> list[int]:
    """Training samples up to each round. A retry brings samples that were counted when they were new."""
    return list(accumulate(one.train_count if one.kind == "new" else 0 for one in rounds))


def measure(accuracy: float | None, loss: float | None) -> str:
    """Accuracy and loss as one cell."""
    return "" if accuracy is None or loss is None else f"{accuracy:.4f} / {loss:.4f}"


def latest_test_run(test_runs: Sequence[TestRun], version: int | None) -> TestRun | None:
    """The last measurement of a version on the test samples."""
    return next((run for run in reversed(test_runs) if run.version == version), None)


def plot_rounds(model: str, rounds: Sequence[RoundRecord], test_runs: Sequence[TestRun], path: Path) -> None:
    """A picture of accuracy and loss against the number of samples seen, as PNG, SVG or PDF by the suffix."""
    from matplotlib.figure import Figure  # half a second of import that no other command should pay

    closed = [
        one for one in rounds if one.challenger_accuracy is not None and one.challenger_loss is not None
    ]
    seen = samples_seen(closed)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(f"{model}: what each round made of the samples so far")
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        values = [getattr(one, f"challenger_{name}") for one in closed]
        axes.plot(seen, values, color="0.8", zorder=1)
        for status, colour, marker in (("promoted", "tab:green", "o"), ("ignored", "tab:orange", "x")):
            points = [(x, y) for x, y, one in zip(seen, values, closed, strict=True) if one.status == status]
            if points:
                axes.scatter(
                    *zip(*points, strict=True),
                    c=colour,
                    marker=marker,
                    label=f"validation, {status}",
                    zorder=2,
                )
        tested = []
        for x, one in zip(seen, closed, strict=True):
            run = latest_test_run(test_runs, one.challenger_version) if one.status == "promoted" else None
            if run:
                tested.append((x, getattr(run, name)))
        if tested:
            axes.plot(*zip(*tested, strict=True), "s--", color="tab:blue", label="test, of what serves")
        axes.set_xlabel("training samples seen")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
