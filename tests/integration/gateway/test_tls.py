"""HTTP and gRPC, encrypted."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from tidemill_gateway.wire import methods, model_pb2, predict_pb2

from tests.emulators.gateway_process import GatewayProcess, image, wait_until
from tests.emulators.machine import free_port


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    files = tmp_path / "tls.pem", tmp_path / "tls.key"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    out = ["-out", str(files[0]), "-keyout", str(files[1])]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name, *out]
    subprocess.run(command, check=True, capture_output=True)
    return files


def test_both_front_doors_are_encrypted(
    start_gateway: Callable[..., GatewayProcess],
    set_labels: Callable[..., None],
    certificate: tuple[Path, Path],
) -> None:
    set_labels(stable=1)
    port = free_port()
    gateway = start_gateway(
        wait=False,
        TIDEMILL_GATEWAY_TLS_CERTIFICATE=str(certificate[0]),
        TIDEMILL_GATEWAY_TLS_KEY=str(certificate[1]),
        TIDEMILL_GATEWAY_GRPC_BIND=f"127.0.0.1:{port}",
    )
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    with httpx.Client(base_url=f"https://localhost:{gateway.port}", verify=trusted) as client:
        wait_until(lambda: is_ready(client), "the gateway is ready")

        answers = [
            client.post("/v1/models/digits:predict", json={"instances": [image(1.0)]}) for _ in range(3)
        ]
        too_large = client.post("/v1/models/digits:predict", content=b" " * (17 * 2**20))

    assert [answer.status_code for answer in answers] == [200] * 3
    assert too_large.status_code == 413
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        request: Any = model_pb2.GetModelStatusRequest(model_spec=predict_pb2.ModelSpec(name="digits"))
        assert channel.unary_unary(methods.GET_MODEL_STATUS)(request.SerializeToString(), timeout=10)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
