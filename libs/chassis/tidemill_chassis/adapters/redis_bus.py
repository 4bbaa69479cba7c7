"""The bus port on Redis Streams; any Redis 6.2 or Valkey.

A topic is a stream, a subscription a consumer group, a lease an entry's idle time. The server must run with
`appendonly yes` to keep what it confirmed, and `maxmemory-policy noeviction` to refuse rather than forget.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from uuid import uuid4

import redis
from tidemill_contracts.bus import Message

from tidemill_chassis.adapters.redis_entries import fields_of, portions, raw_entries, stream_of, translated
from tidemill_chassis.adapters.redis_subscription import RedisSubscription

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 30.0


class RedisBus:
    """Made by `from_url`; safe to use from several threads."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._client.set_response_callback("XREADGROUP", raw_entries)
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._subscriptions: list[RedisSubscription] = []

    @classmethod
    def from_url(cls, url: str) -> RedisBus:
        """A bus on the server at ``redis://HOST:PORT/DB``. Connects at the first call, not here."""
        client = redis.Redis.from_url(
            url, protocol=2, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=ANSWER_TIMEOUT_S
        )
        return cls(client)

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        ids: list[str] = []
        with translated():
            for part in portions(messages):
                pipeline = self._client.pipeline(transaction=False)
                for message in part:
                    pipeline.xadd(stream_of(topic), fields_of(message))
                ids.extend(entry.decode() for entry in pipeline.execute())
        return ids

    def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline_s: float = 30.0,
        attempts_max: int = 5,
        ordered: bool = True,
    ) -> RedisSubscription:
        subscribed = RedisSubscription(
            self._client, topic, subscription, self._consumer, ack_deadline_s, attempts_max, ordered
        )
        subscribed.ensure_group()
        self._subscriptions.append(subscribed)
        return subscribed

    def ping(self) -> None:
        with translated():
            self._client.ping()

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.leave()
        self._client.close()
