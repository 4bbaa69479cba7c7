"""Files that Cloud Storage announces are taken in like those that are found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tidemill_chassis.settings import SettingsError
from tidemill_contracts.announced_files import announced_file
from tidemill_contracts.bus import Delivery, Message
from tidemill_contracts.errors import InvalidInput, Unavailable
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.objects import ObjectInfo
from tidemill_contracts.samples import sample_id
from tidemill_ingest.announcements import Announcements
from tidemill_ingest.inbox import Inbox
from tidemill_ingest.settings import Settings

BUCKET = "our-bucket"
NAME = "inbox/digits/1/one.png"


def notification(info: ObjectInfo, bucket: str = BUCKET, **changes: str) -> Message:
    """As Google documents it: cloud.google.com/storage/docs/pubsub-notifications."""
    resource = {
        "kind": "storage#object",
        "id": f"{bucket}/{info.name}/{info.generation}",
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{bucket}/o/inbox%2Fdigits%2F1%2Fone.png",
        "name": info.name,
        "bucket": bucket,
        "generation": str(info.generation),
        "metageneration": "1",
        "contentType": "image/png",
        "timeCreated": "2026-05-04T12:00:00.000Z",
        "updated": "2026-05-04T12:00:00.000Z",
        "storageClass": "STANDARD",
        "size": str(info.size_bytes),
        "md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg==",
        "crc32c": "AAAAAA==",
        "etag": "CKih16GjycICEAE=",
    }
    attributes = {
        "notificationConfig": f"projects/_/buckets/{bucket}/notificationConfigs/1",
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "JSON_API_V1",
        "bucketId": bucket,
        "objectId": info.name,
        "objectGeneration": str(info.generation),
        "eventTime": "2026-05-04T12:00:00.000000Z",
    }
    return Message(json.dumps(resource, indent=2).encode(), {**attributes, **changes})


class Rig:
    """An inbox in a bucket, and who hears of files there."""

    def __init__(self, ingest: Any) -> None:
        self.ingest = ingest
        self.store = MemoryStore()
        inbox = Inbox(self.store, ingest.intake, settle_s=2.0, size_bytes_max=100_000, clock=lambda: 0.0)
        self.announcements = Announcements(inbox, BUCKET)

    def hear(self, message: Message) -> None:
        self.ingest.bus.publish("files", [message])
        subscription = self.ingest.bus.subscribe("files", "ingest")
        for delivery in subscription.pull(10, 0):
            self.announcements.handle(delivery)
            subscription.acknowledge([delivery.ack_id])

    def names(self) -> list[str]:
        return [info.name for info in self.store.list("")]


@pytest.fixture
def rig(ingest: Any) -> Rig:
    return Rig(ingest)


def test_an_announced_file_is_published_at_once_and_moved(rig: Rig, digit: bytes) -> None:
    info = rig.store.put(NAME, digit)

    rig.hear(notification(info))

    [sample] = rig.ingest.samples()
    assert (sample.id, sample.label) == (sample_id(digit, "inbox"), "1")
    assert rig.names() == ["inbox-done/digits/1/one.png"]


def test_the_same_announcement_again_adds_nothing(rig: Rig, digit: bytes) -> None:
    info = rig.store.put(NAME, digit)

    for _ in range(3):
        rig.hear(notification(info))

    assert len(rig.ingest.samples()) == 1


def test_a_file_that_was_replaced_waits_for_its_own_announcement(rig: Rig, digit: bytes) -> None:
    first = rig.store.put(NAME, digit[:50])
    second = rig.store.put(NAME, digit)

    rig.hear(notification(first))
    before = rig.names()
    rig.hear(notification(second))

    assert before == [NAME]
    assert [sample.content() for sample in rig.ingest.samples()] == [digit]


def test_a_refused_file_is_put_aside_with_the_reason(rig: Rig) -> None:
    rig.hear(notification(rig.store.put(NAME, b"only text")))

    assert rig.names() == ["inbox-refused/digits/1/one.png", "inbox-refused/digits/1/one.png.reason.txt"]


@pytest.mark.parametrize(
    "name", ["samples/digits/x.avro", "inbox/digits/1/.one.png", "inbox-done/digits/1/x"]
)
def test_what_is_no_file_of_the_inbox_is_left_alone(rig: Rig, digit: bytes, name: str) -> None:
    rig.hear(notification(rig.store.put(name, digit)))

    assert rig.names() == [name]


@pytest.mark.parametrize("kind", ["OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE"])
def test_other_news_of_an_object_is_none(rig: Rig, digit: bytes, kind: str) -> None:
    rig.hear(notification(rig.store.put(NAME, digit), eventType=kind))

    assert rig.names() == [NAME]


def test_while_the_bus_is_down_the_file_stays_and_its_announcement_takes_it_later(
    rig: Rig, digit: bytes
) -> None:
    message = notification(rig.store.put(NAME, digit))
    delivery = Delivery(message, "1", "1", datetime(2026, 5, 4, tzinfo=UTC), 1)
    rig.ingest.bus.failing = True
    with pytest.raises(Unavailable):
        rig.announcements.handle(delivery)
    rig.ingest.bus.failing = False
    before = rig.names()

    rig.announcements.handle(delivery)

    assert before == [NAME]
    assert len(rig.ingest.samples()) == 1


INFO = ObjectInfo(NAME, 10, 7)


@pytest.mark.parametrize(
    "wrong",
    [
        Message(b"{}"),
        notification(INFO, payloadFormat="NONE"),
        notification(INFO, objectId="inbox/digits/2/one.png"),
        Message(b"", notification(INFO).attributes),
        Message(b'{"bucket":"our-bucket","name":"x","size":"1"}', notification(INFO).attributes),
    ],
)
def test_what_is_no_announcement_is_refused_with_the_reason(wrong: Message) -> None:
    with pytest.raises(InvalidInput, match="notification"):
        announced_file(wrong)


def test_a_file_of_another_bucket_is_refused(rig: Rig, digit: bytes) -> None:
    with pytest.raises(InvalidInput, match="their-bucket"):
        rig.hear(notification(rig.store.put(NAME, digit), "their-bucket"))


def test_only_cloud_storage_announces() -> None:
    wanted = {"TIDEMILL_BUS": "memory://", "TIDEMILL_INGEST_INBOX_ANNOUNCED": "true"}
    with pytest.raises(SettingsError, match="TIDEMILL_INGEST_INBOX_POLL_S=1"):
        Settings.from_env({**wanted, "TIDEMILL_STORE": "file:///var/lib/tidemill/store"})

    found = Settings.from_env(
        {**wanted, "TIDEMILL_STORE": "gs://our-bucket", "TIDEMILL_INGEST_INBOX_POLL_S": "0"}
    )
    assert found.inbox is not None
    assert (found.inbox.announced, found.inbox.poll_s) == (True, 0.0)
