"""Predictions through a gateway process, and the truth about who answered."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from tests.emulators.gateway_process import GatewayProcess, image, wait_until
from tests.emulators.small_serving import SmallServing, State


def test_a_prediction_names_model_version_label_and_batch(shared_gateway: GatewayProcess) -> None:
    answer = shared_gateway.predict({"instances": [image(3.0), image(4.5)]})

    assert answer.status == 200
    assert [row[:2] for row in answer.json["predictions"]] == [[1.0, 3.0], [1.0, 4.5]]
    assert answer.headers["x-tidemill-model"] == "digits"
    assert answer.headers["x-tidemill-model-version"] == "1"
    assert answer.headers["x-tidemill-model-label"] == "stable"
    assert answer.headers["x-tidemill-batch-rows"] == "2"
    assert float(answer.headers["x-tidemill-queue-ms"]) >= 0
    assert float(answer.headers["x-tidemill-compute-ms"]) > 0


def test_bytes_go_through_a_signature_of_their_own(shared_gateway: GatewayProcess) -> None:
    encoded = base64.b64encode(b"\x89PNG....").decode()

    answer = shared_gateway.predict({"signature_name": "encoded", "instances": [{"b64": encoded}]})

    assert answer.json["predictions"][0][:2] == [1.0, 8.0]


def test_more_rows_than_a_batch_holds_are_split_and_joined(
    gateway: GatewayProcess, serving: SmallServing
) -> None:
    answer = gateway.predict({"instances": [image(float(row)) for row in range(300)]})

    assert [row[1] for row in answer.json["predictions"]] == [float(row) for row in range(300)]
    assert sorted(serving.batches) == [44, 128, 128]


def test_callers_at_the_same_time_share_batches(gateway: GatewayProcess, serving: SmallServing) -> None:
    serving.gate.clear()
    with ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(gateway.predict, {"instances": [image(float(n))]}) for n in range(24)]
        wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 24, "all callers wait")
        serving.gate.set()

        for number, answer in enumerate(answers):
            assert answer.result().json["predictions"][0][1] == float(number)
    assert len(serving.batches) <= 4


def test_one_bad_row_fails_only_its_own_request(gateway: GatewayProcess, serving: SmallServing) -> None:
    values = [float(n) for n in range(20)]
    values[7] = serving.poison
    serving.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(gateway.predict, {"instances": [image(value)]}) for value in values]
        wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 20, "all callers wait")
        serving.gate.set()

        statuses = [answer.result().status for answer in answers]

    assert statuses == [400 if value == serving.poison else 200 for value in values]


def test_who_sends_bad_rows_again_makes_nobody_wait_again(
    gateway: GatewayProcess, serving: SmallServing
) -> None:
    bad = json.dumps({"instances": [image(serving.poison)]})
    rude = gateway.connect()

    def send_bad() -> int:
        rude.request("POST", "/v1/models/digits:predict", bad)
        response = rude.getresponse()
        response.read()
        return response.status

    assert send_bad() == 400
    calls = len(serving.headers)
    serving.gate.clear()
    with ThreadPoolExecutor(21) as pool:
        again = pool.submit(send_bad)
        answers = [pool.submit(gateway.predict, {"instances": [image(float(n))]}) for n in range(20)]
        wait_until(lambda: gateway.metric("tidemill_gateway_waiting_rows") == 21, "all callers wait")
        serving.gate.set()
        assert {answer.result().status for answer in answers} == {200}
        assert again.result() == 400

    # Two batches were out while the rest gathered; the bad row travelled alone, and nothing was run twice.
    assert len(serving.headers) - calls <= 4
    rude.close()


def test_a_version_and_a_label_can_be_asked_for(
    gateway: GatewayProcess, serving: SmallServing, set_labels: Callable[..., None]
) -> None:
    serving.models["digits"][2] = State.AVAILABLE
    set_labels(stable=1, candidate=2)

    def by(path: str) -> tuple[str | None, str | None]:
        headers = gateway.predict({"instances": [image(1)]}, path=f"/v1/models/digits{path}").headers
        return headers.get("x-tidemill-model-version"), headers.get("x-tidemill-model-label")

    wait_until(lambda: by("/labels/candidate") == ("2", "candidate"), "the label is seen")
    assert by("/versions/2") == ("2", "candidate")
    assert by("/versions/1") == ("1", "stable")
    assert by("/labels/stable") == ("1", "stable")
    assert by("") == ("1", "stable")


def is_stable(gateway: GatewayProcess, version: int) -> bool:
    return gateway.stable_version() == version


def test_versions_roll_out_under_load_without_one_failed_request(
    gateway: GatewayProcess, serving: SmallServing, set_labels: Callable[..., None]
) -> None:
    done = Event()

    def keep_asking() -> list[int]:
        seen: list[int] = []
        while not done.is_set():
            answer = gateway.predict({"instances": [image(1)]})
            assert answer.status == 200, answer.body
            version = int(answer.headers["x-tidemill-model-version"])
            assert answer.json["predictions"][0][0] == version
            seen.append(version)
        return seen

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(keep_asking) for _ in range(8)]
        for version in (2, 3, 4):
            serving.models["digits"] = {version - 1: State.AVAILABLE, version: State.LOADING}
            set_labels(stable=version, previous=version - 1)
            serving.models["digits"] = {version - 1: State.AVAILABLE, version: State.AVAILABLE}
            wait_until(partial(is_stable, gateway, version), "the version is stable")
            # The old one is unloaded while requests are on their way to it.
            serving.models["digits"] = {version: State.AVAILABLE}
        wait_until(lambda: gateway.stable_version() == 4, "the last version is stable")
        done.set()
        seen = {version for client in clients for version in client.result()}

    assert seen == {1, 2, 3, 4}


def test_a_version_unloaded_between_two_looks_is_replaced_unseen(
    gateway: GatewayProcess, serving: SmallServing
) -> None:
    gateway.predict({"instances": [image(1)]})
    serving.models["digits"] = {2: State.AVAILABLE}

    answer = gateway.predict({"instances": [image(1)]})

    assert (answer.status, answer.headers["x-tidemill-model-version"]) == (200, "2")


def test_a_deadline_of_the_client_is_kept(gateway: GatewayProcess, serving: SmallServing) -> None:
    serving.gate.clear()

    answer = gateway.predict({"instances": [image(1)]}, **{"X-Request-Timeout": "0.2"})

    assert answer.status == 504


def test_serving_may_stop_and_come_back(gateway: GatewayProcess, serving: SmallServing) -> None:
    serving.stop()

    answer = gateway.predict({"instances": [image(1)]})

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    wait_until(lambda: gateway.ask("GET", "/readyz").status == 503, "the gateway knows that serving is gone")
    serving.start(serving.address)
    wait_until(gateway.is_ready, "the gateway is ready again")
    assert gateway.predict({"instances": [image(1)]}).status == 200
