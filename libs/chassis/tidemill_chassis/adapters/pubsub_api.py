"""Pub/Sub's calls on a channel of our own, with its errors in our classes.

The raw messages of google-cloud-pubsub are used without its client: 9 µs of CPU a message instead of 60 to
80, and under an emulator its client opens a channel that silently drops answers over 4 MB.

Set PUBSUB_EMULATOR_HOST to HOST:PORT of an emulator. Without it, Application Default Credentials must exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import google.auth
import google.auth.transport.grpc
import google.auth.transport.requests
import grpc
from google.auth.exceptions import GoogleAuthError
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types
from tidemill_contracts.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    Overloaded,
    TidemillError,
    Unavailable,
)

from tidemill_chassis import retry
from tidemill_chassis.settings import SettingsError

ENDPOINT = "pubsub.googleapis.com:443"
EMULATOR_VARIABLE = "PUBSUB_EMULATOR_HOST"
SCOPES = ("https://www.googleapis.com/auth/pubsub",)
CALL_TIMEOUT_S = 30.0
CALL_ATTEMPTS_MAX = 3
RETRY_FIRST_S = 0.1
RETRY_LIMIT_S = 2.0
OVERLOADED_RETRY_S = 5.0
CHANNEL_OPTIONS = (
    # An answer is as large as the messages asked for; a limit here would make it fail for ever.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
_BLIPS = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}


@dataclass(frozen=True)
class Rpc:
    """One method. routed_by: the request's field that names what it is about."""

    path: str
    request: Any
    response: Any
    routed_by: str


def _rpc(method: str, request: Any, response: Any, routed_by: str) -> Rpc:
    found = response.pb() if hasattr(response, "pb") else response
    return Rpc(f"/google.pubsub.v1.{method}", request.pb(), found, routed_by)


PUBLISH = _rpc("Publisher/Publish", types.PublishRequest, types.PublishResponse, "topic")
PULL = _rpc("Subscriber/Pull", types.PullRequest, types.PullResponse, "subscription")
STREAMING_PULL = _rpc(
    "Subscriber/StreamingPull", types.StreamingPullRequest, types.StreamingPullResponse, "subscription"
)
ACKNOWLEDGE = _rpc("Subscriber/Acknowledge", types.AcknowledgeRequest, Empty, "subscription")
MODIFY_DEADLINE = _rpc("Subscriber/ModifyAckDeadline", types.ModifyAckDeadlineRequest, Empty, "subscription")
SEEK = _rpc("Subscriber/Seek", types.SeekRequest, types.SeekResponse, "subscription")
LIST_TOPICS = _rpc("Publisher/ListTopics", types.ListTopicsRequest, types.ListTopicsResponse, "project")
GET_TOPIC = _rpc("Publisher/GetTopic", types.GetTopicRequest, types.Topic, "topic")
CREATE_TOPIC = _rpc("Publisher/CreateTopic", types.Topic, types.Topic, "name")
UPDATE_TOPIC = _rpc("Publisher/UpdateTopic", types.UpdateTopicRequest, types.Topic, "topic.name")
GET_SUBSCRIPTION = _rpc(
    "Subscriber/GetSubscription", types.GetSubscriptionRequest, types.Subscription, "subscription"
)
CREATE_SUBSCRIPTION = _rpc("Subscriber/CreateSubscription", types.Subscription, types.Subscription, "name")
UPDATE_SUBSCRIPTION = _rpc(
    "Subscriber/UpdateSubscription", types.UpdateSubscriptionRequest, types.Subscription, "subscription.name"
)


class PubsubApi:
    """Calls by `Rpc`; safe to use from several threads. emulator: no service is behind it."""

    def __init__(self, channel: grpc.Channel, *, emulator: bool) -> None:
        self.emulator = emulator
        self._channel = channel
        self._methods: dict[str, Any] = {}

    @classmethod
    def connect(cls, environ: Mapping[str, str]) -> PubsubApi:
        """The emulator that the environment names, else the service. Connects at the first call, not here.

        Raises:
            SettingsError: there is no emulator and there are no credentials.
        """
        host = environ.get(EMULATOR_VARIABLE, "")
        if host:
            return cls(grpc.insecure_channel(host, options=CHANNEL_OPTIONS), emulator=True)
        try:
            credentials, _ = google.auth.default(scopes=SCOPES)
        except GoogleAuthError as error:
            raise SettingsError(
                f"no Google credentials: run `gcloud auth application-default login`, or set "
                f"{EMULATOR_VARIABLE}=127.0.0.1:8085 ({error})"
            ) from error
        channel = google.auth.transport.grpc.secure_authorized_channel(
            credentials, google.auth.transport.requests.Request(), ENDPOINT, options=CHANNEL_OPTIONS
        )
        return cls(channel, emulator=False)

    def call(self, rpc: Rpc, request: Any, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """The answer. Short interruptions are tried again, CALL_ATTEMPTS_MAX times in all.

        Raises:
            Unavailable: no answer; Overloaded: a quota is used up.
            NotFound, Conflict: what the request names is not there, or is there already.
            InvalidInput: Pub/Sub takes no such request.
        """

        def attempt() -> Any:
            try:
                return self.once(rpc, request, timeout_s=timeout_s)
            except grpc.RpcError as error:
                raise explained(error) from error

        backoff = retry.Backoff(RETRY_FIRST_S, RETRY_LIMIT_S)
        return retry.call(attempt, on=(_Blip,), attempts_max=CALL_ATTEMPTS_MAX, backoff=backoff)

    def once(self, rpc: Rpc, request: Any, *, timeout_s: float) -> Any:
        """The answer, without a second try; raises grpc.RpcError."""
        return self._method(rpc)(request, timeout=timeout_s, metadata=_routing(rpc, request))

    def stream(self, rpc: Rpc, requests: Iterator[Any], *, about: str) -> Any:
        """Answers as they come, until the call is cancelled; the iterator raises grpc.RpcError.

        about: the name that the first request carries.
        """
        made = self._channel.stream_stream(
            rpc.path,
            request_serializer=rpc.request.SerializeToString,
            response_deserializer=rpc.response.FromString,
        )
        return made(requests, metadata=_routed(rpc, about))

    def _method(self, rpc: Rpc) -> Any:
        if rpc.path not in self._methods:
            self._methods[rpc.path] = self._channel.unary_unary(
                rpc.path,
                request_serializer=rpc.request.SerializeToString,
                response_deserializer=rpc.response.FromString,
            )
        return self._methods[rpc.path]

    def close(self) -> None:
        self._channel.close()


def _routing(rpc: Rpc, request: Any) -> tuple[tuple[str, str]]:
    """The header by which Google's front ends find the right region."""
    about = request
    for field in rpc.routed_by.split("."):
        about = getattr(about, field)
    return _routed(rpc, about)


def _routed(rpc: Rpc, about: str) -> tuple[tuple[str, str]]:
    return (("x-goog-request-params", f"{rpc.routed_by}={quote(about, safe='')}"),)


class _Blip(Unavailable):
    """Try again at once: a connection was lost, or a server of theirs failed."""


def explained(error: Any) -> TidemillError:
    """The error in our classes, with Pub/Sub's own words."""
    code, words = error.code(), str(error.details() or "")[:300]
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFound(f"Pub/Sub: {words}")
    if code is grpc.StatusCode.ALREADY_EXISTS:
        return Conflict(f"Pub/Sub: {words}")
    if code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}:
        return InvalidInput(f"Pub/Sub refused: {words}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(f"Pub/Sub takes no more for now: {words}", retry_after_s=OVERLOADED_RETRY_S)
    if code in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}:
        return Unavailable(
            f"Pub/Sub lets this account not in: {words}; it needs roles/pubsub.publisher, "
            f"roles/pubsub.subscriber and roles/pubsub.viewer"
        )
    said = f"Pub/Sub does not answer: {code.name if code else 'cancelled'} {words}"
    return _Blip(said) if code in _BLIPS else Unavailable(said)
