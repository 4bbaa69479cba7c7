"""A pushed message is answered 2xx only after its effect is durable."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tidemill_chassis.push import PushSubscription, parse_push, receive_with
from tidemill_chassis.push_access import Refused
from tidemill_chassis.push_server import BODY_BYTES_MAX, PushServer
from tidemill_chassis.settings import Address
from tidemill_contracts.bus import DEAD_REASON, DEAD_SUBSCRIPTION, Backlog, Delivery
from tidemill_contracts.errors import InvalidInput, Malformed, Overloaded, Unavailable
from tidemill_contracts.memory_bus import MemoryBus

Body = Callable[..., bytes]
WAIT_S = 10.0


def test_a_push_request_is_a_delivery(push_body: Body) -> None:
    delivery = parse_push(push_body(orderingKey="k"))

    assert delivery.message.data == b'{"a": 1}'
    assert delivery.message.attributes == {"ce-type": "x"}
    assert (delivery.message_id, delivery.message.ordering_key, delivery.attempt) == ("1", "k", 1)
    assert delivery.publish_time.isoformat() == "2026-05-04T12:30:00.500000+00:00"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"message": {}}', b"\xff", b'{"message": {"data": "x", "messageId": "1"}}']
)
def test_what_is_no_push_request_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed, match="wrapped"):
        parse_push(body)


def test_data_that_is_not_base64_is_refused(push_body: Body) -> None:
    with pytest.raises(Malformed):
        parse_push(push_body("not base64!"))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def pulled(subscription: PushSubscription, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    while len(found) < count:
        more = subscription.pull(10, WAIT_S)
        assert more, f"only {len(found)} of {count} came"
        found += more
    return found


def test_a_request_returns_only_after_its_message_is_acknowledged(
    pool: ThreadPoolExecutor, push_body: Body
) -> None:
    subscription = PushSubscription(MemoryBus(), "samples", "persistor")
    requests = [pool.submit(subscription.receive, parse_push(push_body(messageId=str(n)))) for n in range(3)]
    deliveries = pulled(subscription, 3)
    assert not any(request.done() for request in requests)
    assert subscription.backlog() == Backlog(waiting=0, leased=3)

    subscription.acknowledge([delivery.ack_id for delivery in deliveries])

    for request in requests:
        request.result(WAIT_S)
    assert subscription.backlog() == Backlog(waiting=0, leased=0)


def test_a_message_that_is_given_back_must_come_again(pool: ThreadPoolExecutor, push_body: Body) -> None:
    subscription = PushSubscription(MemoryBus(), "samples", "persistor")
    request = pool.submit(subscription.receive, parse_push(push_body()))
    (delivery,) = pulled(subscription, 1)

    subscription.give_back([delivery.ack_id])

    with pytest.raises(Unavailable):
        request.result(WAIT_S)


def test_a_message_that_nobody_settles_in_time_must_come_again(push_body: Body) -> None:
    subscription = PushSubscription(MemoryBus(), "samples", "persistor", wait_s_max=0.01)

    with pytest.raises(Unavailable):
        subscription.receive(parse_push(push_body()))

    assert subscription.pull(1, 0) == []
    assert subscription.backlog() == Backlog(waiting=0, leased=0)


def test_more_requests_than_may_wait_are_told_to_come_later(
    pool: ThreadPoolExecutor, push_body: Body
) -> None:
    subscription = PushSubscription(MemoryBus(), "samples", "persistor", waiting_max=1)
    first = pool.submit(subscription.receive, parse_push(push_body()))
    (delivery,) = pulled(subscription, 1)

    with pytest.raises(Overloaded):
        subscription.receive(parse_push(push_body()))

    subscription.acknowledge([delivery.ack_id])
    first.result(WAIT_S)


def test_who_waits_when_the_instance_stops_must_come_again(pool: ThreadPoolExecutor, push_body: Body) -> None:
    subscription = PushSubscription(MemoryBus(), "samples", "persistor")
    request = pool.submit(subscription.receive, parse_push(push_body()))
    pulled(subscription, 1)

    subscription.close()

    with pytest.raises(Unavailable):
        request.result(WAIT_S)
    with pytest.raises(Unavailable, match="stopping"):
        subscription.receive(parse_push(push_body()))


def test_a_message_that_no_one_can_read_is_put_aside_and_not_sent_again(push_body: Body) -> None:
    bus = MemoryBus()

    def refuse(_: Delivery) -> None:
        raise InvalidInput("é" * 2000)

    many = {f"a{n}": "x" for n in range(100)}
    receive_with(refuse, bus, "batches", "trainer")(parse_push(push_body(attributes=many)))

    (letter,) = bus.published("batches.dead")
    assert letter.attributes[DEAD_SUBSCRIPTION] == "trainer"
    assert len(letter.attributes) == 100
    assert 0 < len(letter.attributes[DEAD_REASON].encode()) <= 1024


def test_while_a_dead_letter_cannot_be_published_its_message_comes_again(push_body: Body) -> None:
    bus = MemoryBus()
    bus.failing = True

    def refuse(_: Delivery) -> None:
        raise InvalidInput("no")

    with pytest.raises(Unavailable):
        receive_with(refuse, bus, "batches", "trainer")(parse_push(push_body()))


class Door:
    """A push server whose answers are set, and what came through."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.kept: list[Delivery] = []
        self.server = PushServer(
            Address("127.0.0.1", 0), lambda: None, receive=self.receive, verify=self.verify, connections_max=4
        )
        self.url = f"http://127.0.0.1:{self.server.port}"

    def receive(self, delivery: Delivery) -> None:
        """Keep it, or raise what was set."""
        if self.error is not None:
            raise self.error
        self.kept.append(delivery)

    def verify(self, token: str) -> None:
        if token != "right":
            raise Refused("the token is expired")

    def push(self, body: bytes, letter: str | None = "Bearer right", path: str = "/push") -> httpx.Response:
        headers = {} if letter is None else {"Authorization": letter}
        return httpx.post(self.url + path, content=body, headers=headers, timeout=WAIT_S)


@pytest.fixture(scope="module")
def standing_door() -> Iterator[Door]:
    made = Door()
    with made.server:
        yield made


@pytest.fixture
def door(standing_door: Door) -> Door:
    standing_door.error = None
    standing_door.kept.clear()
    return standing_door


def test_a_message_that_was_kept_is_answered_204(door: Door, push_body: Body) -> None:
    assert door.push(push_body()).status_code == 204
    assert [delivery.message_id for delivery in door.kept] == ["1"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unavailable("later"), 503), (Overloaded("full"), 429), (RuntimeError("secret"), 500)],
)
def test_a_message_that_was_not_kept_is_answered_so_that_it_comes_again(
    door: Door, push_body: Body, error: Exception, status: int
) -> None:
    door.error = error

    answer = door.push(push_body())

    assert answer.status_code == status
    assert "secret" not in answer.text


@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", "Basic right", "right"])
def test_without_the_right_token_nothing_is_read(door: Door, push_body: Body, token: str | None) -> None:
    answer = door.push(push_body(), token)

    assert answer.status_code == 401
    assert door.kept == []


def test_a_body_that_is_no_push_request_is_answered_400(door: Door) -> None:
    assert door.push(b"{}").status_code == 400


def test_other_paths_and_sizes_are_refused(door: Door, push_body: Body) -> None:
    assert door.push(push_body(), path="/").status_code == 404
    assert answer_to(door, f"POST /push HTTP/1.1\r\nContent-Length: {BODY_BYTES_MAX + 1}") == b"413"
    assert answer_to(door, "POST /push HTTP/1.1\r\nContent-Length: -1") == b"411"
    assert answer_to(door, "POST /push HTTP/1.1\r\nTransfer-Encoding: chunked") == b"411"


def answer_to(door: Door, head: str) -> bytes:
    """The status that a request's head alone is answered with."""
    with socket.create_connection(("127.0.0.1", door.server.port), timeout=WAIT_S) as connection:
        connection.sendall(f"{head}\r\nHost: x\r\n\r\n".encode())
        return connection.recv(100).split()[1]


def test_health_answers_beside_it_without_a_token(door: Door) -> None:
    assert httpx.get(door.url + "/readyz").status_code == 200


def test_one_connection_carries_many_messages(door: Door, push_body: Body) -> None:
    with httpx.Client(headers={"Authorization": "Bearer right"}) as client:
        statuses = [client.post(door.url + "/push", content=push_body()).status_code for _ in range(5)]

    assert statuses == [204] * 5


def test_more_connections_than_may_be_open_are_closed() -> None:
    door = Door()  # of its own: others' connections may still be ending at the common one
    address = ("127.0.0.1", door.server.port)
    with door.server:
        held = [socket.create_connection(address) for _ in range(4)]
        try:
            with socket.create_connection(address, timeout=WAIT_S) as one_more:
                assert one_more.recv(1) == b""
        finally:
            for each in held:
                each.close()
