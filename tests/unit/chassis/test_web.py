"""Errors become HTTP once, and all alike."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from flask import request
from flask.testing import FlaskClient
from tidemill_chassis.health import HealthServer
from tidemill_chassis.settings import Address
from tidemill_chassis.web import create_app
from tidemill_contracts import errors


class Probe:
    reason: str | None = None

    def ready(self) -> None:
        if self.reason:
            raise errors.Unavailable(self.reason)


def client_of(probe: Probe, error: Exception | None = None) -> FlaskClient:
    app = create_app("test", body_bytes_max=100, ready=probe.ready)

    @app.post("/work")
    def work() -> dict[str, Any]:
        if error is not None:
            raise error
        return {"bytes": len(request.get_data())}

    return app.test_client()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Malformed("m"), 400),
        (errors.InvalidInput("m", field="samples[3].image"), 422),
        (errors.TooLarge("m"), 413),
        (errors.UnsupportedType("m"), 415),
        (errors.NotFound("m"), 404),
        (errors.Conflict("m"), 409),
        (errors.Overloaded("m", retry_after_s=2.1), 429),
        (errors.Unavailable("m"), 503),
        (errors.Corrupt("m"), 500),
    ],
)
def test_every_class_of_error_has_its_status(error: errors.TidemillError, status: int) -> None:
    answer = client_of(Probe(), error).post("/work")

    assert answer.status_code == status
    assert answer.get_json()["error"]["message"] == "m"
    assert answer.get_json()["error"].get("field") == getattr(error, "field", None)


def test_who_may_try_again_is_told_when() -> None:
    answer = client_of(Probe(), errors.Overloaded("m", retry_after_s=2.1)).post("/work")

    assert answer.headers["Retry-After"] == "3"


def test_a_fault_of_ours_tells_nothing_of_the_inside() -> None:
    answer = client_of(Probe(), RuntimeError("secret path")).post("/work")

    assert answer.status_code == 500
    assert b"secret" not in answer.data


def test_a_body_over_the_limit_is_refused() -> None:
    answer = client_of(Probe()).post("/work", data=b"x" * 101)

    assert answer.status_code == 413
    assert "100 bytes" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize(("verb", "path", "status"), [("GET", "/none", 404), ("GET", "/work", 405)])
def test_routes_that_are_not_there_answer_in_json(verb: str, path: str, status: int) -> None:
    answer = client_of(Probe()).open(path, method=verb)

    assert answer.status_code == status
    assert answer.get_json()["error"]["message"]


def test_readiness_gives_the_reason() -> None:
    probe = Probe()
    client = client_of(probe)

    assert client.get("/readyz").status_code == 200
    probe.reason = "the bus does not answer"
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.get_json()["reason"] == "the bus does not answer"
    assert client.get("/healthz").status_code == 200
    assert b"python_info" in client.get("/metrics").data


def test_a_worker_answers_the_same_probes() -> None:
    probe = Probe()
    with HealthServer(Address("127.0.0.1", 0), probe.ready) as server:
        base = f"http://127.0.0.1:{server.port}"

        assert _get(f"{base}/readyz") == (200, {"status": "ready"})
        probe.reason = "no store"
        assert _get(f"{base}/readyz") == (503, {"status": "not ready", "reason": "no store"})
        assert _get(f"{base}/healthz")[0] == 200
        assert _get(f"{base}/other")[0] == 404


def _get(url: str) -> tuple[int, Any]:
    answer = httpx.get(url, timeout=5)
    return answer.status_code, answer.json()
