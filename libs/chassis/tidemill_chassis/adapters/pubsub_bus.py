"""The bus port on Google Cloud Pub/Sub, the service or its emulator.

On the service topics and subscriptions must exist: `tidemill provision` makes them. Under the emulator, which
starts empty every time, they are made when they are first used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tidemill_contracts.bus import DEAD_SUFFIX, Message
from tidemill_contracts.errors import NotFound, Unavailable

from tidemill_chassis.adapters.pubsub_api import LIST_TOPICS, PUBLISH, PubsubApi
from tidemill_chassis.adapters.pubsub_messages import portions, wire_message
from tidemill_chassis.adapters.pubsub_names import PubsubNames
from tidemill_chassis.adapters.pubsub_pull import OutstandingPull
from tidemill_chassis.adapters.pubsub_resources import (
    SubscriptionSpec,
    TopicSpec,
    find_subscription,
    make_subscription,
    make_topic,
)
from tidemill_chassis.adapters.pubsub_stream import StreamingPull
from tidemill_chassis.adapters.pubsub_subscription import PubsubSubscription, whole_seconds

_REMEDY = "type `tidemill provision`"


class PubsubBus:
    """Made by `from_url`; safe to use from several threads."""

    def __init__(self, api: PubsubApi, names: PubsubNames) -> None:
        self._api = api
        self._names = names
        self._made: set[str] = set()
        self._subscriptions: list[PubsubSubscription] = []

    @classmethod
    def from_url(cls, url: str, environ: Mapping[str, str] = os.environ) -> PubsubBus:
        """A bus in the project of ``pubsub://PROJECT`` or ``pubsub://PROJECT/PREFIX``.

        ``?pull=streaming`` behind it: messages come by an open stream instead of being asked for.

        Raises:
            SettingsError: the address is wrong, or there are no credentials.
        """
        names = PubsubNames.from_url(url)
        return cls(PubsubApi.connect(environ), names)

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        wired = [wire_message(message) for message in messages]
        if not wired:
            return []
        path = self._names.topic(topic)
        if self._api.emulator:
            self._make_topic(path)
        ids = [""] * len(wired)
        for positions in portions(wired):
            request = PUBLISH.request(topic=path, messages=[wired[position] for position in positions])
            for position, ident in zip(positions, self._publish(request), strict=True):
                ids[position] = ident
        return ids

    def _publish(self, request: Any) -> Sequence[str]:
        try:
            found: Sequence[str] = self._api.call(PUBLISH, request).message_ids
        except NotFound as error:
            self._made.clear()  # an emulator that was started anew
            raise Unavailable(f"there is no topic {request.topic}: {_REMEDY}") from error
        return found

    def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline_s: float = 30.0,
        attempts_max: int = 5,
        ordered: bool = True,
    ) -> PubsubSubscription:
        """Join the subscription.

        Raises:
            NotFound: the service has no such subscription.
            Unavailable: Pub/Sub does not answer.
        """
        names = self._names
        spec = SubscriptionSpec(
            path=names.subscription(topic, subscription),
            topic=names.topic(topic),
            dead_topic="" if topic.endswith(DEAD_SUFFIX) else names.dead_topic(topic),
            ack_deadline_s=ack_deadline_s,
            attempts_max=attempts_max,
            ordered=ordered,
        )
        own_deadline_s = self._ensure(spec)
        pulling: OutstandingPull | StreamingPull = OutstandingPull(self._api, spec.path)
        if names.streaming:
            pulling = StreamingPull(self._api, spec.path, whole_seconds(ack_deadline_s))
            own_deadline_s = pulling.deadline_s
        made = PubsubSubscription(
            self._api,
            path=spec.path,
            name=subscription,
            dead_topic=names.dead_topic(topic),
            pulling=pulling,
            own_deadline_s=own_deadline_s,
            ack_deadline_s=ack_deadline_s,
            attempts_max=attempts_max if spec.dead_topic else _NEVER,
            make_anew=lambda: self._make_anew(spec),
        )
        self._subscriptions.append(made)
        return made

    def _ensure(self, spec: SubscriptionSpec) -> int:
        """The subscription's own deadline in seconds; under the emulator it is made if it is missing."""
        found = find_subscription(self._api, spec.path)
        if found is None and self._api.emulator:
            for path in filter(None, (spec.topic, spec.dead_topic)):
                self._make_topic(path)
            make_subscription(self._api, spec)
            found = spec.wire()
        if found is None:
            raise NotFound(f"there is no subscription {spec.path}: {_REMEDY}")
        return int(found.ack_deadline_seconds)

    def _make_anew(self, spec: SubscriptionSpec) -> None:
        self._made.clear()
        self._ensure(spec)

    def _make_topic(self, path: str) -> None:
        if path not in self._made:
            make_topic(self._api, TopicSpec(path))
            self._made.add(path)

    def ping(self) -> None:
        request = LIST_TOPICS.request(project=f"projects/{self._names.project}", page_size=1)
        self._api.call(LIST_TOPICS, request)

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        self._api.close()


_NEVER = 2**31
"""The subscription of a dead-letter topic puts nothing aside."""
