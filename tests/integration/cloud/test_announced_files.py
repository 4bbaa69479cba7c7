"""A file uploaded to Cloud Storage becomes a sample, because the bucket says so on Pub/Sub."""

from __future__ import annotations

import http.client
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from PIL import Image
from tidemill.commands.provision import provision
from tidemill_chassis.adapters.gcs_objects import CloudStore
from tidemill_contracts.bus import Bus

from tests.emulators.machine import START_S_MAX, wait_until

DIGITS = """
name: digits
kind: image_classifier
dataset: digits
labels: ["0", "1", "2"]
input: {height: 28, width: 28, channels: 1}
"""
PIECE = 256 * 1024
"""Uploads in pieces take multiples of this."""


@pytest.fixture
def picture() -> bytes:
    """A PNG of more than one piece."""
    file = io.BytesIO()
    Image.effect_noise((700, 700), 90).save(file, "PNG")
    assert len(file.getvalue()) > PIECE
    return file.getvalue()


@pytest.fixture
def announced(
    pubsub_emulator: Any,
    announcing_storage_server: Any,
    pubsub_url: str,
    bucket_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """What a process needs to know of a provisioned project."""
    for name, value in {**pubsub_emulator.environ, **announcing_storage_server.environ}.items():
        monkeypatch.setenv(name, value)
    options = ["--bus", pubsub_url, "--store", bucket_url, "--location", "EU"]
    made, again = (CliRunner().invoke(provision, options) for _ in range(2))
    for done, mark in ((made, "+ made"), (again, "= as it must be")):
        assert f"{mark}: notification of {bucket_url} about inbox/" in done.output, done.output
    return {"TIDEMILL_BUS": pubsub_url, "TIDEMILL_STORE": bucket_url}


@pytest.fixture
def ingest(announced: dict[str, str], tmp_path: Path, free_port: int) -> Iterator[None]:
    """An ingest that hears of files and never looks for them."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "digits.yaml").write_text(DIGITS)
    environ = {
        **os.environ,
        **announced,
        "TIDEMILL_MODELS": str(tmp_path / "models"),
        "TIDEMILL_INGEST_BIND": f"127.0.0.1:{free_port}",
        "TIDEMILL_INGEST_INBOX_POLL_S": "0",
        "TIDEMILL_INGEST_INBOX_ANNOUNCED": "true",
    }
    command = [sys.executable, "-m", "tidemill_ingest.main"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)

    def is_ready() -> bool:
        url = f"http://127.0.0.1:{free_port}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status) == 200
        except OSError:
            return False

    wait_until(is_ready)
    yield
    process.terminate()
    process.wait(30)


def names(store: CloudStore) -> set[str]:
    return {info.name for info in store.list("inbox")}


@pytest.mark.usefixtures("ingest")
def test_an_uploaded_file_is_taken_when_it_is_whole_and_not_before(
    announcing_storage_server: Any, bucket_url: str, open_pubsub: Callable[[], Bus], picture: bytes
) -> None:
    store = CloudStore.from_url(bucket_url, announcing_storage_server.environ)
    samples = open_pubsub().subscribe("samples", "test")

    place = begin_upload(announcing_storage_server.host, bucket_url, "inbox/digits/1/slow.png")
    assert send(place, picture[:PIECE], f"bytes 0-{PIECE - 1}/*") == 308
    store.put("inbox/digits/2/quick.png", picture)
    wait_until(lambda: names(store) == {"inbox-done/digits/2/quick.png"})
    rest = f"bytes {PIECE}-{len(picture) - 1}/{len(picture)}"
    assert send(place, picture[PIECE:], rest) == 200
    # It is there under both names for a moment.
    wait_until(lambda: names(store) == {"inbox-done/digits/1/slow.png", "inbox-done/digits/2/quick.png"})

    labels: list[str] = []
    end_s = time.monotonic() + START_S_MAX
    while len(labels) < 2 and time.monotonic() < end_s:
        for delivery in samples.pull(10, 1.0):
            labels += [each["label"] for each in json.loads(delivery.message.data)["samples"]]
            samples.acknowledge([delivery.ack_id])
    assert sorted(labels) == ["1", "2"]


def begin_upload(host: str, bucket_url: str, name: str) -> str:
    """Where the pieces of a resumable upload go."""
    url = f"{host}/upload/storage/v1/b/{urlsplit(bucket_url).netloc}/o?uploadType=resumable"
    request = urllib.request.Request(  # noqa: S310  (our own server)
        url, json.dumps({"name": name}).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(answer.headers["Location"])


def send(place: str, piece: bytes, content_range: str) -> int:
    """Send a piece; the status. 308: more is wanted."""
    parts = urlsplit(place)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("PUT", f"{parts.path}?{parts.query}", piece, {"Content-Range": content_range})
    status = connection.getresponse().status
    connection.close()
    return status
