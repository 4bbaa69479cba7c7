"""The whole line in containers, spoken to only in protocols that others define."""

from __future__ import annotations

import json
import subprocess
import sys
from uuid import uuid4

import httpx
from google.cloud import pubsub_v1

from tests.containers.compose_project import wait_until
from tests.containers.outside import MODEL, PROJECT, Digit, Outside

KEPT_S_MAX = 60
ROUND_S_MAX = 300


def test_a_sample_posted_over_http_is_kept_unchanged_in_the_bucket(
    outside: Outside, digits: list[Digit]
) -> None:
    digit = digits[4000]

    (ident,) = outside.publish([{"label": digit.label, "image": digit.b64}])

    wait_until(lambda: ident in outside.kept(), KEPT_S_MAX, f"{ident} is kept")
    assert outside.kept()[ident]["image"] == digit.b64


def test_plain_json_published_by_googles_client_is_kept(outside: Outside, digits: list[Digit]) -> None:
    digit = digits[4001]
    sample = {"id": "plain-1", "label": digit.label, "image": digit.b64}
    publisher = pubsub_v1.PublisherClient()

    body = {"dataset": MODEL, "split": "train", "source": "stranger", "samples": [sample]}
    publisher.publish(publisher.topic_path(PROJECT, "tidemill.samples"), json.dumps(body).encode()).result(30)

    wait_until(lambda: "plain-1" in outside.kept(), KEPT_S_MAX, "the stranger's sample is kept")


def test_googles_client_hears_what_was_kept_in_which_object(outside: Outside, digits: list[Digit]) -> None:
    subscriber, publisher = pubsub_v1.SubscriberClient(), pubsub_v1.PublisherClient()
    path = subscriber.subscription_path(PROJECT, f"ring-listener-{uuid4().hex[:8]}")
    topic = publisher.topic_path(PROJECT, "tidemill.batches")
    subscriber.create_subscription(request={"name": path, "topic": topic})
    heard: list[dict[str, str]] = []

    def take(message: pubsub_v1.subscriber.message.Message) -> None:
        heard.append({**message.attributes, "body": message.data.decode()})
        message.ack()

    listening = subscriber.subscribe(path, callback=take)
    (ident,) = outside.publish([{"label": digits[4002].label, "image": digits[4002].b64}])

    wait_until(
        lambda: any("batch.stored" in one.get("ce-type", "") for one in heard), KEPT_S_MAX, "BatchStored"
    )
    listening.cancel()
    wait_until(lambda: ident in outside.kept(), KEPT_S_MAX, "kept")


def test_samples_become_a_version_that_serves(trained: Outside, digits: list[Digit]) -> None:
    accuracy = trained.accuracy(digits[4500:4700])

    assert accuracy > 0.5, "ten classes guessed would be 0.1"


def test_every_version_says_where_it_comes_from(trained: Outside) -> None:
    answer = httpx.get(f"{trained.gateway}/versions", timeout=15)

    stable = trained.labels()["stable"]
    assert any(version["version"] in (stable, str(stable)) for version in answer.json()["versions"])
    assert f"models/{MODEL}/{stable}/manifest.json" in trained.object_names(f"models/{MODEL}/")


def test_tensorflow_servings_own_client_gets_the_same_answer(trained: Outside, digits: list[Digit]) -> None:
    version, (wanted,) = trained.predict([digits[4500]])
    address = trained.project.port("gateway", 8502)

    done = subprocess.run(
        [sys.executable, "-m", "tests.containers.official_client", address, MODEL],
        input=digits[4500].png,
        capture_output=True,
        timeout=120,
        check=True,
    )

    answer = json.loads(done.stdout)
    if answer["version"] == version:
        assert answer["label"] == wanted["label"]
    assert answer["version"] >= version


def test_a_second_round_promotes_and_a_rollback_takes_it_back(trained: Outside, digits: list[Digit]) -> None:
    first = trained.labels()["stable"]
    start = 400
    for wave in range(6):
        for at in range(start, start + 500, 100):
            chosen = digits[at : at + 100]
            trained.publish([{"label": digit.label, "image": digit.b64} for digit in chosen])
        start += 500
        try:
            wait_until(lambda: trained.labels()["stable"] != first, ROUND_S_MAX / 5, "promoted")
            break
        except AssertionError:
            assert wave < 5, "no round of six was promoted"
    second = trained.labels()["stable"]
    wait_until(lambda: trained.predict([digits[0]])[0] == second, 30, f"version {second} answers")

    answer = httpx.post(f"{trained.gateway}:rollback", json={"reason": "the ring wants it"}, timeout=15)

    assert answer.status_code == 200, answer.text
    previous = trained.labels()["stable"]
    assert previous < second
    wait_until(lambda: trained.predict([digits[0]])[0] == previous, 30, f"version {previous} answers again")
