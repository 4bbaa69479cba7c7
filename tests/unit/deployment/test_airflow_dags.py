"""The DAGs as files: what they import, and whether what they call exists. system/ runs them in Airflow."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from tidemill.commands.publish import publish
from tidemill.deployment import Addresses
from tidemill_trainer.chores import CHORES

DAGS = Path(__file__).parents[3] / "airflow" / "dags"
FILES = sorted(DAGS.glob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """The packages of every import of a file."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dag_imports_airflow_and_nothing_of_ours(path: Path) -> None:
    outside = imported(ast.parse(path.read_text())) - set(sys.stdlib_module_names)

    assert outside <= {"airflow", "tidemill_operator"}


def test_each_chore_of_the_trainer_has_one_dag_and_every_option_exists() -> None:
    text = "\n".join(path.read_text() for path in FILES)

    called = re.findall(r"tidemill-trainer --once --only (\w+)", text)
    options = {option for each in publish.params for option in each.opts}

    assert sorted(called) == sorted(CHORES)
    assert {"--split", "--wait-kept"} <= options
    for name in Addresses.__dataclass_fields__:
        assert f"TIDEMILL_{name.upper()}" in text


def test_the_pins_name_no_address() -> None:
    pins = (DAGS.parent / "constraints.txt").read_text().splitlines()

    assert all(re.fullmatch(r"#.*|[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line) for line in pins)
    assert any(line.startswith("apache-airflow==3.") for line in pins)
