"""What the gateway tells of models, versions, health and itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from tidemill_chassis.adapters import open_store
from tidemill_contracts.layout import manifest_name, model_card_name
from tidemill_contracts.manifest import Manifest, ModelCard, StoredFile, dump_document

from tests.emulators.gateway_process import GatewayProcess, image, wait_until
from tests.emulators.small_serving import SmallServing, State

CARD = ModelCard(
    model="digits",
    version=1,
    kind="image_classifier",
    dataset="digits",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    round_id="round-1",
    round_number=1,
    labels=("0", "1"),
    train_samples=500,
    validation_samples=80,
    metrics={"accuracy": 0.91},
    decision="first version",
    seed=7,
    environment={"tensorflow": "2.21.0"},
)


@pytest.fixture
def published(store_url: str) -> Manifest:
    """Version 1 as the trainer would have stored it."""
    store = open_store(store_url)
    data = dump_document(CARD)
    store.put(model_card_name("digits", 1), data)
    file = StoredFile(path="model.bin", size_bytes=4, sha256=hashlib.sha256(b"data").hexdigest())
    manifest = Manifest(
        model="digits", version=1, created_at=CARD.created_at, round_id="round-1", files=(file,)
    )
    store.put(manifest_name("digits", 1), dump_document(manifest))
    return manifest


def test_versions_tell_what_each_is_and_how_good(published: Manifest, gateway: GatewayProcess) -> None:
    told = gateway.ask("GET", "/v1/models/digits/versions").json

    (version,) = told["versions"]
    assert (told["model"], told["stable"], told["labels"]) == ("digits", 1, {"stable": 1})
    assert (version["version"], version["state"], version["labels"]) == (1, "AVAILABLE", ["stable"])
    assert version["created_at"].startswith("2026-01-02")
    assert (version["dataset"], version["train_samples"], version["validation_samples"]) == (
        "digits",
        500,
        80,
    )
    assert version["metrics"] == {"accuracy": 0.91}
    assert version["parent_version"] is None
    assert version["digest"] == published.digest
    assert version["environment"] == {"tensorflow": "2.21.0"}
    assert version["signatures"]["serving_default"]["inputs"] == {
        "image": {"dtype": "DT_FLOAT", "shape": [None, 28, 28, 1]}
    }


def test_a_card_of_another_time_is_told_as_it_is_and_a_broken_one_is_said_to_be_broken(
    published: Manifest, store_url: str, start_gateway: Callable[..., GatewayProcess]
) -> None:
    store = open_store(store_url)
    for data, told in (
        (b'{"dataset": "digits", "conscience": "clear"}', {"dataset": "digits", "conscience": "clear"}),
        (b"not a card", {"fault": "models/digits/1/assets.extra/model_card.json is no model card"}),
    ):
        store.put(model_card_name("digits", 1), data)
        gateway = start_gateway()

        (version,) = gateway.ask("GET", "/v1/models/digits/versions").json["versions"]

        assert version["digest"] == published.digest
        for name, value in told.items():
            assert str(version[name]).startswith(value)


def test_models_are_listed_with_what_serves(shared_gateway: GatewayProcess) -> None:
    assert shared_gateway.ask("GET", "/v1/models").json == {
        "models": [{"name": "digits", "ready": True, "stable": 1, "labels": {"stable": 1}, "versions": [1]}]
    }


def test_status_is_spelled_as_tensorflow_serving_spells_it(
    gateway: GatewayProcess, serving: SmallServing
) -> None:
    serving.models["digits"] = {1: State.AVAILABLE, 2: State.LOADING}
    fine = {"error_code": "OK", "error_message": ""}
    both = {
        "model_version_status": [
            {"version": "2", "state": "LOADING", "status": fine},
            {"version": "1", "state": "AVAILABLE", "status": fine},
        ]
    }

    wait_until(lambda: gateway.ask("GET", "/v1/models/digits").json == both, "the second version is seen")
    one = gateway.ask("GET", "/v1/models/digits/versions/1").json
    assert one == {"model_version_status": both["model_version_status"][1:]}
    assert gateway.ask("GET", "/v1/models/digits/labels/stable").json == one


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/models/letters", 404, "Could not find any versions of model letters"),
        ("/v1/models/digits/versions/9", 404, "Could not find version 9 of model digits"),
        ("/v1/models/digits/labels/golden", 400, "Unrecognized servable version label: golden"),
        ("/v1/models/letters/metadata", 404, "Could not find any versions of model letters"),
        ("/v1/models/digits/versions/9/metadata", 404, "Servable not found"),
        ("/v1/models/letters/versions", 404, "letters"),
        ("/v1/models/digits/nothing", 400, "Malformed request: GET /v1/models/digits/nothing"),
    ],
)
def test_what_is_not_there_is_said_so(
    shared_gateway: GatewayProcess, path: str, status: int, said: str
) -> None:
    answer = shared_gateway.ask("GET", path)

    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert said in answer.json["error"]


def test_metadata_is_spelled_as_tensorflow_serving_spells_it(shared_gateway: GatewayProcess) -> None:
    for path in ("", "/versions/1", "/labels/stable"):
        told = shared_gateway.ask("GET", f"/v1/models/digits{path}/metadata").json

        assert told["model_spec"] == {"name": "digits", "signature_name": "", "version": "1"}
        signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert signature["inputs"]["image"]["dtype"] == "DT_FLOAT"
        sizes = [dim["size"] for dim in signature["inputs"]["image"]["tensor_shape"]["dim"]]
        assert sizes == ["-1", "28", "28", "1"]
        assert signature["method_name"] == "tensorflow/serving/predict"


def test_metrics_tell_by_version_label_and_signature(gateway: GatewayProcess) -> None:
    gateway.predict({"instances": [image(1.0)]})
    gateway.predict(b"not json")

    text = gateway.ask("GET", "/metrics").body.decode()

    labels = 'dialect="tfserving",label="stable",model="digits",signature="serving_default",version="1"'
    assert f"tidemill_gateway_requests_total{{{labels}}} 1.0" in text
    assert 'tidemill_gateway_rejections_total{dialect="tfserving",reason="Malformed"} 1.0' in text
    assert (
        'tidemill_gateway_batch_rows_count{model="digits",signature="serving_default",version="1"} 1.0'
        in text
    )
    assert "tidemill_gateway_queue_seconds_sum" in text


def test_what_never_became_a_request_is_counted_by_its_status(gateway: GatewayProcess) -> None:
    gateway.raw(b"nonsense\r\n\r\n")
    gateway.predict(b"nonsense", **{"Content-Encoding": "gzip"})
    gateway.predict(b"nonsense", **{"Content-Encoding": "br"})

    text = gateway.ask("GET", "/metrics").body.decode()

    assert 'tidemill_gateway_http_refusals_total{status="400"} 2.0' in text
    assert 'tidemill_gateway_http_refusals_total{status="415"} 1.0' in text


def test_it_is_alive_but_not_ready_until_a_model_serves(
    start_gateway: Callable[..., GatewayProcess], serving: SmallServing, set_labels: Callable[..., None]
) -> None:
    gateway = start_gateway(wait=False)
    wait_until(lambda: not refuses(gateway), "it listens")

    assert gateway.ask("GET", "/healthz").status == 200
    wait_until(lambda: "no model" in gateway.ask("GET", "/readyz").body.decode(), "it says what is missing")
    set_labels(stable=1)
    wait_until(gateway.is_ready, "the model is found")


def refuses(gateway: GatewayProcess) -> bool:
    try:
        gateway.ask("GET", "/healthz")
    except OSError:
        return True
    return False
