"""Sentences and rows go the whole line: published, learned, served, asked about."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.system.conftest import ROOT, Platform

SENTENCES = 2000
WAIT_S_MAX = 400.0
QUICK = {"reviews": {"samples_min": 3000, "age_s_max": 20}, "penguins": {"samples_min": 200, "age_s_max": 5}}


@pytest.fixture
def platform_of_examples(tmp_path: Path) -> Iterator[Platform]:
    """A platform with two of the example models, in small rounds."""
    models = tmp_path / "models"
    models.mkdir()
    for name, round_ in QUICK.items():
        spec = yaml.safe_load((ROOT / "models" / "examples" / f"{name}.yaml").read_text())
        spec["round"] |= round_
        spec["training"]["epochs_max"] = min(40, spec["training"]["epochs_max"])
        (models / f"{name}.yaml").write_text(yaml.safe_dump(spec))
    made = Platform(tmp_path / "data", models)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.timeout(900)
def test_sentences_and_rows_are_published_learned_and_asked_about(
    platform_of_examples: Platform, tool: str, tmp_path: Path, data_folder: Path
) -> None:
    platform = platform_of_examples
    texts = tmp_path / "sentences"
    texts.mkdir()
    for label, name in (("negative", "rt-polarity.neg"), ("positive", "rt-polarity.pos")):
        lines = (data_folder / "sentiment_rt" / name).read_text("latin-1").split("\n")[:SENTENCES]
        (texts / f"{label}.txt").write_text("\n".join(lines), "utf-8")

    def run(*arguments: str) -> str:
        command = [tool, "--data", str(platform.deployment.folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def served(model: str) -> bool:
        answer = httpx.get(f"{platform.deployment.gateway_url}/v1/models/{model}", timeout=30)
        return answer.is_success and "AVAILABLE" in answer.text

    def ask(model: str, instances: list[Any]) -> list[Any]:
        body = json.dumps({"instances": instances}).encode()
        answer = httpx.post(
            f"{platform.deployment.gateway_url}/v1/models/{model}:predict",
            content=body,
            headers={"content-type": "application/json"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        predictions: list[Any] = answer.json()["predictions"]
        return predictions

    run("publish", "reviews", "--lines", str(texts))
    run("publish", "penguins", "--csv", str(data_folder / "tabular" / "penguins.csv"), "--label", "species")
    platform.wait_for(lambda: served("reviews") and served("penguins"), WAIT_S_MAX)

    first, empty = ask("reviews", ["a warm , funny and moving film", ""])
    assert first["label"] in {"negative", "positive"}
    assert sum(empty["probabilities"]) == pytest.approx(1, abs=1e-5)
    whole = {
        "island": "Biscoe",
        "sex": "male",
        "bill_length_mm": 50,
        "bill_depth_mm": 15.0,
        "flipper_length_mm": 225.0,
        "body_mass_g": 5700,
    }
    missing = whole | {"sex": "", "body_mass_g": float("nan")}
    assert [each["label"] for each in ask("penguins", [whole, missing])] == ["Gentoo", "Gentoo"]
    assert "version 1" in run("predict", "reviews", "--text", "a fine film")
    assert "version 1" in run("predict", "penguins", "--row", json.dumps(missing))
