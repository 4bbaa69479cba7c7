"""The board opens a real round's logs in a real TensorBoard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_contracts.layout import ROUNDS
from tidemill_contracts.model_spec import load_specs

from tests.emulators.machine import wait_until
from tests.integration.trainer.tables import table_samples
from tests.integration.trainer.test_kind_rounds import EXAMPLES, Line

WAIT_S = 300.0
TIDEMILL = str(Path(sys.executable).parent / "tidemill")


@pytest.fixture
def line(tmp_path: Path, data_folder: Path) -> Any:
    """One round of penguins, its log in a store of files."""
    made = Line(load_specs(EXAMPLES)["penguins"], tmp_path)
    made.wave(table_samples(data_folder / "tabular" / "penguins.csv", "species"))
    files = FileStore(tmp_path / "store")
    for info in made.store.list(ROUNDS):
        files.put(info.name, made.store.get(info.name))
    yield made
    made.trainer.release()
    made.registry.close()


def start_board(folder: Path, port: int) -> subprocess.Popen[bytes]:
    names = ("INGEST", "GATEWAY", "BUS", "DATABASE", "MODELS")
    environment = {
        **os.environ,
        **{f"TIDEMILL_{name}": "not-needed" for name in names},
        "TIDEMILL_STORE": (folder / "store").as_uri(),
    }
    return subprocess.Popen([TIDEMILL, "board", "penguins", "--port", str(port)], env=environment)


def asker(port: int) -> Callable[..., Any]:
    """Asks TensorBoard; None until it answers."""

    def ask(path: str, **parameters: str) -> Any:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/data/{path}", params=parameters, timeout=10)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success else None

    return ask


@pytest.mark.timeout(4 * WAIT_S)
def test_the_board_shows_the_curves_of_a_round_and_leaves_nothing_running(
    line: Line, tmp_path: Path, free_port: int
) -> None:
    [round_] = line.registry.rounds("penguins")
    ask, path = asker(free_port), "plugin/scalars/tags"
    board = start_board(tmp_path, free_port)
    try:
        wait_until(lambda: bool((ask(path) or {}).get(round_.id)), limit_s=WAIT_S)
        tags = set(ask(path)[round_.id])
        losses = ask("plugin/scalars/scalars", run=round_.id, tag="epoch/loss")
        judged = ask("plugin/scalars/scalars", run=round_.id, tag="validation/challenger_accuracy")
        family = psutil.Process(board.pid).children(recursive=True)
        board.send_signal(signal.SIGTERM)
        code = board.wait(WAIT_S)
    finally:
        board.kill()

    assert tags >= {"epoch/loss", "epoch/train_loss", "epoch/accuracy", "samples/train"}
    assert [step for _, step, _ in losses] == list(range(1, round_.epoch + 1))
    assert losses[-1][2] < losses[0][2]
    assert [(step, value) for _, step, value in judged] == [
        (round_.number, pytest.approx(round_.challenger_accuracy))
    ]
    assert code == 0
    wait_until(lambda: not any(map(_lives, family)), limit_s=WAIT_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
