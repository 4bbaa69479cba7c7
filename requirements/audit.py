# ruff: noqa: T201  (a command prints what it found)
"""Are vulnerabilities known of what constraints.txt pins? `make audit`.

pip-audit runs in an environment of its own, `.audit`, for what it needs is not what we need. It ends well
even when its database knows none of the packages, as an index without a database does: so what was not
audited is counted here, and said.

Exit code 0: audited, nothing known; or not audited, as the last line says. 1: vulnerabilities are known.
2: some packages were audited and some not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
ENVIRONMENT = ROOT / ".audit"
PIP_AUDIT = "pip-audit==2.10.1"
SERVICES = ("pypi", "osv")
"""Databases that are asked, one after another, until one answers."""
RUN_S_MAX = 600


def main() -> int:
    """Audit, and say what came of it."""
    command = _installed()
    for service in SERVICES:
        found = _ask(command, service)
        if found is None:
            continue
        return report(found, service)
    print("NOT AUDITED: no database of vulnerabilities can be reached from here")
    return 0


def report(found: list[dict[str, Any]], service: str) -> int:
    """Say what a database knew of the packages; the exit code."""
    skipped = [one["name"] for one in found if "skip_reason" in one]
    wrong = [one for one in found if one.get("vulns")]
    for one in wrong:
        for fault in one["vulns"]:
            mended = ", ".join(fault["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {fault['id']}, mended in {mended}")
    audited = len(found) - len(skipped)
    if wrong:
        print(f"{len(wrong)} of {audited} audited packages have known vulnerabilities ({service})")
        return 1
    if skipped:
        print(f"{audited} packages audited by {service}, nothing known; NOT AUDITED: {', '.join(skipped)}")
        return 2
    print(f"{audited} packages audited by {service}, no vulnerability known")
    return 0


def _installed() -> list[str]:
    """pip-audit's command, installed if it is missing."""
    command = ENVIRONMENT / "bin" / "pip-audit"
    if not command.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        pip = [str(ENVIRONMENT / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, PIP_AUDIT], check=True)
    return [str(command), "--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json"]


def _ask(command: list[str], service: str) -> list[dict[str, Any]] | None:
    """What a database knows of each package; None if it cannot be reached, or knows not one of them."""
    try:
        run = subprocess.run(
            [*command, f"--vulnerability-service={service}", f"--requirement={CONSTRAINTS}"],
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
        )
        found: list[dict[str, Any]] = json.loads(run.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    if not any("skip_reason" not in one for one in found):
        return None
    return found


if __name__ == "__main__":
    sys.exit(main())
