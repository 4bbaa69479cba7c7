"""The demonstration passes only when everything really happened."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console
from tidemill.commands.demo import refuse_used
from tidemill.demo.checks import check_all
from tidemill.demo.clients import Answers
from tidemill.demo.story import WAVES, changes, cut_waves
from tidemill.observation import Observation
from tidemill.reports import plot_rounds, rounds_table
from tidemill.sources.raw_sample import RawSample
from tidemill_contracts.errors import Conflict
from tidemill_contracts.manifest import Labels
from tidemill_registry.records import PoolCounts, RoundRecord, SampleCounts, TestRun, VersionRecord

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def a_round(number: int, *, version: int | None, champion: int | None, accuracy: float) -> RoundRecord:
    return RoundRecord(
        id=f"digits-{number}",
        model="digits",
        number=number,
        kind="new",
        status="promoted" if version else "ignored",
        phase="closed",
        epoch=5,
        epochs_max=10,
        starts=1,
        seed=1,
        opened_at=NOW,
        decided_at=NOW,
        closed_at=NOW,
        train_count=400,
        rehearsal_count=0,
        validation_count=100,
        champion_version=champion,
        champion_accuracy=0.9 if champion else None,
        champion_loss=0.3 if champion else None,
        challenger_version=version,
        challenger_accuracy=accuracy,
        challenger_loss=0.2,
        reason="because",
        seconds=9.0,
        cpu_seconds=15.0,
    )


ROUNDS = (
    a_round(1, version=1, champion=None, accuracy=0.93),
    a_round(2, version=2, champion=1, accuracy=0.97),
    a_round(3, version=None, champion=2, accuracy=0.96),
)
WELL = Observation(
    in_flight=0,
    unread=False,
    samples=SampleCounts(train=3400, validation=600, test=1000),
    pools=PoolCounts(used=2000, ignored=2000),
    rounds=ROUNDS,
    versions=(
        VersionRecord("digits", 1, "digits-1", None, "0" * 64, NOW, 0.93, 0.3),
        VersionRecord("digits", 2, "digits-2", 1, "0" * 64, NOW, 0.97, 0.2),
    ),
    test_runs=(TestRun("digits", 2, NOW, 1000, 0.97, 0.1),),
    labels=Labels(stable=2, previous=1),
)


def holds(seen: Observation = WELL, **changed: Any) -> bool:
    answers = Answers(by_version=Counter({1: 50, 2: 70}), right=Counter({1: 45, 2: 68}))
    given: dict[str, Any] = {"answers": answers, "published": 5000, "answering": 2, "restarts": {"ingest": 0}}
    given |= changed
    return all(check.holds for check in check_all(seen, **given))


def test_what_really_happened_passes() -> None:
    assert holds()
    assert holds(restarts=None)


def test_where_nobody_counts_restarts_nothing_is_claimed_of_them() -> None:
    answers = Answers(by_version=Counter({1: 50, 2: 70}))

    checks = check_all(WELL, answers, published=5000, answering=2, restarts=None)

    assert not [check for check in checks if "started again" in check.claim]


def test_a_platform_that_knows_digits_already_is_refused() -> None:
    with pytest.raises(Conflict, match="5,000 samples of digits already"):
        refuse_used(WELL)


@pytest.mark.parametrize(
    "changed",
    [
        {"published": 5001},
        {"answering": 1},
        {"restarts": {"trainer": 1}},
        {"answers": Answers(by_version=Counter({1: 50, 2: 70}), failed=1)},
        {"answers": Answers(by_version=Counter({2: 70}))},
        {"answers": Answers()},
        {"seen": replace(WELL, rounds=ROUNDS[:2])},
        {"seen": replace(WELL, rounds=(ROUNDS[0], ROUNDS[2], replace(ROUNDS[2], id="x")))},
        {"seen": replace(WELL, test_runs=(TestRun("digits", 2, NOW, 1000, 0.959, 0.1),))},
        {"seen": replace(WELL, test_runs=(TestRun("digits", 1, NOW, 1000, 0.99, 0.1),))},
        {"seen": replace(WELL, labels=Labels(stable=1))},
    ],
)
def test_anything_that_did_not_happen_fails_it(changed: dict[str, Any]) -> None:
    assert not holds(**changed)


def test_the_waves_hold_every_sample_once() -> None:
    samples = [RawSample("1", bytes([n % 256]), str(n), "train", text="a") for n in range(4000)]

    waves = list(cut_waves(samples))

    assert [sample for wave in waves for sample in wave] == samples
    assert [len(wave) for wave in waves] == list(WAVES)


def test_an_ignored_round_is_told_and_never_hidden() -> None:
    before = replace(WELL, rounds=ROUNDS[:2])

    told = changes(before, WELL)

    assert any("round 3 ignored" in line for line in told)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(rounds_table("digits", ROUNDS, WELL.test_runs))
    assert "ignored" in console.export_text()


@pytest.mark.long
def test_the_picture_is_drawn(tmp_path: Any) -> None:
    path = tmp_path / "rounds.png"

    plot_rounds("digits", ROUNDS, WELL.test_runs, path)

    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "unsettled",
    [
        {"in_flight": 1},
        {"unread": True},
        {"pools": PoolCounts(new=1)},
        {"rounds": (replace(ROUNDS[0], closed_at=None),)},
        {"labels": Labels(stable=1, candidate=2)},
        {"test_runs": ()},
    ],
)
def test_nothing_is_settled_while_something_is_left_to_do(unsettled: dict[str, Any]) -> None:
    assert WELL.is_settled
    assert not replace(WELL, **unsettled).is_settled
