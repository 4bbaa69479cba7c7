"""With keys set up, only those who show one may publish."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tidemill_chassis import web
from tidemill_chassis.settings import SettingsError
from tidemill_ingest.keys import lock, read_keys

KEY = "b7c1f0e2-long-enough"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"# who may publish\ncamera publish {hashlib.sha256(KEY.encode()).hexdigest()}\n")
    return file


@pytest.fixture
def client(keys_file: Path) -> FlaskClient:
    app: Flask = web.create_app("ingest", body_bytes_max=1000, ready=lambda: None)
    lock(app, read_keys(keys_file))
    app.post("/v1/samples")(lambda: ("taken", 202))
    return app.test_client()


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer guessed"}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": KEY + "x"}],
)
def test_whoever_shows_no_known_key_is_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post("/v1/samples", headers=headers)

    assert answer.status_code == 401
    assert "key" in answer.get_data(as_text=True)
    assert answer.headers["WWW-Authenticate"].lower() == "bearer"


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}])
def test_a_known_key_is_let_in(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/samples", headers=headers).status_code == 202


def test_probes_need_no_key(client: FlaskClient) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("content", ["", "camera publish short", f"camera predict {'0' * 64}", "camera"])
def test_a_wrong_file_of_keys_is_said_at_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)

    with pytest.raises(SettingsError, match="TIDEMILL_INGEST_KEYS"):
        read_keys(tmp_path / "keys")


def test_a_missing_file_of_keys_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_keys(tmp_path / "keys")
