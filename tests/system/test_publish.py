"""`tidemill publish` brings folders and tables in, says what ingest wonders at, and adds nothing twice."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tidemill.sources.bundled_digits import read_bundled_digits
from tidemill_chassis.adapters import open_store
from tidemill_contracts.envelope import from_message
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.layout import batch_prefix
from tidemill_contracts.samples import Sample, Split
from tidemill_contracts.stored_batch import decode_batch


@pytest.mark.timeout(300)
def test_folders_and_tables_are_kept_sample_by_sample(
    platform: Any, tool: str, tmp_path: Path, data_folder: Path
) -> None:
    def publish(*arguments: str) -> str:
        command = [tool, "--data", str(platform.deployment.folder), "publish", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def kept(dataset: str, split: Split = "train") -> list[Sample]:
        store = open_store(platform.deployment.store_url)
        return [
            sample
            for info in store.list(batch_prefix(dataset, split))
            for message in decode_batch(store.get(info.name), info.name)
            for sample in from_message(message.message, SamplesReceived).samples
        ]

    photographs = tmp_path / "photographs"
    for index, raw in enumerate(read_bundled_digits()[1][:30]):
        (photographs / raw.label).mkdir(parents=True, exist_ok=True)
        picture = Image.open(io.BytesIO(raw.image or b"")).resize((64, 64)).convert("RGB")
        picture.save(photographs / raw.label / f"{index}.jpg", quality=95)
    publish("digits", "--folder", str(photographs), "--split", "test")
    platform.wait_for(lambda: len(kept("digits", "test")) == 30)
    [size] = {Image.open(io.BytesIO(sample.content())).size for sample in kept("digits", "test")}
    assert size == (28, 28), "ingest brings images to what the dataset's model wants"

    penguins = data_folder / "tabular" / "penguins.csv"
    label = next(
        name for name in penguins.read_text().splitlines()[0].split(",") if "species" in name.lower()
    )
    said = publish("penguins", "--csv", str(penguins), "--label", label, "--limit", "50", "--rate", "500")
    assert "no model" in said
    platform.wait_for(lambda: len(kept("penguins")) == 50)
    assert all(sample.row and sample.label for sample in kept("penguins"))

    publish("penguins", "--csv", str(penguins), "--label", label, "--limit", "50")
    platform.wait_for(lambda: len(kept("penguins")) == 100)
    assert len({sample.id for sample in kept("penguins")}) == 50, "the same rows have the same ids"
