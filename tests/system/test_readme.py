"""Every command of the README does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DEMO_S_MAX = 360.0


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)


def commands_with_the_platform_up() -> list[str]:
    found = re.search(r"<!-- with the platform up -->\n```sh\n(.*?)```", README, flags=re.DOTALL)
    assert found
    return found[1].strip().splitlines()


def test_the_readme_has_no_command_that_no_test_runs() -> None:
    known = {"make demo", "make check", "make up", *commands_with_the_platform_up()}

    assert {line for block in blocks() for line in block.strip().splitlines()} == known


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()

    assert "<!-- the test command -->" in script
    assert "<!-- the test command -->\n```sh\nmake check\n```" in README


def test_every_link_of_the_documents_leads_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("services/*/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")

    assert broken == []


@pytest.mark.timeout(600)
def test_the_demo_shows_all_that_it_promises(tmp_path: Path, port_base: int) -> None:
    begun_s = time.monotonic()
    done = subprocess.run(
        [
            "make",
            "--no-print-directory",
            "demo",
            f"DEMO_OPTIONS=--folder {tmp_path / 'demo'} --port-base {port_base}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEMO_S_MAX,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begun_s < DEMO_S_MAX
    assert "✗" not in done.stdout
    for said in (
        "Rounds of digits",
        "X-Tidemill-Model-Version: ",
        '"probabilities": [',
        "0 failed",
        "samples in",
    ):
        assert said in done.stdout
    assert len(re.findall(r"round \d+ opened", done.stdout)) >= 3
    assert (tmp_path / "demo" / "rounds.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.timeout(400)
def test_every_command_works_with_the_platform_up(platform: Any, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "models").symlink_to(ROOT / "models")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TIDEMILL_DATA": str(platform.deployment.folder),
    }
    ports = platform.deployment.ports

    for command in commands_with_the_platform_up():
        here = command.replace(":8501", f":{ports.gateway}").replace(":8080", f":{ports.ingest}")
        done = subprocess.run(
            ["bash", "-c", here],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert '"error"' not in done.stdout, f"{command}\n{done.stdout}"

    assert (tmp_path / "rounds.png").is_file()
    inbox = platform.deployment.folder / "store" / "inbox" / "digits" / "7"
    before = platform.observe().samples
    inbox.mkdir(parents=True)
    (inbox / "dropped.png").write_bytes(_another_seven())
    platform.wait_for(lambda: platform.observe().samples != before)
    platform.wait_for(lambda: not (inbox / "dropped.png").exists())


def _another_seven() -> bytes:
    import io

    from PIL import Image, ImageOps

    picture = ImageOps.invert(Image.open(ROOT / "docs" / "seven.png").convert("L"))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
