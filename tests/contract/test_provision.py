"""`tidemill provision` against the emulators: what it makes, what it mends, what it leaves alone."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from tidemill.commands.provision import provision
from tidemill.dead_letters import DeadLetters
from tidemill.provisioning import BACKOFF_S, FIELDS, LIFECYCLE, event_schemas
from tidemill_chassis.adapters.gcs_objects import CloudStore
from tidemill_chassis.adapters.pubsub_api import CHANNEL_OPTIONS, UPDATE_TOPIC, PubsubApi
from tidemill_chassis.adapters.pubsub_bus import PubsubBus
from tidemill_chassis.adapters.pubsub_names import PubsubNames
from tidemill_chassis.adapters.pubsub_resources import (
    RETENTION_S,
    SubscriptionSpec,
    TopicSpec,
    find_subscription,
    find_topic,
    make_subscription,
    make_topic,
    mend_subscription,
)
from tidemill_contracts.errors import Conflict, InvalidInput


@pytest.fixture
def run(
    pubsub_emulator: Any,
    storage_server: Any,
    pubsub_url: str,
    bucket_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """``run(*options)``: the command on an empty project and without a bucket."""
    for name, value in {**pubsub_emulator.environ, **storage_server.environ}.items():
        monkeypatch.setenv(name, value)

    def call(*options: str) -> Result:
        command = ["--bus", pubsub_url, "--store", bucket_url, "--location", "EU", *options]
        return CliRunner().invoke(provision, command)

    return call


def lines(result: Result) -> list[str]:
    assert result.exception is None, result.exception
    return [line for line in result.output.splitlines() if line[:2] in ("+ ", "~ ", "= ", "! ")]


def test_a_dry_run_says_what_is_missing_and_makes_nothing(run: Any) -> None:
    first, again = lines(run("--dry-run")), lines(run("--dry-run"))

    assert first == again
    assert all(line.startswith("+ would make") for line in first)
    assert any("tidemill.samples.dead" in line for line in first)
    assert any(line.startswith("+ would make: bucket") for line in first)


def test_what_is_missing_is_made_once(run: Any, pubsub_url: str, bucket_url: str) -> None:
    made, again = lines(run()), lines(run())

    assert all(line.startswith("+ made") for line in made)
    assert [line.partition(": ")[2].split(" in EU")[0] for line in again] == [
        line.partition(": ")[2].split(" in EU")[0] for line in made
    ]
    assert all(line.startswith("= as it must be") for line in again)


def test_every_subscription_that_anybody_asks_for_is_made(
    run: Any, pubsub_emulator: Any, pubsub_url: str
) -> None:
    run()
    channel = grpc.insecure_channel(pubsub_emulator.environ["PUBSUB_EMULATOR_HOST"], options=CHANNEL_OPTIONS)
    bus = PubsubBus(PubsubApi(channel, emulator=False), PubsubNames.from_url(pubsub_url))

    for topic, subscription in (("samples", "persistor"), ("batches", "trainer"), ("models", "serving")):
        bus.subscribe(topic, subscription)
        assert DeadLetters(bus, topic, pull_wait_s=0.1).list() == []
    bus.close()


def test_a_topic_that_keeps_its_messages_too_short_is_mended(
    run: Any, pubsub_emulator: Any, pubsub_url: str
) -> None:
    run()
    path, api = PubsubNames.from_url(pubsub_url).topic("samples"), PubsubApi.connect(pubsub_emulator.environ)
    request = UPDATE_TOPIC.request(update_mask={"paths": ["message_retention_duration"]})
    request.topic.name, request.topic.message_retention_duration.seconds = path, 3600
    api.call(UPDATE_TOPIC, request)

    changed = [line for line in lines(run()) if not line.startswith("=")]

    assert changed == [f"~ changed: topic {path}: message_retention_duration"]
    assert find_topic(api, path).message_retention_duration.seconds == RETENTION_S
    api.close()


def test_lifecycle_rules_are_added_and_the_owners_own_stay(
    run: Any, storage_server: Any, bucket_url: str
) -> None:
    run("--bus", "")
    store = CloudStore.from_url(bucket_url, storage_server.environ, make=False)
    own = {"action": {"type": "SetStorageClass", "storageClass": "NEARLINE"}, "condition": {"age": 90}}
    store._bucket.reload()
    store._bucket.lifecycle_rules = [own]
    store._bucket.patch()

    changed = [line for line in lines(run("--bus", "")) if not line.startswith("=")]

    assert [line.partition(":")[0] for line in changed] == ["+ made"]
    assert store.missing_rules([own, *LIFECYCLE]) == []


def test_the_schemas_of_all_events_lie_in_the_bucket(run: Any, storage_server: Any, bucket_url: str) -> None:
    run("--bus", "")
    store = CloudStore.from_url(bucket_url, storage_server.environ, make=False)
    old = "schemas/tidemill.batch.stored.v1.json"
    store.put(old, b"{}")

    changed = [line for line in lines(run("--bus", "")) if not line.startswith("=")]

    assert changed == [f"~ changed: schema {bucket_url}/{old}"]
    assert {info.name: store.get(info.name) for info in store.list("schemas/")} == dict(event_schemas())


def test_a_subscription_that_differs_is_changed(run: Any, pubsub_emulator: Any, pubsub_url: str) -> None:
    run()
    names, api = PubsubNames.from_url(pubsub_url), PubsubApi.connect(pubsub_emulator.environ)
    path = names.subscription("samples", "persistor")
    other = SubscriptionSpec(path, names.topic("samples"), names.dead_topic("samples"), 60, 5)
    mend_subscription(api, other, [name for name in FIELDS if name != "expiration_policy"])

    changed = [line for line in lines(run()) if not line.startswith("=")]

    assert len(changed) == 1
    assert changed[0].startswith(f"~ changed: subscription {path}: ack_deadline_seconds")
    assert find_subscription(api, path).dead_letter_policy.max_delivery_attempts == 100
    assert all(line.startswith("=") for line in lines(run()))
    api.close()


def test_what_cannot_be_changed_is_an_error(run: Any, pubsub_emulator: Any, pubsub_url: str) -> None:
    from tidemill_chassis.adapters.pubsub_api import CREATE_SUBSCRIPTION, CREATE_TOPIC

    names, api = PubsubNames.from_url(pubsub_url), PubsubApi.connect(pubsub_emulator.environ)
    topic, path = names.topic("models"), names.subscription("models", "serving")
    api.call(CREATE_TOPIC, CREATE_TOPIC.request(name=topic))
    api.call(CREATE_SUBSCRIPTION, CREATE_SUBSCRIPTION.request(name=path, topic=topic))

    result = run()

    assert isinstance(result.exception, Conflict)
    assert f"! wrong: subscription {path}: enable_message_ordering cannot be changed" in result.output
    api.close()


def test_a_subscription_that_keeps_more_order_than_is_asked_for_stays(
    run: Any, pubsub_emulator: Any, pubsub_url: str
) -> None:
    names, api = PubsubNames.from_url(pubsub_url), PubsubApi.connect(pubsub_emulator.environ)
    topic, path = names.topic("samples"), names.subscription("samples", "persistor")
    make_topic(api, TopicSpec(topic))
    make_topic(api, TopicSpec(names.dead_topic("samples")))
    spec = SubscriptionSpec(path, topic, names.dead_topic("samples"), 30, 100, BACKOFF_S, ordered=True)
    make_subscription(api, spec)

    again = lines(run())

    assert f"= as it must be: subscription {path}" in again
    assert find_subscription(api, path).enable_message_ordering
    api.close()


def test_a_bucket_that_was_made_can_be_written(run: Any, storage_server: Any, bucket_url: str) -> None:
    run()

    store = CloudStore.from_url(bucket_url, storage_server.environ, make=False)

    assert store.put("a", b"1").size_bytes == 1


def test_addresses_outside_google_cloud_need_nothing() -> None:
    result = CliRunner().invoke(provision, ["--bus", "redis://127.0.0.1", "--store", "file:///tmp/x"])

    assert isinstance(result.exception, InvalidInput)


def test_tables_are_made_once_and_never_told_with_their_address(run: Any, tmp_path: Any) -> None:
    database = f"sqlite:///{tmp_path}/registry.db"

    dry, first, again = (run("--database", database, *options) for options in (["--dry-run"], [], []))

    assert "would make: tables of the registry" in dry.output
    assert "made: tables of the registry" in first.output
    assert "as it must be: tables of the registry" in again.output
    assert str(tmp_path) not in dry.output + first.output + again.output
