"""A small platform on files: kept batches and a registry that knows them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tidemill_chassis.adapters.files import FileStore
from tidemill_contracts.bus import Message
from tidemill_contracts.identified import IdentifiedSample, identified
from tidemill_contracts.layout import batch_name
from tidemill_contracts.readable import read_samples
from tidemill_contracts.stored_batch import StoredMessage, encode_batch
from tidemill_registry import Registry
from tidemill_registry.batches import mark_indexed, see_objects
from tidemill_registry.records import ObjectCounts, SampleRow, StoredObject
from tidemill_registry.sample_rows import add_samples

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def digits_message(*labels: str, ident: str = "", **attributes: str) -> Message:
    """A message of the dataset `digits` with a text sample for each label."""
    samples = [{"label": label, "text": f"{ident}{n}"} for n, label in enumerate(labels)]
    body = {"dataset": "digits", "source": f"file-{ident}", "samples": samples}
    return Message(json.dumps(body).encode(), {"ce-id": ident, **attributes} if ident else attributes)


@dataclass
class Kept:
    """A store and a registry, filled as persistor and trainer would."""

    store: FileStore
    registry: Registry
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the command line needs to find it."""
        return {
            "TIDEMILL_STORE": (self.folder / "store").as_uri(),
            "TIDEMILL_DATABASE": f"sqlite:///{self.folder / 'registry.sqlite'}",
            "TIDEMILL_BUS": "memory://",
            "TIDEMILL_MODELS": "models",
            "TIDEMILL_INGEST": "http://127.0.0.1:1",
            "TIDEMILL_GATEWAY": "http://127.0.0.1:1",
        }

    def keep(self, messages: Sequence[Message], *, hour: int = 0, index: bool = True) -> str:
        """Store the messages as one batch, published from `hour` hours after noon on; return its name."""
        at = NOON + timedelta(hours=hour)
        stored = [
            StoredMessage(
                "persistor", f"{hour}-{n}", at + timedelta(seconds=n), message.attributes, message.data
            )
            for n, message in enumerate(messages)
        ]
        data, digest = encode_batch(stored)
        name = batch_name("digits", "train", at, digest)
        self.store.put(name, data)
        if index:
            self._index(name, data, messages)
        return name

    def _index(self, name: str, data: bytes, messages: Sequence[Message]) -> None:
        rows = [
            SampleRow(each.sample_id, name, position, each.position, each.sample.label, "train", "0" * 64)
            for position, message in enumerate(messages)
            for each in _identified(message)
        ]
        counts = ObjectCounts(message_count=len(messages), sample_count=len(rows))
        with self.registry.write() as sql:
            see_objects(sql, [StoredObject(name, "digits", "train")], now=NOON)
            add_samples(sql, "digits", rows, seen_at=NOON)
            mark_indexed(sql, name, sha256=hashlib.sha256(data).hexdigest(), counts=counts, now=NOON)


@pytest.fixture
def kept(tmp_path: Path, empty_registry: Path) -> Kept:
    file = shutil.copy(empty_registry, tmp_path / "registry.sqlite")
    return Kept(FileStore(tmp_path / "store"), Registry.open(f"sqlite:///{file}"), tmp_path)


@pytest.fixture
def make_message() -> Callable[..., Message]:
    """``make_message(*labels, ident=, **attributes)``"""
    return digits_message


def _identified(message: Message) -> list[IdentifiedSample]:
    read = read_samples(message)
    return list(identified(read.event, read.positions))
