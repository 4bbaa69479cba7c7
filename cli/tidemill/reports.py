"""Rounds as a table and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from tidemill_registry.records import RoundRecord, TestRun
from tidemill_registry.trigger_rows import Trigger

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
    for heading in ("round", "seen", "validation", "test", "decision", "version", "s", "CPU s", "per point"):
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
            f"{one.cpu_seconds:.0f}" if one.cpu_seconds is not None else "",
            _cost_per_point(one),
        )
    table.caption = (
        "seen: training samples so far; *: a round of ignored ones, regrouped\n"
        "validation of the challenger, test of what was promoted: accuracy / loss\n"
        "per point: seconds of CPU for each hundredth of accuracy that a promoted version gained"
    )
    return table


def samples_seen(rounds: Sequence[RoundRecord]) -> list[int]:
    """Training samples up to each round. A retry brings samples that were counted when they were new."""
    return list(accumulate(one.train_count if one.kind == "new" else 0 for one in rounds))


def describe_triggers(triggers: Sequence[Trigger]) -> str:
    """What woke a round, in words."""
    counts = Counter(each.kind for each in triggers)
    missed = sum(each.missed_count for each in triggers)
    said = ", ".join(f"{count} × {kind}" for kind, count in sorted(counts.items()))
    return (said or "what waited") + (f" (for {missed} missed times too)" if missed else "")


def _cost_per_point(one: RoundRecord) -> str:
    """What a point of accuracy cost, where a champion was beaten."""
    known = one.cpu_seconds is not None and one.champion_accuracy is not None
    if one.status != "promoted" or not known or one.challenger_accuracy is None:
        return ""
    points = (one.challenger_accuracy - (one.champion_accuracy or 0.0)) * 100
    return f"{(one.cpu_seconds or 0.0) / points:.1f}" if points > 0 else ""


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
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    figure.suptitle(f"{model}: what each round made of the samples so far")
    *measured, cost = figure.subplots(1, 3)
    cost.bar(range(len(closed)), [one.cpu_seconds or 0.0 for one in closed], color="0.7")
    cost.set_xticks(range(len(closed)), [str(one.number) for one in closed], fontsize=7)
    cost.set_xlabel("round")
    cost.set_ylabel("seconds of CPU")
    for axes, name in zip(measured, ("accuracy", "loss"), strict=True):
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
