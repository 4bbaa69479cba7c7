"""Promote, roll back and share traffic through the gateway's own routes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from tidemill_chassis.adapters import open_store
from tidemill_contracts.layout import manifest_name
from tidemill_contracts.manifest import Labels, change_labels

from tests.emulators.gateway_process import GatewayProcess, image, wait_until
from tests.emulators.small_serving import SmallServing, State

ONE = {"instances": [image(1.0)]}


@pytest.fixture
def two_versions(
    serving: SmallServing,
    store_url: str,
    set_labels: Callable[..., None],
    start_gateway: Callable[..., GatewayProcess],
) -> GatewayProcess:
    """Version 1 is stable, version 2 is the candidate, both published and loaded."""
    serving.models["digits"] = {1: State.AVAILABLE, 2: State.AVAILABLE}
    for version in (1, 2):
        open_store(store_url).put(manifest_name("digits", version), b"{}")
    set_labels(stable=1, candidate=2)
    return start_gateway()


@pytest.fixture(scope="module")
def unchanged(
    shared_serving: SmallServing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """The same, of which no test changes anything."""
    store_url = f"file://{tmp_path_factory.mktemp('store')}"
    store = open_store(store_url)
    shared_serving.models["digits"] = {1: State.AVAILABLE, 2: State.AVAILABLE}
    for version in (1, 2):
        store.put(manifest_name("digits", version), b"{}")
    change_labels(store, "digits", lambda _: Labels(stable=1, candidate=2))
    gateway = GatewayProcess.start(serving=shared_serving.address, store=store_url)
    wait_until(gateway.is_ready, "the gateway is ready")
    yield gateway
    gateway.stop()


def version_of(gateway: GatewayProcess, **headers: str) -> int:
    return int(gateway.predict(ONE, **headers).headers["x-tidemill-model-version"])


def test_one_call_promotes_and_one_call_rolls_back_at_once(two_versions: GatewayProcess) -> None:
    started_s = time.monotonic()

    promoted = two_versions.ask("POST", "/v1/models/digits:promote", {"version": 2, "reason": "looks better"})
    assert (promoted.status, promoted.json["labels"]) == (200, {"stable": 2, "previous": 1})
    assert version_of(two_versions) == 2

    back = two_versions.ask("POST", "/v1/models/digits:rollback")
    assert (back.status, back.json["labels"]) == (200, {"stable": 1, "previous": 2})
    assert version_of(two_versions) == 1
    assert time.monotonic() - started_s < 5


def test_every_change_is_kept_with_who_and_why(two_versions: GatewayProcess) -> None:
    two_versions.ask("POST", "/v1/models/digits:promote", {"version": 2, "reason": "looks better"})
    two_versions.ask("PUT", "/v1/models/digits/rollout", {"shadow_percent": 5})

    last, first = two_versions.ask("GET", "/v1/models/digits/audit").json["changes"]

    assert (first["action"], first["by"], first["reason"]) == ("promote", "127.0.0.1", "looks better")
    assert (first["labels_before"]["stable"], first["labels_after"]["stable"]) == (1, 2)
    assert (last["action"], last["rollout_after"]["shadow_percent"]) == ("rollout", 5)
    versions = two_versions.ask("GET", "/v1/models/digits/versions").json["versions"]
    assert {v["version"]: v.get("promoted", {}).get("by") for v in versions} == {2: "127.0.0.1", 1: None}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/v1/models/digits:promote", {"version": 9}, 409, "not loaded"),
        ("POST", "/v1/models/digits:promote", {}, 400, "version"),
        ("POST", "/v1/models/digits:promote", {"version": "x"}, 400, "version"),
        ("POST", "/v1/models/digits:promote", {"version": 2, "force": True}, 400, "force"),
        ("POST", "/v1/models/digits:promote", b"no json", 400, "JSON"),
        ("POST", "/v1/models/letters:promote", {"version": 1}, 404, "letters"),
        ("POST", "/v1/models/digits:rollback", None, 409, "no previous version"),
        ("PUT", "/v1/models/digits/rollout", {"candidate_percent": 101}, 400, "candidate_percent"),
        ("PUT", "/v1/models/digits/rollout", {"percent": 1}, 400, "percent"),
        ("GET", "/v1/models/letters/rollout", None, 404, "letters"),
        ("GET", "/v1/models/letters/audit", None, 404, "letters"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(
    unchanged: GatewayProcess, method: str, path: str, body: object, status: int, said: str
) -> None:
    answer = unchanged.ask(method, path, body)

    assert answer.status == status
    assert said in answer.json["error"]
    assert unchanged.ask("GET", "/v1/models/digits/audit").json["changes"] == []


def test_traffic_is_split_and_callers_stick(two_versions: GatewayProcess) -> None:
    two_versions.ask("PUT", "/v1/models/digits/rollout", {"candidate_percent": 50})

    met = [version_of(two_versions, **{"X-Tidemill-Sticky": f"user-{n}"}) for n in range(60)]
    again = [version_of(two_versions, **{"X-Tidemill-Sticky": f"user-{n}"}) for n in range(60)]

    assert met == again
    assert 10 < Counter(met)[2] < 50
    assert two_versions.ask("GET", "/v1/models/digits/rollout").json["candidate_percent"] == 50


def test_shadow_traffic_measures_the_candidate_and_answers_from_stable(two_versions: GatewayProcess) -> None:
    two_versions.ask("PUT", "/v1/models/digits/rollout", {"shadow_percent": 100})

    assert {version_of(two_versions) for _ in range(10)} == {1}

    compared = "tidemill_gateway_shadow_compared_total"
    wait_until(lambda: two_versions.metric(compared) == 10, "every request had its shadow")
    assert two_versions.metric("tidemill_gateway_shadow_difference_sum") == pytest.approx(10 * 1.0)
