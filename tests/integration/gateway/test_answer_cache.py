"""Answers of late in Redis: given again only where they are still true."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tidemill_chassis.adapters import open_store
from tidemill_contracts.layout import manifest_name
from tidemill_contracts.manifest import Labels, Manifest, StoredFile, change_labels, dump_document

from tests.emulators.gateway_process import Answered, GatewayProcess, image, wait_until
from tests.emulators.machine import free_port
from tests.emulators.small_serving import SmallServing, State

ONE = {"instances": [image(1.0)]}
Publish = Callable[..., None]
StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def publish(store_url: str) -> Publish:
    """Writes the manifest of a version whose one file has that content."""
    store = open_store(store_url)

    def write(model: str, version: int, content: bytes) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        file = StoredFile(path="model.bin", size_bytes=len(content), sha256=sha256)
        now = datetime.now(UTC)
        manifest = Manifest(model=model, version=version, created_at=now, round_id="r", files=(file,))
        store.put(manifest_name(model, version), dump_document(manifest))
        change_labels(store, model, lambda _: Labels(stable=version))

    return write


@pytest.fixture
def caching(start_gateway: StartGateway, publish: Publish, redis_url: str) -> GatewayProcess:
    publish("digits", 1, b"one")
    return start_gateway(TIDEMILL_CACHE=redis_url, TIDEMILL_GATEWAY_CACHE_S="60")


def again(
    gateway: GatewayProcess, body: Any, without_batch_of: SmallServing | None = None, **headers: str
) -> Answered:
    """The answer, once it comes from the cache: the gateway does not wait for a Redis that is slow."""
    found: list[Answered] = []

    def hit() -> bool:
        batches = len(without_batch_of.batches) if without_batch_of else 0
        found[:] = [gateway.predict(body, **headers)]
        assert found[0].status == 200
        if found[0].headers.get("x-tidemill-cache") != "hit":
            return False
        assert without_batch_of is None or len(without_batch_of.batches) == batches
        return True

    wait_until(hit, "the answer is in the cache")
    return found[0]


def test_an_equal_request_is_answered_without_the_model(
    caching: GatewayProcess, serving: SmallServing
) -> None:
    first = caching.predict(ONE)
    second = again(caching, {"instances": [image(1)]})
    third = again(caching, ONE, without_batch_of=serving)

    assert "x-tidemill-cache" not in first.headers
    assert first.body == second.body == third.body
    assert third.headers["x-tidemill-model-version"] == "1"
    assert third.headers["x-tidemill-batch-rows"] == "0"
    assert caching.metric("tidemill_gateway_cache_total") >= 3


def test_another_row_another_signature_another_shape_are_not_the_same(caching: GatewayProcess) -> None:
    again(caching, ONE)

    other = caching.predict({"instances": [image(2.0)]})
    both = caching.predict({"instances": [image(1.0), image(1.0)]})
    text = caching.predict({"signature_name": "encoded", "instances": ["abc"]})

    assert [one.headers.get("x-tidemill-cache") for one in (other, both, text)] == [None] * 3
    assert other.json["predictions"][0][1] == 2.0
    assert len(both.json["predictions"]) == 2
    assert text.json["predictions"][0][1] == 3.0


def test_another_model_and_a_newer_version_never_get_an_old_answer(
    caching: GatewayProcess, serving: SmallServing, publish: Publish
) -> None:
    again(caching, ONE)
    serving.models["letters"] = {1: State.AVAILABLE}
    publish("letters", 1, b"one")
    serving.models["digits"][2] = State.AVAILABLE
    publish("digits", 2, b"two")
    wait_until(lambda: caching.stable_version() == 2, "the second version is stable")

    letters = caching.predict(ONE, path="/v1/models/letters")
    digits = caching.predict(ONE)
    old = caching.predict(ONE, path="/v1/models/digits/versions/1")

    assert letters.headers["x-tidemill-model"] == "letters"
    assert "x-tidemill-cache" not in letters.headers
    assert (digits.headers["x-tidemill-model-version"], digits.json["predictions"][0][0]) == ("2", 2.0)
    assert "x-tidemill-cache" not in digits.headers
    assert (old.headers["x-tidemill-model-version"], old.json["predictions"][0][0]) == ("1", 1.0)


def test_a_version_number_that_came_back_with_another_content_gets_no_old_answer(
    caching: GatewayProcess, publish: Publish, start_gateway: StartGateway, redis_url: str
) -> None:
    again(caching, ONE)
    caching.stop()
    publish("digits", 1, b"another one")

    gateway = start_gateway(TIDEMILL_CACHE=redis_url, TIDEMILL_GATEWAY_CACHE_S="60")

    assert "x-tidemill-cache" not in gateway.predict(ONE).headers


def test_a_version_whose_content_nobody_knows_is_not_cached(
    start_gateway: StartGateway, set_labels: Callable[..., None], redis_url: str
) -> None:
    set_labels(stable=1)
    gateway = start_gateway(TIDEMILL_CACHE=redis_url, TIDEMILL_GATEWAY_CACHE_S="60")

    assert {gateway.predict(ONE).headers.get("x-tidemill-cache") for _ in range(5)} == {None}


def test_errors_are_not_kept(caching: GatewayProcess, serving: SmallServing) -> None:
    bad = {"instances": [image(serving.poison)]}

    assert [caching.predict(bad).status for _ in range(3)] == [400] * 3
    serving.poison = -1.0

    assert caching.predict(bad).status == 200


def test_while_redis_is_away_all_is_answered_without_it(
    start_gateway: StartGateway, publish: Publish
) -> None:
    publish("digits", 1, b"one")
    cache = f"redis://127.0.0.1:{free_port()}/0"
    gateway = start_gateway(TIDEMILL_CACHE=cache, TIDEMILL_GATEWAY_CACHE_S="60")

    assert [gateway.predict(ONE).status for _ in range(10)] == [200] * 10


def test_a_redis_that_dies_and_comes_back_is_used_again(
    start_gateway: StartGateway, publish: Publish, redis_server: Any
) -> None:
    publish("digits", 1, b"one")
    gateway = start_gateway(TIDEMILL_CACHE=redis_server.url, TIDEMILL_GATEWAY_CACHE_S="60")
    again(gateway, ONE)

    redis_server.kill()
    assert [gateway.predict(ONE).status for _ in range(5)] == [200] * 5
    redis_server.start()

    again(gateway, ONE)
