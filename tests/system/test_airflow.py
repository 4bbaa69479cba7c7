"""The three DAGs, run by a real Apache Airflow, against a platform that has no trainer of its own."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tidemill_contracts.layout import manifest_name
from tidemill_registry import Registry

from tests.emulators.machine import missing
from tests.system.conftest import Platform

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "airflow" / "dags"
PINS = ROOT / "airflow" / "constraints.txt"
INSTALL_S_MAX = 600
RUN_S_MAX = 600
TRAIN_ROWS = 270

RUN_ALL = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
bag = BundleDagBag(sys.argv[1], bundle_path=Path(sys.argv[1]), bundle_name="dags-folder")
said = {"errors": {path: str(error) for path, error in bag.import_errors.items()}, "tasks": {}}
for name in sys.argv[2:]:
    run = bag.dags[name].test()
    for task in run.get_task_instances():
        said["tasks"][f"{name}.{task.task_id}"] = str(task.state)
print("\\n" + json.dumps(said))
"""


@pytest.fixture(scope="session")
def airflow_python() -> Path:
    """The Python of an environment that holds Airflow as it is pinned, and nothing of ours."""
    folder = ROOT / ".airflow"
    python, mark = folder / "bin" / "python", folder / "pins"
    pins = hashlib.sha256(PINS.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == pins:
        return python
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    steps = (
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
        [*pip, "--no-compile", "--disable-pip-version-check", "--requirement", str(PINS)],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False)
        if done.returncode:
            missing("Apache Airflow", f"it could not be installed: {done.stderr[-500:]}")
    mark.write_text(pins)
    return python


@pytest.fixture
def penguins_without_a_trainer(tmp_path: Path) -> Iterator[Platform]:
    """The first round makes a version so good that no later one can gain what the gate asks."""
    spec = yaml.safe_load((ROOT / "models" / "examples" / "penguins.yaml").read_text())
    spec["training"] |= {"epochs_max": 30}
    spec["round"] |= {"samples_min": 100, "samples_max": 150, "age_s_max": 3600}
    spec["gate"] |= {"gain_min": 0.25, "control_every": 0}
    spec["retry"] |= {"every_s": 0.1, "widening": 100, "samples_min": 20}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "penguins.yaml").write_text(yaml.safe_dump(spec))
    made = Platform(tmp_path / "data", tmp_path / "models", "--no-trainer")
    made.start()
    try:
        yield made
    finally:
        made.stop()


def settings(platform: Platform, folder: Path) -> dict[str, str]:
    """What a worker of Airflow is given: Airflow's own settings, Variables, and where the commands are."""
    deployment = platform.deployment
    variables = {
        "bus": deployment.bus_url,
        "database": deployment.database_url,
        "gateway": deployment.gateway_url,
        "ingest": deployment.ingest_url,
        "models": str(deployment.models),
        "store": deployment.store_url,
        "trainer_work": str(folder / "work"),
        "train_feed": f"penguins --csv {folder / 'train.csv'} --label species",
        "test_feed": f"penguins --csv {folder / 'test.csv'} --label species",
    }
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "TIDEMILL"))}
    return {
        **ours,
        **{f"AIRFLOW_VAR_TIDEMILL_{name.upper()}": value for name, value in variables.items()},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TIDEMILL_DATA": str(folder / "resume"),
    }


def halve(table: Path, folder: Path) -> int:
    """Write train.csv and test.csv, of rows that the table has in no order; return how many test rows."""
    with table.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    rows.sort(key=lambda row: hashlib.sha256(",".join(row).encode()).digest())
    for name, some in (("train", rows[:TRAIN_ROWS]), ("test", rows[TRAIN_ROWS:])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *some])
    return len(rows) - TRAIN_ROWS


@pytest.mark.timeout(INSTALL_S_MAX + 2 * RUN_S_MAX + 200)
def test_airflow_feeds_and_trains_retries_the_ignored_and_tests(
    airflow_python: Path, penguins_without_a_trainer: Platform, tmp_path: Path, data_folder: Path
) -> None:
    platform = penguins_without_a_trainer
    test_rows = halve(data_folder / "tabular" / "penguins.csv", tmp_path)
    environment = settings(platform, tmp_path)

    subprocess.run(
        [airflow_python, "-m", "airflow", "db", "migrate"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        timeout=RUN_S_MAX,
        check=True,
    )
    done = subprocess.run(
        [airflow_python, "-c", RUN_ALL, DAGS, "tidemill_train", "tidemill_retry", "tidemill_test"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(done.stdout.strip().splitlines()[-1]) == {
        "errors": {},
        "tasks": {
            "tidemill_train.feed": "success",
            "tidemill_train.train": "success",
            "tidemill_retry.retry": "success",
            "tidemill_test.feed": "success",
            "tidemill_test.test": "success",
        },
    }, done.stdout[-3000:]
    registry = Registry.open(platform.deployment.database_url)
    try:
        rounds = sorted(registry.rounds("penguins"), key=lambda one: one.number)
        assert [(one.kind, one.status) for one in rounds] == [
            ("new", "promoted"),
            ("new", "ignored"),
            ("retry", "ignored"),
        ], [one.reason for one in rounds]
        assert [one.version for one in registry.versions("penguins")] == [1]
        counts = registry.sample_counts("penguins")
        assert (counts.train + counts.validation, counts.test) == (TRAIN_ROWS, test_rows)
        [measured] = registry.test_runs("penguins")
        assert (measured.version, measured.sample_count) == (1, test_rows)
    finally:
        registry.close()
    manifest = platform.deployment.folder / "store" / manifest_name("penguins", 1)
    assert manifest.is_file()
