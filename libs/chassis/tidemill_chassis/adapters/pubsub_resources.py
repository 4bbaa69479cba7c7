"""The topics and subscriptions that a bus stands on: how each must be, and making it so."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tidemill_contracts.bus import DEAD_SUFFIX
from tidemill_contracts.errors import Conflict, NotFound

from tidemill_chassis.adapters.pubsub_api import (
    CREATE_SUBSCRIPTION,
    CREATE_TOPIC,
    GET_SUBSCRIPTION,
    GET_TOPIC,
    SEEK,
    UPDATE_SUBSCRIPTION,
    UPDATE_TOPIC,
    PubsubApi,
)

DAY_S = 86_400
RETENTION_S = 7 * DAY_S
DEAD_RETENTION_S = 31 * DAY_S
"""A topic keeps its messages so long, for subscriptions that are made later; 31 days is the most."""
DEADLINE_S_MIN, DEADLINE_S_MAX = 10, 600
ATTEMPTS_MIN, ATTEMPTS_MAX = 5, 100
ATTEMPTS_MARGIN = 5
"""Pub/Sub's own dead-lettering stands behind ours, which knows the reason: it acts so many attempts later."""


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it must be."""

    path: str

    @property
    def retention_s(self) -> int:
        return DEAD_RETENTION_S if self.path.endswith(DEAD_SUFFIX) else RETENTION_S


@dataclass(frozen=True)
class SubscriptionSpec:
    """A subscription as it must be.

    dead_topic: empty for the subscriptions of dead-letter topics: no letter dies twice.
    backoff_s: least and most seconds until a message that failed is delivered again; none: at once.
    retention_s: how long a message waits for its acknowledgement, at most 31 days.
    ordered: keep the order of ordering keys; Pub/Sub never changes that on a subscription.
    """

    path: str
    topic: str
    dead_topic: str
    ack_deadline_s: float
    attempts_max: int
    backoff_s: tuple[int, int] | None = None
    retention_s: int = RETENTION_S
    ordered: bool = True

    def wire(self) -> Any:
        """The subscription in Pub/Sub's form."""
        made = CREATE_SUBSCRIPTION.request(
            name=self.path,
            topic=self.topic,
            ack_deadline_seconds=_within(math.ceil(self.ack_deadline_s), DEADLINE_S_MIN, DEADLINE_S_MAX),
            enable_message_ordering=self.ordered,
        )
        made.message_retention_duration.seconds = self.retention_s
        made.expiration_policy.SetInParent()  # never, however long nobody pulls
        if self.dead_topic:
            made.dead_letter_policy.dead_letter_topic = self.dead_topic
            attempts = _within(self.attempts_max + ATTEMPTS_MARGIN, ATTEMPTS_MIN, ATTEMPTS_MAX)
            made.dead_letter_policy.max_delivery_attempts = attempts
        if self.backoff_s:
            made.retry_policy.minimum_backoff.seconds, made.retry_policy.maximum_backoff.seconds = (
                self.backoff_s
            )
        return made


def find_topic(api: PubsubApi, path: str) -> Any:
    """The topic as it is, None if there is none."""
    try:
        return api.call(GET_TOPIC, GET_TOPIC.request(topic=path))
    except NotFound:
        return None


def find_subscription(api: PubsubApi, path: str) -> Any:
    """The subscription as it is, None if there is none."""
    try:
        return api.call(GET_SUBSCRIPTION, GET_SUBSCRIPTION.request(subscription=path))
    except NotFound:
        return None


def make_topic(api: PubsubApi, spec: TopicSpec) -> None:
    request = CREATE_TOPIC.request(name=spec.path)
    request.message_retention_duration.seconds = spec.retention_s
    _create(api, CREATE_TOPIC, request)


def mend_topic(api: PubsubApi, spec: TopicSpec) -> None:
    request = UPDATE_TOPIC.request(update_mask={"paths": ["message_retention_duration"]})
    request.topic.name = spec.path
    request.topic.message_retention_duration.seconds = spec.retention_s
    api.call(UPDATE_TOPIC, request)


def make_subscription(api: PubsubApi, spec: SubscriptionSpec) -> None:
    """Make it, starting at the oldest message that the topic keeps. The emulator does so by itself."""
    _create(api, CREATE_SUBSCRIPTION, spec.wire())
    if not api.emulator:
        request = SEEK.request(subscription=spec.path)
        request.time.FromSeconds(int(time.time()) - TopicSpec(spec.topic).retention_s)
        api.call(SEEK, request)


def mend_subscription(api: PubsubApi, spec: SubscriptionSpec, fields: list[str]) -> None:
    request = UPDATE_SUBSCRIPTION.request(update_mask={"paths": fields})
    request.subscription.CopyFrom(spec.wire())
    api.call(UPDATE_SUBSCRIPTION, request)


def _create(api: PubsubApi, rpc: Any, request: Any) -> None:
    """Somebody else may make it at the same moment: as good."""
    with suppress(Conflict):
        api.call(rpc, request)


def _within(value: int, least: int, most: int) -> int:
    return max(least, min(most, value))
