"""Clients that others wrote, unmodified: ovmsclient. The gRPC rules use the official stubs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import numpy as np
import ovmsclient

kind, address = sys.argv[1:]
client = (ovmsclient.make_grpc_client if kind == "grpc" else ovmsclient.make_http_client)(address)
answer = client.predict({"x": np.array([[1.0], [2.0]], np.float32)}, "half_plus_two", 1)
status = client.get_model_status("half_plus_two", 1)  # its 0, for any version, is OpenVINO's own
metadata = client.get_model_metadata("half_plus_two", 1)
if "metadata" in metadata:  # over REST it hands TensorFlow Serving's own document through
    metadata = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
try:
    client.predict({"x": np.array([[1.0]], np.float32)}, "nope", 1)
    missing = "answered"
except ovmsclient.ModelNotFoundError:
    missing = "not found"
print(json.dumps({
    "answer": np.asarray(answer).ravel().tolist(),
    "states": {str(version): found["state"] for version, found in status.items()},
    "inputs": sorted(metadata["inputs"]),
    "missing": missing,
}))
"""


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_ovmsclient_predicts_and_reads_status_and_metadata(server, kind):
    address = server.address if kind == "grpc" else server.rest.removeprefix("http://")

    # A process of its own: it brings stubs of the same names, which collide with the official ones.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, address], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "answer": [2.5, 3.0],
        "states": {"1": "AVAILABLE"},
        "inputs": ["x"],
        "missing": "not found",
    }
