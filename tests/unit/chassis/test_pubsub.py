"""Names, requests and letters of the Pub/Sub adapter, without a server."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tidemill_chassis.adapters.pubsub_messages import (
    PUBLISH_BYTES_MAX,
    PUBLISH_MESSAGES_MAX,
    deliveries_of,
    id_portions,
    portions,
    wire_message,
)
from tidemill_chassis.adapters.pubsub_names import PubsubNames
from tidemill_chassis.settings import SettingsError
from tidemill_contracts.bus import DEAD_ATTEMPTS, DEAD_REASON, DEAD_SUBSCRIPTION, Message
from tidemill_contracts.errors import InvalidInput


def test_names_hold_project_prefix_topic_and_subscription() -> None:
    names = PubsubNames.from_url("pubsub://my-project/prod")

    assert names.topic("samples") == "projects/my-project/topics/prod.samples"
    assert names.dead_topic("samples") == "projects/my-project/topics/prod.samples.dead"
    assert names.dead_topic("samples.dead") == names.dead_topic("samples")
    assert names.subscription("samples", "persistor").endswith("/subscriptions/prod.samples.persistor")


@pytest.mark.parametrize(
    ("url", "streaming"),
    [("pubsub://p", False), ("pubsub://p/prod?pull=unary", False), ("pubsub://p/prod?pull=streaming", True)],
)
def test_the_address_says_how_messages_come(url: str, streaming: bool) -> None:
    assert PubsubNames.from_url(url).streaming is streaming


@pytest.mark.parametrize(
    "url",
    ["pubsub://", "pubsub:///prefix", "pubsub://p/a/b", "pubsub://p?x=1", "pubsub://p?pull=fast"],
)
def test_an_address_without_a_project_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="pubsub://my-project"):
        PubsubNames.from_url(url)


@pytest.mark.parametrize("topic", ["with space", "a/b", "x" * 255])
def test_a_name_that_pubsub_does_not_take_is_refused(topic: str) -> None:
    with pytest.raises(InvalidInput):
        PubsubNames("project").topic(topic)


def test_a_request_holds_one_ordering_key_in_the_order_published() -> None:
    wired = [wire_message(Message(b"x", ordering_key=key)) for key in ("", "a", "", "b", "a")]

    assert list(portions(wired)) == [[0, 2], [1, 4], [3]]


def test_a_request_stays_within_the_limits_of_count_and_bytes() -> None:
    small = [wire_message(Message(b"x"))] * (PUBLISH_MESSAGES_MAX + 1)
    large = [wire_message(Message(b"x" * (PUBLISH_BYTES_MAX // 2)))] * 3

    assert [len(part) for part in portions(small)] == [PUBLISH_MESSAGES_MAX, 1]
    assert [len(part) for part in portions(large)] == [1, 1, 1]


def test_acknowledgements_are_cut_into_requests_that_pubsub_takes() -> None:
    ids = ["x" * 220] * 6000

    parts = list(id_portions(ids))

    assert sum(map(len, parts)) == 6000
    assert max(sum(map(len, part)) for part in parts) < 512 * 1024


def test_a_letter_that_pubsub_put_aside_says_why_as_ours_do() -> None:
    from google.pubsub_v1 import types

    attributes = {
        "CloudPubSubDeadLetterSourceDeliveryCount": "100",
        "CloudPubSubDeadLetterSourceSubscription": "tidemill.samples.persistor",
    }
    received = types.ReceivedMessage.pb()(ack_id="1", message={"data": b"x", "attributes": attributes})

    found = deliveries_of([received])[0].message.attributes

    assert found[DEAD_REASON] == "delivered 100 times without success"
    assert (found[DEAD_SUBSCRIPTION], found[DEAD_ATTEMPTS]) == ("persistor", "100")


def test_the_embedded_default_imports_nothing_of_googles() -> None:
    program = (
        "import sys; from tidemill_chassis.adapters import open_bus, open_store; open_bus('memory://');"
        "open_store('memory://'); print([name for name in sys.modules if name.split('.')[0] in"
        " {'google', 'grpc'}])"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"
