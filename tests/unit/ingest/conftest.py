"""An ingest on the shipped fakes, and images made on the spot."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from tidemill_contracts.envelope import from_message
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.samples import Sample
from tidemill_ingest.app import create_app, make_intake
from tidemill_ingest.settings import Settings

DIGITS = """
name: digits
kind: image_classifier
dataset: digits
labels: ["0", "1", "2"]
input: {height: 28, width: 28, channels: 1}
"""
REVIEWS = """
name: reviews
kind: text_classifier
dataset: reviews
labels: [good, bad]
"""
BODY_BYTES_MAX = 2 * 1024 * 1024


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """``encode(image, kind="PNG", **options)``: the file's bytes."""
    return encoded


@pytest.fixture
def digit() -> bytes:
    """A plain PNG of 28 × 28 grey pixels."""
    return encoded(Image.radial_gradient("L").resize((28, 28)))


@pytest.fixture
def digit_b64(digit: bytes) -> str:
    return base64.b64encode(digit).decode()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "digits.yaml").write_text(DIGITS)
    (folder / "reviews.yaml").write_text(REVIEWS)
    return folder


@dataclass
class Ingest:
    """An application on a memory bus."""

    settings: Settings
    bus: MemoryBus = field(default_factory=MemoryBus)

    def __post_init__(self) -> None:
        self.intake = make_intake(self.settings, self.bus)
        self.client: FlaskClient = create_app(self.settings, self.bus, self.intake).test_client()

    def post(self, body: object) -> Any:
        """The answer to a JSON body."""
        return self.client.post("/v1/samples", json=body)

    def events(self) -> list[SamplesReceived]:
        return [from_message(message, SamplesReceived) for message in self.bus.published("samples")]

    def samples(self) -> list[Sample]:
        """Every sample published."""
        return [sample for event in self.events() for sample in event.samples]


@pytest.fixture
def make_ingest(models: Path) -> Callable[..., Ingest]:
    """``make_ingest(VARIABLE=value)``: small limits, unless said otherwise."""

    def make(**environ: str) -> Ingest:
        small = {
            "TIDEMILL_BUS": "memory://",
            "TIDEMILL_STORE": "memory://",
            "TIDEMILL_MODELS": str(models),
            "TIDEMILL_INGEST_BODY_BYTES_MAX": str(BODY_BYTES_MAX),
            "TIDEMILL_INGEST_SAMPLES_PER_MESSAGE": "4",
        }
        return Ingest(Settings.from_env({**small, **environ}))

    return make


@pytest.fixture
def ingest(make_ingest: Callable[..., Ingest]) -> Ingest:
    return make_ingest()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per awkward image, where the data is there."""
    if "awkward" in metafunc.fixturenames:
        root = Path(__file__).parents[3]
        folder = root / os.environ.get("TIDEMILL_TEST_DATA", "../shared/data") / "awkward_images"
        manifest = folder / "manifest.json"
        files = json.loads(manifest.read_text())["files"] if manifest.exists() else []
        metafunc.parametrize("awkward", files, ids=[one["file"] for one in files])
