"""What the registry remembers, on the command line: lineage, doubts, words of people, curves, pictures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tidemill.commands.board import fetch_logs, run_board
from tidemill.main import main
from tidemill_chassis.adapters.files import FileStore
from tidemill_chassis.lifecycle import Stop
from tidemill_contracts.errors import Unavailable
from tidemill_registry import Registry
from tidemill_registry.batches import mark_indexed, see_objects
from tidemill_registry.decision_rows import list_wishes
from tidemill_registry.doubt_rows import LabelClaim, NearDuplicate, add_claims, add_near
from tidemill_registry.drift_rows import DriftMeasure, add_drift
from tidemill_registry.records import (
    ObjectCounts,
    Role,
    RoundRecord,
    SampleRow,
    StoredObject,
    TestRun,
    VersionRecord,
)
from tidemill_registry.round_rows import change_round, open_round
from tidemill_registry.sample_rows import add_samples
from tidemill_registry.version_rows import add_test_run, add_version

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
Run = Callable[..., tuple[int, str, str]]


def row(name: str, role: Role) -> SampleRow:
    return SampleRow(name, "a", 0, 0, "7", role, name.ljust(64, "0"))


ROUND = RoundRecord(
    id="digits-1-x",
    model="digits",
    number=1,
    kind="new",
    status="open",
    phase="opened",
    epoch=0,
    epochs_max=3,
    starts=1,
    seed=1,
    opened_at=NOON,
    train_count=1,
    rehearsal_count=0,
    validation_count=1,
)


@pytest.fixture
def registry(tmp_path: Path, empty_registry: Path) -> Registry:
    """One promoted round with one version, one ignored round, one sample in doubt."""
    registry = Registry.open(f"sqlite:///{shutil.copy(empty_registry, tmp_path / 'registry.db')}")
    with registry.write() as sql:
        see_objects(sql, [StoredObject("a", "digits", "train")], now=NOON)
        mark_indexed(sql, "a", sha256="0" * 64, counts=ObjectCounts(), now=NOON)
        add_samples(
            sql, "digits", [row("s1", "train"), row("s2", "validation"), row("t1", "test")], seen_at=NOON
        )
        open_round(sql, ROUND, "digits", {"train": ["s1"], "validation": ["s2"]})
        measured = {"challenger_accuracy": 0.9, "challenger_loss": 0.1, "cpu_seconds": 4.0}
        change_round(sql, ROUND.id, status="promoted", phase="closed", closed_at=NOON, **measured)
        add_version(sql, VersionRecord("digits", 1, ROUND.id, None, "0" * 64, NOON, 0.9, 0.1))
        open_round(sql, replace(ROUND, id="digits-2-x", number=2), "digits", {})
        change_round(sql, "digits-2-x", status="ignored", phase="closed", closed_at=NOON, reason="no")
        add_claims(sql, "digits", [LabelClaim("s1", "7", "1", "train", "a", "s1", NOON)])
        add_near(sql, "digits", [NearDuplicate("t1", "s1", 2)], now=NOON)
        add_test_run(sql, TestRun("digits", 1, NOON, 1, 0.8, 0.4))
        add_drift(sql, [DriftMeasure("digits", 1, NOON, "inputs", "brightness", 0.3, 100)])
    return registry


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, registry: Registry
) -> Run:
    for name in ("INGEST", "GATEWAY", "BUS", "MODELS"):
        monkeypatch.setenv(f"TIDEMILL_{name}", "not-needed")
    monkeypatch.setenv("TIDEMILL_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("TIDEMILL_DATABASE", f"sqlite:///{tmp_path}/registry.db")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tidemill", *arguments])
        code = 0
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_version_names_its_samples_and_a_sample_its_versions(run: Run) -> None:
    code, said, _ = run("models", "digits", "--lineage", "1")
    assert (code, [line.split("\t")[2:4] for line in said.splitlines()[1:]]) == (
        0,
        [["train", "s1"], ["validation", "s2"]],
    )

    assert run("models", "digits", "--sample", "s1")[1].splitlines()[1].startswith("1\tdigits-1-x\ttrain")
    assert "had no part" in run("models", "digits", "--sample", "t1")[2]
    assert "has no version 9" in run("models", "digits", "--lineage", "9")[2]


def test_doubts_are_listed_and_resolved_with_who_and_why(run: Run, registry: Registry) -> None:
    listed = run("doubts", "digits")[1]
    done = run("doubts", "digits", "--resolve", "s1", "--label", "1", "--why", "a one", "--by", "ada")
    missing = run("doubts", "digits", "--resolve", "s9", "--label", "1")

    assert "s1" in listed
    assert "t1 ~ s1: 2 of 256 bits differ" in listed
    assert (done[0], missing[0]) == (0, 1)
    assert "has no sample s9" in missing[2]
    with registry.read() as sql:
        (wish,) = list_wishes(sql, "digits")
    assert (wish.action, wish.subject, wish.value, wish.by, wish.why) == (
        "relabel",
        "s1",
        "1",
        "ada",
        "a one",
    )


def test_force_and_veto_are_noted_or_refused_with_the_remedy(run: Run, registry: Registry) -> None:
    forced = run("force", "digits", "2", "--why", "good enough", "--by", "ada")
    late = run("veto", "digits", "1", "--why", "no")
    again = run("force", "digits", "1", "--why", "yes")
    unknown = run("force", "digits", "7", "--why", "yes")

    assert forced[0] == 0
    assert "tidemill rollback digits" in late[2]
    assert "only a running or an ignored one can be forced" in again[2]
    assert "has no round 7" in unknown[2]
    with registry.read() as sql:
        assert [(each.action, each.subject) for each in list_wishes(sql, "digits")] == [
            ("force", "digits-2-x")
        ]


def test_rounds_tell_cost_and_what_woke_them(run: Run) -> None:
    code, said, _ = run("rounds", "digits", "--reasons")

    assert code == 0
    assert "per point" in said
    assert "digits-1-x; woken by what waited" in said


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_tests_and_drift_are_drawn_over_time(run: Run, tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"tests.{suffix}"

    assert run("models", "digits", "--plot", str(picture))[0] == 0

    assert picture.stat().st_size > 5000


def test_the_logs_of_every_round_are_fetched(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    store.put("rounds/digits/digits-1-x/events.out.tfevents.1.digits-1-x", b"curves")
    store.put("rounds/digits/digits-1-x/challenger.npz", b"weights")

    assert fetch_logs(store, "digits", tmp_path / "logs") == 1

    assert [each.name for each in (tmp_path / "logs").rglob("*") if each.is_file()] == [
        "events.out.tfevents.1.digits-1-x"
    ]


def test_rounds_that_close_while_the_board_is_open_join_it(tmp_path: Path) -> None:
    store, stop, counts = FileStore(tmp_path / "store"), Stop(), list[int]()

    def refresh() -> None:
        number = len(counts) + 1
        store.put(f"rounds/digits/digits-{number}-x/events.out.tfevents.{number}.x", b"curves")
        counts.append(fetch_logs(store, "digits", tmp_path / "logs"))
        if number == 3:
            stop.set()

    run_board([sys.executable, "-c", "import time; time.sleep(60)"], stop, refresh, every_s=0.01)

    assert counts == [1, 2, 3]


def test_a_board_that_cannot_start_says_what_to_try() -> None:
    with pytest.raises(Unavailable, match="choose one by --port"):
        run_board([sys.executable, "-c", "raise SystemExit(1)"], Stop(), lambda: None, every_s=0.01)
