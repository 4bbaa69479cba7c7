"""A client of TensorFlow Serving's API that others wrote, pointed at the gateway unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tidemill_chassis.adapters import open_store
from tidemill_contracts.manifest import Labels, change_labels

from tests.emulators.gateway_process import GatewayProcess, wait_until
from tests.emulators.machine import free_port
from tests.emulators.small_serving import SmallServing


@pytest.fixture(scope="module")
def addresses(
    shared_serving: SmallServing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    store, port = f"file://{tmp_path_factory.mktemp('store')}", free_port()
    change_labels(open_store(store), "digits", lambda _: Labels(stable=1))
    gateway = GatewayProcess.start(
        serving=shared_serving.address, store=store, TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{port}"
    )
    wait_until(gateway.is_ready, "the gateway is ready")
    yield {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{gateway.port}"}
    gateway.stop()


PROGRAM = """
import json, sys
import numpy as np
import ovmsclient

kind, address = sys.argv[1:]
client = (ovmsclient.make_grpc_client if kind == "grpc" else ovmsclient.make_http_client)(address)
rows = np.zeros((2, 28, 28, 1), dtype=np.float32)
rows[:, 0, 0, 0] = [3.0, 4.5]
refused = []
for name, version, sent in (("letters", 1, rows), ("digits", 9, rows), ("digits", 1, rows[:, :3])):
    try:
        client.predict({"image": sent}, name, version)
    except Exception as error:
        refused.append(type(error).__name__)
metadata = client.get_model_metadata("digits", 1)
if "metadata" in metadata:  # over REST it hands TensorFlow Serving's own document through
    shape = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["image"]
    shape = [int(dim["size"]) for dim in shape["tensor_shape"]["dim"]]
else:
    shape = metadata["inputs"]["image"]["shape"]
print(json.dumps({
    "found": np.asarray(client.predict({"image": rows}, "digits", 1))[:, :2].tolist(),
    "state": client.get_model_status("digits", 1)[1]["state"],
    "shape": shape,
    "refused": refused,
}))
"""
"""Its messages bear TensorFlow's names: it runs in a process of its own. Version 0 is OpenVINO's own idea."""


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_openvinos_client_is_answered_unchanged(addresses: dict[str, str], protocol: str) -> None:
    command = [sys.executable, "-c", PROGRAM, protocol, addresses[protocol]]

    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert run.returncode == 0, run.stderr[-2000:]
    told = json.loads(run.stdout)
    assert told["found"] == [[1.0, 3.0], [1.0, 4.5]]
    assert (told["state"], told["shape"]) == ("AVAILABLE", [-1, 28, 28, 1])
    assert told["refused"] == ["ModelNotFoundError", "ModelNotFoundError", "InvalidInputError"]
