"""The command line: help with examples, errors in one line that names the remedy."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tidemill.deployment import Ports
from tidemill.main import main
from tidemill_chassis.adapters.files import FileStore
from tidemill_contracts import label_changes
from tidemill_contracts.layout import manifest_name
from tidemill_contracts.manifest import Labels, read_labels

TIDEMILL = str(Path(sys.executable).parent / "tidemill")
COMMANDS = (
    "up",
    "demo",
    "publish",
    "predict",
    "models",
    "rounds",
    "promote",
    "rollback",
    "force",
    "veto",
    "doubts",
    "reproduce",
    "board",
    "dead",
    "replay",
    "verify",
    "torture",
    "provision",
    "doctor",
)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command line in an empty folder; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tidemill", *arguments])
        try:
            main()
            code = 0
        except SystemExit as done:
            code = int(done.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.mark.long
def test_the_installed_command_names_every_command(tmp_path: Path) -> None:
    done = subprocess.run([TIDEMILL, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert all(f"\n  {command}" in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    code, said, _ = run(command, "--help")

    assert code == 0
    assert f"tidemill {command}" in said.split("Example")[1]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("rounds",), "make up"),
        (("models",), "make up"),
        (("predict", "digits", "a.png"), "make up"),
        (("publish", "digits"), "--idx, --folder, --csv"),
        (("publish", "digits", "--csv", "t.csv"), "--label COLUMN"),
        (("publish", "digits", "--csv", "t.csv", "--label", "no"), "its columns are: a, b"),
        (("publish", "digits", "--idx", "."), "no train-"),
        (("up", "--models", "empty"), "put one YAML file per model"),
        (("demo", "--folder", ".", "--models", "models"), "--folder"),
    ],
)
def test_an_error_is_one_line_that_names_the_remedy(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], remedy: str
) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "models").symlink_to(Path(__file__).parents[3] / "models")

    code, _, said = run(*arguments)

    lines = said.strip().splitlines()
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    assert remedy in lines[0]


def test_a_taken_port_is_found_with_who_has_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        [(name, taken, who)] = list(Ports(gateway=port).taken())[:1]

    assert (name, taken) == ("gateway", port)
    assert "python" in who or "pytest" in who


def test_a_person_promotes_and_rolls_back_and_it_is_written_down(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path / "store")
    for name in ("INGEST", "GATEWAY", "BUS", "DATABASE", "MODELS"):
        monkeypatch.setenv(f"TIDEMILL_{name}", "not-needed")
    monkeypatch.setenv("TIDEMILL_STORE", (tmp_path / "store").as_uri())
    for version in (1, 2):
        store.put(manifest_name("digits", version), b"{}")

    first = run("promote", "digits", "1", "--by", "ada")
    second = run("promote", "digits", "2", "--by", "ada", "--why", "better")
    back = run("rollback", "digits", "--by", "bob", "--why", "it was not")
    missing = run("promote", "digits", "3")

    assert [first[0], second[0], back[0], missing[0]] == [0, 0, 0, 1]
    assert "version 1 of digits is stable now (was 2)" in back[1]
    assert missing[2].startswith("Error: there is no object models/digits/3/manifest.json")
    assert read_labels(store, "digits")[0] == Labels(stable=1, previous=2)
    assert [(one.by, one.reason) for one in label_changes.changes(store, "digits")] == [
        ("ada", ""),
        ("ada", "better"),
        ("bob", "it was not"),
    ]
