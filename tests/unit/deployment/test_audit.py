"""An audit that asked nobody does not say that all is well."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest

from tests.unit.deployment.manifests import ROOT

FINE = {"name": "flask", "version": "3.1.3", "vulns": []}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}
WRONG = {"name": "pillow", "version": "9.0.0", "vulns": [{"id": "CVE-2022-22815", "fix_versions": ["9.0.1"]}]}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "requirements" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([FINE], 0, "1 packages audited by pypi, no vulnerability known"),
        ([FINE, WRONG], 1, "pillow 9.0.0: CVE-2022-22815, mended in 9.0.1"),
        ([FINE, UNKNOWN], 2, "NOT AUDITED: torch"),
        ([WRONG, UNKNOWN], 1, "1 of 1 audited packages"),
    ],
)
def test_what_was_found_and_what_was_not_asked_is_said(
    audit: ModuleType, capsys: Any, found: list[Any], code: int, said: str
) -> None:
    assert audit.report(found, "pypi") == code
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("known", "code", "said"), [(None, 0, "NOT AUDITED"), ([FINE], 0, "no vulnerability")]
)
def test_where_no_database_answers_that_is_said(
    audit: ModuleType, monkeypatch: Any, capsys: Any, known: Any, code: int, said: str
) -> None:
    monkeypatch.setattr(audit, "_installed", list)
    monkeypatch.setattr(audit, "_ask", lambda command, service: known)  # the databases are not ours to start

    assert audit.main() == code
    assert said in capsys.readouterr().out
