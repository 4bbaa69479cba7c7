"""What befalls containers, while samples flow and predictions run: nothing is lost, no answer is wrong.

The figures of a run are printed, and written as JSON to the file that TIDEMILL_RING_REPORT names.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import pytest
from google.api_core.exceptions import GoogleAPIError
from requests.exceptions import RequestException

from tests.containers.compose_project import ComposeProject, docker, wait_until
from tests.containers.ledger import Ledger
from tests.containers.outside import Digit, Outside

RECOVERY_S_MAX = 30.0
HEALED_S_MAX = 120.0
"""How long recovery is waited for: over RECOVERY_S_MAX it fails with its figure, not with a timeout."""
SERVICES = ("ingest", "persistor", "trainer", "model-server", "serving", "gateway")
DEPENDENCIES = ("storage", "postgres", "redis", "pubsub")
FORGETFUL = ("pubsub",)
"""The Pub/Sub emulator holds messages in memory only: what dies with it, the producer sends again."""
PAUSE_S = 8.0


@dataclass
class Outcome:
    """One fault. lost, altered, wrong: of samples and answers, must be none."""

    fault: str
    confirmed: int
    answered: int
    refused: int
    sent_again: int
    lost: int
    altered: int
    wrong: int
    recovery_s: float


@pytest.fixture(scope="module")
def report() -> Iterator[list[Outcome]]:
    outcomes: list[Outcome] = []
    yield outcomes
    lines = [json.dumps(asdict(outcome)) for outcome in outcomes]
    print("\n" + "\n".join(lines))  # noqa: T201  (the figures are what the run is for)


def write_down(outcome: Outcome) -> None:
    """At once: a run that is broken off shall not have been for nothing."""
    if os.environ.get("TIDEMILL_RING_REPORT"):
        with Path(os.environ["TIDEMILL_RING_REPORT"]).open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")


@pytest.fixture(scope="module")
def ledger(trained: Outside, digits: list[Digit]) -> Iterator[Ledger]:
    """Samples and predictions that flow through all faults of this module."""
    with Ledger(trained, digits) as made:
        wait_until(lambda: made.counts()[0] > 10 and made.counts()[1] > 10, 60, "samples and answers flow")
        yield made


class Trial:
    """Inflicts a fault, waits until all is well again, and holds the ledger against the bucket."""

    def __init__(self, outside: Outside, ledger: Ledger, report: list[Outcome]) -> None:
        self._outside = outside
        self._ledger = ledger
        self._report = report

    def run(self, fault: str, inflict: Callable[[], None], *, forgets: bool = False) -> None:
        """inflict: returns when the fault is over, from which moment recovery counts.

        forgets: the fault takes the broker's memory, and its producer sends again what is not kept.
        """
        ledger = self._ledger
        confirmed, answered = ledger.counts()
        refused = ledger.refused
        inflict()
        begun_s = time.monotonic()
        at_heal = set(ledger.confirmed)
        flowing = ledger.counts()
        sent_again = 0
        if forgets:
            wait_until(lambda: ledger.counts()[0] > flowing[0], HEALED_S_MAX, f"{fault}: samples flow again")
            lost = ledger.lost()
            ledger.send_again(lost)
            sent_again = len(lost)
        wait_until(lambda: self._is_well(at_heal, flowing), HEALED_S_MAX, f"all is well after {fault}")
        recovery_s = time.monotonic() - begun_s
        outcome = Outcome(
            fault=fault,
            confirmed=ledger.counts()[0] - confirmed,
            answered=ledger.counts()[1] - answered,
            refused=ledger.refused - refused,
            sent_again=sent_again,
            lost=len(at_heal & ledger.lost()),
            altered=len(ledger.altered()),
            wrong=len(ledger.wrong),
            recovery_s=round(recovery_s, 1),
        )
        self._report.append(outcome)
        write_down(outcome)
        assert outcome.lost == 0, outcome
        assert outcome.altered == 0, ledger.altered()[:5]
        assert outcome.wrong == 0, ledger.wrong[:5]
        assert recovery_s < RECOVERY_S_MAX, outcome

    def _is_well(self, at_heal: set[str], flowing: tuple[int, int]) -> bool:
        """New samples are confirmed, new predictions answered, and all that was confirmed before is kept."""
        assert not self._ledger.broken, self._ledger.broken
        confirmed, answered = self._ledger.counts()
        try:
            well = confirmed > flowing[0] and answered > flowing[1]
            return well and not at_heal & self._ledger.lost()
        except (GoogleAPIError, RequestException):
            return False


@pytest.fixture
def trial(trained: Outside, ledger: Ledger, report: list[Outcome]) -> Trial:
    return Trial(trained, ledger, report)


@pytest.mark.parametrize("service", SERVICES + DEPENDENCIES)
def test_a_kill(service: str, project: ComposeProject, trial: Trial) -> None:
    trial.run(f"kill -9 {service}", lambda: project.kill(service), forgets=service in FORGETFUL)


@pytest.mark.parametrize("service", SERVICES + DEPENDENCIES)
def test_a_restart(service: str, project: ComposeProject, trial: Trial) -> None:
    def restart() -> None:
        project.compose("restart", "--timeout", "30", service)

    trial.run(f"restart {service}", restart, forgets=service in FORGETFUL)


@pytest.mark.parametrize("service", ["persistor", "gateway", "model-server", "storage", "pubsub", "postgres"])
def test_a_pause(service: str, project: ComposeProject, trial: Trial) -> None:
    def pause() -> None:
        project.compose("pause", service)
        time.sleep(PAUSE_S)
        project.compose("unpause", service)

    trial.run(f"pause {service} for {PAUSE_S:.0f} s", pause)


@pytest.mark.parametrize(
    ("service", "network"),
    [("persistor", "objects"), ("persistor", "bus"), ("serving", "serving"), ("trainer", "database")],
)
def test_a_cut_network(service: str, network: str, project: ComposeProject, trial: Trial) -> None:
    def cut() -> None:
        project.disconnect(service, network)
        time.sleep(PAUSE_S)
        project.connect(service, network)

    trial.run(f"cut {service} from {network} for {PAUSE_S:.0f} s", cut)


def test_a_full_volume(project: ComposeProject, trial: Trial, small_volume: Path) -> None:
    def fill() -> None:
        ballast = small_volume / "ballast"
        subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=64k"], capture_output=True, check=False)
        time.sleep(PAUSE_S)
        assert os.statvfs(small_volume).f_bavail == 0
        ballast.unlink()

    trial.run(f"the store's volume full for {PAUSE_S:.0f} s", fill)


@pytest.fixture
def small_volume(project: ComposeProject) -> Path:
    """The folder behind the store's volume, which the ring mounts from a small file system of its own."""
    folder = project.small_volume
    if folder is None:
        pytest.skip("only root may mount the small file system that this fills")
    return folder


@pytest.mark.parametrize("shift", ["+2h", "-2h"])
def test_a_clock_that_is_off(shift: str, project: ComposeProject, trial: Trial, tmp_path: Path) -> None:
    library = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
    if not library.is_file():
        pytest.skip("libfaketime is not on this machine: apt-get install libfaketime")
    overlay = tmp_path / "clock.yaml"
    overlay.write_text(
        "services:\n  persistor:\n"
        f"    environment: {{LD_PRELOAD: {library}, FAKETIME: '{shift}', DONT_FAKE_MONOTONIC: '1'}}\n"
        f"    volumes: ['{library.parent}:{library.parent}:ro']\n"
    )

    def shift_clock() -> None:
        project.up("persistor", files=[overlay], options=("--no-deps", "--no-build"))
        seen = project.run_in("persistor", "python", "-c", "import time; print(time.time())")
        assert abs(abs(float(seen) - time.time()) - 7200) < 60
        time.sleep(PAUSE_S)

    try:
        trial.run(f"the persistor's clock off by {shift}", shift_clock)
    finally:
        project.up("persistor", options=("--no-deps", "--no-build"))


def test_persistor_and_gateway_times_three(
    project: ComposeProject, trial: Trial, trained: Outside, digits: list[Digit]
) -> None:
    def scale() -> None:
        options = (
            "--no-build",
            "--no-deps",
            "--no-recreate",
            "--scale",
            "persistor=3",
            "--scale",
            "gateway=3",
        )
        project.up("persistor", "gateway", options=options)
        project.kill("persistor")

    trial.run("persistor and gateway to three, then kill -9 of one persistor", scale)

    answers = []
    for index in (1, 2, 3):
        url = f"http://{project.port('gateway', 8501, index)}/v1/models/digits/labels/stable:predict"
        answer = httpx.post(url, json={"instances": [{"b64": digits[0].b64}]}, timeout=15)
        answers.append(answer.json()["predictions"][0]["label"])
    assert len(answers) == 3
    assert len(set(answers)) == 1
    options = ("--no-build", "--no-deps", "--scale", "persistor=1", "--scale", "gateway=1")
    project.up("persistor", "gateway", options=options)


def test_in_the_end_every_confirmed_sample_is_counted_once(
    project: ComposeProject, trained: Outside, ledger: Ledger
) -> None:
    wait_until(lambda: not ledger.lost(), HEALED_S_MAX, "everything confirmed is kept")
    confirmed = set(ledger.confirmed)
    question = "select count(*), count(distinct sample_id) from samples where sample_id like '{}-%'"

    def counted() -> tuple[int, int]:
        said = project.run_in(
            "postgres",
            "psql",
            "-U",
            "tidemill",
            "-h",
            "/run/postgresql",
            "-Atc",
            question.format(ledger.name),
        )
        rows, distinct = said.strip().split("|")
        return int(rows), int(distinct)

    wait_until(lambda: counted()[1] >= len(confirmed), 180, "the trainer has read every sample")
    rows, distinct = counted()
    assert rows == distinct
    assert docker("version")
