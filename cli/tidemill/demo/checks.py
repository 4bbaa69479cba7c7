"""What must really have happened for the demonstration to count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidemill.demo.clients import Answers
from tidemill.observation import Observation
from tidemill.reports import latest_test_run

TEST_ACCURACY_MIN = 0.96
ROUNDS_MIN = 3


@dataclass(frozen=True)
class Check:
    """One claim, and whether it holds."""

    holds: bool
    claim: str


def check_all(
    seen: Observation,
    answers: Answers,
    *,
    published: int,
    answering: int,
    restarts: Mapping[str, int] | None,
) -> list[Check]:
    """Every claim of the demonstration.

    answering: the version in the gateway's last answer.
    restarts: how often each process was started again; None where nobody counted; nothing is claimed then.
    """
    samples = seen.samples
    kept = samples.train + samples.validation + samples.test
    promoted = [one for one in seen.rounds if one.status == "promoted"]
    improved = [one for one in promoted if one.champion_version is not None]
    stable = seen.labels.stable
    final = latest_test_run(seen.test_runs, stable)
    accuracy = final.accuracy if final else 0.0
    flowed = [version for version, count in sorted(answers.by_version.items()) if count]
    restarted = {name: count for name, count in (restarts or {}).items() if count}
    checks = [
        Check(kept == published, f"of {published:,} published samples {kept:,} were kept, each once"),
        Check(
            len(seen.rounds) >= ROUNDS_MIN, f"{len(seen.rounds)} rounds were held, {len(promoted)} promoted"
        ),
        Check(
            bool(improved) and len(flowed) > 1,
            f"{len(improved)} champions were beaten while predictions flowed: "
            f"versions {_listed(flowed)} answered",
        ),
        Check(
            not answers.failed and bool(answers.answered),
            f"{answers.answered:,} predictions were answered, {answers.failed} failed",
        ),
        Check(answering == stable, f"the gateway answers with version {answering}, the stable one"),
        Check(
            accuracy >= TEST_ACCURACY_MIN,
            f"test accuracy {accuracy:.4f} on {samples.test:,} digits never trained on "
            f"(at least {TEST_ACCURACY_MIN} is asked)",
        ),
    ]
    if restarts is not None:
        said = f"no process had to be started again{f': {restarted}' if restarted else ''}"
        checks.append(Check(not restarted, said))
    return checks


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
