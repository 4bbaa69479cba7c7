"""What a platform needs in Google Cloud: each thing looked at, and made or changed where it lacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill_chassis.settings import SettingsError
from tidemill_contracts.bus import DEAD_SUFFIX
from tidemill_contracts.topics import Topic

if TYPE_CHECKING:
    from tidemill_chassis.adapters.pubsub_api import PubsubApi
    from tidemill_chassis.adapters.pubsub_resources import SubscriptionSpec

ACK_DEADLINE_S = 30
"""What every service asks for unless told otherwise; another deadline costs it one call a pull."""
ATTEMPTS_MAX = 100
"""The most: services put messages aside earlier, with the reason."""
BACKOFF_S = (1, 60)
FIELDS = ("ack_deadline_seconds", "dead_letter_policy", "retry_policy", "expiration_policy")
FOR_EVER = ("topic", "enable_message_ordering")
"""What Pub/Sub never changes on a subscription."""


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
        yield bucket_step(store, location)


def pubsub_steps(
    url: str, topics: Mapping[str, Topic], environ: Mapping[str, str] = os.environ
) -> Iterator[Step]:
    """Topics, their dead-letter topics, and the subscriptions of their consumers; raises as `cloud_steps`."""
    from tidemill_chassis.adapters.pubsub_api import PubsubApi
    from tidemill_chassis.adapters.pubsub_names import PubsubNames
    from tidemill_chassis.adapters.pubsub_resources import SubscriptionSpec

    names, api = PubsubNames.from_url(url), PubsubApi.connect(environ)
    try:
        for topic, known in topics.items():
            yield _topic_step(api, names.topic(topic))
            if known.consumers:
                yield _topic_step(api, names.topic(topic + DEAD_SUFFIX))
            for consumer in known.consumers:
                spec = SubscriptionSpec(
                    path=names.subscription(topic, consumer),
                    topic=names.topic(topic),
                    dead_topic=names.dead_topic(topic),
                    ack_deadline_s=ACK_DEADLINE_S,
                    attempts_max=ATTEMPTS_MAX,
                    backoff_s=BACKOFF_S,
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
    wrong = [name for name in FOR_EVER if getattr(found, name) != getattr(wanted, name)]
    if wrong:
        return Step(
            f"{what}: {', '.join(wrong)} cannot be changed; delete it once it is drained", "refuse", None
        )
    fields = [name for name in FIELDS if getattr(found, name) != getattr(wanted, name)]
    if fields:
        return Step(f"{what}: {', '.join(fields)}", "change", lambda: mend_subscription(api, spec, fields))
    return Step(what, "keep", None)


def bucket_step(url: str, location: str, environ: Mapping[str, str] = os.environ) -> Step:
    """The bucket; raises as `cloud_steps`."""
    from tidemill_chassis.adapters.gcs_objects import CloudStore

    store: Any = CloudStore.from_url(url, environ, make=False)
    if store.has_bucket():
        return Step(f"bucket {url}", "keep", None)
    if not location:
        raise SettingsError(f"where shall {url} be made? type --location europe-west3")
    return Step(f"bucket {url} in {location}", "make", lambda: store.ensure_bucket(location))
