"""What a platform needs in Google Cloud: each thing looked at, and made or changed where it lacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tidemill_chassis.settings import SettingsError
from tidemill_contracts.announced_files import SUBSCRIPTION as FILES_READER
from tidemill_contracts.announced_files import TOPIC as FILES
from tidemill_contracts.bus import DEAD_READER, DEAD_SUFFIX
from tidemill_contracts.errors import NotFound
from tidemill_contracts.events import EVENTS
from tidemill_contracts.layout import INBOX, INBOX_DONE, SCHEMAS
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.topics import Topic

if TYPE_CHECKING:
    from tidemill_chassis.adapters.pubsub_api import PubsubApi
    from tidemill_chassis.adapters.pubsub_names import PubsubNames
    from tidemill_chassis.adapters.pubsub_resources import SubscriptionSpec

ACK_DEADLINE_S = 30
"""What every service asks for unless told otherwise; another deadline costs it one call a pull."""
ATTEMPTS_MAX = 100
"""The most: services put messages aside earlier, with the reason."""
BACKOFF_S = (1, 60)
DEAD_LEASE_S = 60
DAY_S = 86_400
DEAD_RETENTION_S = 31 * DAY_S
"""The longest that Pub/Sub holds a letter for `tidemill dead`."""
EMULATOR_RETENTION_S = 7 * DAY_S
"""The emulator's longest is still what the service's was until 2024."""
FIELDS = (
    "ack_deadline_seconds",
    "dead_letter_policy",
    "retry_policy",
    "expiration_policy",
    "message_retention_duration",
)
LIFECYCLE: tuple[Mapping[str, Any], ...] = (
    {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
    {"action": {"type": "Delete"}, "condition": {"age": 30, "matchesPrefix": [INBOX_DONE]}},
)
RULES_SAY = f"broken-off uploads go after 7 days, files in {INBOX_DONE} after 30"
"""Nothing else is ever deleted: what was in the inbox is kept among the samples."""


@dataclass(frozen=True)
class Step:
    """One thing. act: makes it as it must be; None when it is."""

    what: str
    verb: str
    act: Callable[[], object] | None


def cloud_steps(bus: str, store: str, topics: Mapping[str, Topic], *, location: str) -> Iterator[Step]:
    """Every thing that the addresses ask for, in the order to make it; looked at when its turn comes.

    Raises:
        SettingsError: an address is wrong, or its packages or credentials are missing.
        Unavailable: Google Cloud does not answer.
    """
    if bus.startswith("pubsub:"):
        yield from pubsub_steps(bus, topics)
    if store.startswith("gs:"):
        yield from bucket_steps(store, location)
    if bus.startswith("pubsub:") and store.startswith("gs:"):
        yield announcement_step(bus, store)


def database_step(url: str) -> Step:
    """The registry's tables. The address is not told: it may hold a password.

    Raises:
        Unavailable: the database does not answer.
        InvalidInput: the address is wrong.
    """
    from tidemill_registry.migration import is_migrated, migrate

    if is_migrated(url):
        return Step("tables of the registry", "keep", None)
    return Step("tables of the registry", "make", lambda: migrate(url))


def pubsub_steps(
    url: str, topics: Mapping[str, Topic], environ: Mapping[str, str] = os.environ
) -> Iterator[Step]:
    """Topics, their dead-letter topics, and the subscriptions of consumers and of `tidemill dead`.

    Raises as `cloud_steps` does.
    """
    from tidemill_chassis.adapters.pubsub_api import PubsubApi
    from tidemill_chassis.adapters.pubsub_names import PubsubNames
    from tidemill_chassis.adapters.pubsub_resources import SubscriptionSpec

    names, api = PubsubNames.from_url(url), PubsubApi.connect(environ)
    try:
        consumers = {topic: tuple(known.consumers) for topic, known in topics.items()}
        consumers[FILES] = (FILES_READER,)
        unordered = {(topic, one) for topic, known in topics.items() for one in known.unordered}
        for topic, readers in consumers.items():
            yield _topic_step(api, names.topic(topic))
            if readers:
                yield _topic_step(api, names.topic(topic + DEAD_SUFFIX))
                yield _subscription_step(api, _dead_reader(names, topic, emulator=api.emulator))
            for consumer in readers:
                spec = SubscriptionSpec(
                    path=names.subscription(topic, consumer),
                    topic=names.topic(topic),
                    dead_topic=names.dead_topic(topic),
                    ack_deadline_s=ACK_DEADLINE_S,
                    attempts_max=ATTEMPTS_MAX,
                    backoff_s=BACKOFF_S,
                    ordered=(topic, consumer) not in unordered,
                )
                yield _subscription_step(api, spec)
    finally:
        api.close()


def _topic_step(api: PubsubApi, path: str) -> Step:
    from tidemill_chassis.adapters.pubsub_resources import TopicSpec, find_topic, make_topic, mend_topic

    spec, found = TopicSpec(path), find_topic(api, path)
    if found is None:
        return Step(f"topic {path}", "make", lambda: make_topic(api, spec))
    if found.message_retention_duration.seconds != spec.retention_s:
        return Step(f"topic {path}: message_retention_duration", "change", lambda: mend_topic(api, spec))
    return Step(f"topic {path}", "keep", None)


def _subscription_step(api: PubsubApi, spec: SubscriptionSpec) -> Step:
    from tidemill_chassis.adapters.pubsub_resources import (
        find_subscription,
        make_subscription,
        mend_subscription,
    )

    what, wanted, found = f"subscription {spec.path}", spec.wire(), find_subscription(api, spec.path)
    if found is None:
        return Step(what, "make", lambda: make_subscription(api, spec))
    wrong = list(_wrong_for_ever(found, wanted))
    if wrong:
        return Step(
            f"{what}: {', '.join(wrong)} cannot be changed; delete it once it is drained", "refuse", None
        )
    fields = [name for name in FIELDS if getattr(found, name) != getattr(wanted, name)]
    if fields:
        return Step(f"{what}: {', '.join(fields)}", "change", lambda: mend_subscription(api, spec, fields))
    return Step(what, "keep", None)


def _wrong_for_ever(found: Any, wanted: Any) -> Iterator[str]:
    """What Pub/Sub never changes on a subscription. More order than is asked for is dearer, and not wrong."""
    if found.topic != wanted.topic:
        yield "topic"
    if wanted.enable_message_ordering and not found.enable_message_ordering:
        yield "enable_message_ordering"


def _dead_reader(names: PubsubNames, topic: str, *, emulator: bool) -> SubscriptionSpec:
    """Where `tidemill dead` looks: it must be there before the first letter, which would not wait for it."""
    from tidemill_chassis.adapters.pubsub_resources import SubscriptionSpec

    return SubscriptionSpec(
        path=names.subscription(topic + DEAD_SUFFIX, DEAD_READER),
        topic=names.dead_topic(topic),
        dead_topic="",
        ack_deadline_s=DEAD_LEASE_S,
        attempts_max=ATTEMPTS_MAX,
        retention_s=EMULATOR_RETENTION_S if emulator else DEAD_RETENTION_S,
    )


def announcement_step(bus: str, store: str, environ: Mapping[str, str] = os.environ) -> Step:
    """The bucket tells the topic `files` what is dropped into the inbox; raises as `cloud_steps`."""
    from tidemill_chassis.adapters.gcs_objects import CloudStore
    from tidemill_chassis.adapters.pubsub_names import PubsubNames

    bucket, topic = CloudStore.from_url(store, environ, make=False), PubsubNames.from_url(bus).topic(FILES)
    what = f"notification of {store} about {INBOX} to {topic}"
    if bucket.has_bucket() and bucket.announces(topic, INBOX):
        return Step(what, "keep", None)
    return Step(what, "make", partial(bucket.announce, topic, INBOX))


def bucket_steps(url: str, location: str, environ: Mapping[str, str] = os.environ) -> Iterator[Step]:
    """The bucket, how long it keeps what nobody needs, and the events' schemas; raises as `cloud_steps`."""
    from tidemill_chassis.adapters.gcs_objects import CloudStore

    store: Any = CloudStore.from_url(url, environ, make=False)
    there = store.has_bucket()
    if not there and not location:
        raise SettingsError(f"where shall {url} be made? type --location europe-west3")
    make = partial(store.ensure_bucket, location)
    yield Step(f"bucket {url}", "keep", None) if there else Step(f"bucket {url} in {location}", "make", make)
    # After a dry run the bucket is as missing as before: then everything in it is.
    there = there or store.has_bucket()
    missing = store.missing_rules(LIFECYCLE) if there else list(LIFECYCLE)
    yield Step(
        f"lifecycle of {url}: {RULES_SAY}",
        "make" if missing else "keep",
        partial(store.add_rules, missing) if missing else None,
    )
    for name, schema in event_schemas():
        verb = _compared(store, name, schema) if there else "make"
        yield Step(f"schema {url}/{name}", verb, None if verb == "keep" else partial(store.put, name, schema))


def event_schemas() -> Iterator[tuple[str, bytes]]:
    """Every event's JSON Schema with the name of its object: for readers in other languages."""
    for event in EVENTS:
        schema = files("tidemill_contracts").joinpath("schemas", f"{event.type}.json").read_bytes()
        yield f"{SCHEMAS}{event.type}.json", schema


def _compared(store: ObjectStore, name: str, wanted: bytes) -> str:
    try:
        return "keep" if store.get(name) == wanted else "change"
    except NotFound:
        return "make"
