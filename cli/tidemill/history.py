"""What the registry remembers of a model's versions: lineage, tests and drift over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from tidemill_contracts.errors import NotFound
from tidemill_registry.drift_rows import DriftMeasure, list_drift
from tidemill_registry.lineage import MadeOf, line_of, samples_of, versions_of
from tidemill_registry.records import TestRun
from tidemill_registry.registry import Registry

FEATURES_DRAWN_MAX = 8


def show_history(
    database: str, model: str, *, lineage: int | None, sample: str | None, plot: Path | None
) -> None:
    """Print the lineage of a version or of a sample, or draw the picture over time.

    Raises:
        NotFound: there is no such version, or the sample made none.
    """
    registry = Registry.open(database)
    try:
        with registry.read() as sql:
            if lineage is not None:
                _print_lineage(samples_of(sql, line_of(sql, model, lineage)))
            if sample is not None:
                made = versions_of(sql, model, sample)
                if not made:
                    raise NotFound(f"sample {sample} had no part in any version of {model}")
                _print_lineage(made)
            drift = list_drift(sql, model)
        if plot is not None:
            plot_tests(model, registry.test_runs(model), drift, plot)
            click.echo(f"drawn in {plot}")
    finally:
        registry.close()


def _print_lineage(found: Sequence[MadeOf]) -> None:
    """One line a sample, tab-separated, for other programs to read."""
    click.echo("version\tround\tpart\tsample\tlabel\tobject\tposition\tsha256")
    for each in found:
        position = f"{each.message_position}.{each.sample_position}"
        cells = (each.version, each.round_id, each.part, each.sample_id, each.label, each.object, position)
        click.echo("\t".join(map(str, (*cells, each.digest))))


def plot_tests(model: str, runs: Sequence[TestRun], drift: Sequence[DriftMeasure], path: Path) -> None:
    """Accuracy and loss of every test, and drift, against time; PNG, SVG or PDF by the suffix.

    Raises:
        NotFound: there was no test yet.
    """
    from matplotlib.figure import Figure  # half a second of import that no other command should pay

    if not runs:
        raise NotFound(f"no version of {model} was tested yet: publish samples with `--split test`")
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    figure.suptitle(f"{model}: the champion on all test samples so far, and drift against its training")
    times = [run.ran_at for run in runs]
    left, middle, right = figure.subplots(1, 3)
    for axes, name in ((left, "accuracy"), (middle, "loss")):
        axes.plot(times, [getattr(run, name) for run in runs], "s-", color="tab:blue")
        for run in runs:
            axes.annotate(f"v{run.version}", (run.ran_at, getattr(run, name)), fontsize=7)
        axes.set_ylabel(name)
    names = list(dict.fromkeys((each.subject, each.name) for each in drift))
    for subject, name in names[:FEATURES_DRAWN_MAX]:
        some = [each for each in drift if (each.subject, each.name) == (subject, name)]
        axes_label = f"{subject}: {name}"
        right.plot([each.ran_at for each in some], [each.psi for each in some], ".-", label=axes_label)
    right.set_ylabel("population stability index")
    if names:
        right.legend(fontsize=7)
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        axes.tick_params(axis="x", rotation=30, labelsize=7)
    figure.savefig(path, dpi=120)
