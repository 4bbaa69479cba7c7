"""When a batch is due, and what may be in hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidemill_contracts.bus import Delivery, Message
from tidemill_contracts.errors import InvalidInput
from tidemill_persistor.admission import Held, admit
from tidemill_persistor.batching import BatchLimits, Hand, HandLimits

MakeDelivery = Callable[..., Delivery]
LIMITS = BatchLimits(messages_max=3, size_bytes_max=10_000, age_s_max=1.0)
ROOM = HandLimits(messages_max=8, size_bytes_max=40_000)


def test_a_batch_is_due_when_it_has_enough_messages(make_delivery: MakeDelivery) -> None:
    hand = Hand(LIMITS, ROOM)

    for ident in "abc":
        hand.add(admit(make_delivery(ident)), now_s=0.0)

    batch = hand.due(now_s=0.0)
    assert batch is not None
    assert sorted(batch.ack_ids()) == ["a", "b", "c"]


def test_a_batch_is_due_when_it_has_enough_bytes(make_delivery: MakeDelivery) -> None:
    hand = Hand(LIMITS, ROOM)

    hand.add(admit(make_delivery("a", text="x" * 10_000)), now_s=0.0)

    assert hand.due(now_s=0.0) is not None


def test_a_batch_is_due_by_age_without_new_traffic(make_delivery: MakeDelivery) -> None:
    hand = Hand(LIMITS, ROOM)
    hand.add(admit(make_delivery("a")), now_s=5.0)

    assert hand.due(now_s=5.9) is None
    assert hand.due_in_s(now_s=5.75) == 0.25
    assert hand.due(now_s=6.0) is not None


def hour_of(make_delivery: MakeDelivery, told: str) -> datetime:
    """The hour of a message published on 4 May 2026 at 12:30 UTC whose envelope names another time."""
    delivery = make_delivery("a")
    return admit(
        delivery._replace(message=delivery.message._replace(attributes={"ce-time": told}))
    ).place.hour


@pytest.mark.parametrize(
    ("told", "hour"),
    [
        ("2026-05-03T09:59:59.5+00:00", "2026-05-03T09"),
        ("2026-05-03T09:59:59Z", "2026-05-03T09"),
        ("2026-05-03T01:10:00+05:30", "2026-05-02T19"),
        ("2026-05-03T01:10:00", "2026-05-03T01"),
        ("2026-05-04T13:05:00+00:00", "2026-05-04T13"),
        ("2026-05-04T14:05:00+00:00", "2026-05-04T12"),
        ("9999-12-31T23:59:59-12:00", "2026-05-04T12"),
        ("0001-01-01T00:00:00+14:00", "2026-05-04T12"),
        ("1969-12-31T23:59:59+00:00", "2026-05-04T12"),
    ],
)
def test_a_message_lies_in_the_hour_of_its_event_unless_that_cannot_be(
    make_delivery: MakeDelivery, told: str, hour: str
) -> None:
    assert hour_of(make_delivery, told) == datetime.fromisoformat(f"{hour}:00+00:00")


def test_a_time_that_is_none_is_refused(make_delivery: MakeDelivery) -> None:
    with pytest.raises(InvalidInput, match="ce-time"):
        hour_of(make_delivery, "yesterday")


def test_datasets_splits_and_hours_do_not_share_a_batch(make_delivery: MakeDelivery) -> None:
    hand = Hand(LIMITS, ROOM)
    noon = datetime(2026, 5, 4, 12, 59, tzinfo=UTC)

    hand.add(admit(make_delivery("a", at=noon)), 0.0)
    hand.add(admit(make_delivery("b", at=noon + timedelta(minutes=1))), 0.0)
    hand.add(admit(make_delivery("c", at=noon, split="test")), 0.0)
    hand.add(admit(make_delivery("d", at=noon, dataset="digits")), 0.0)

    assert [batch.ack_ids() for batch in hand.batches()] == [["a"], ["b"], ["c"], ["d"]]


def test_the_hour_is_that_of_utc(make_delivery: MakeDelivery) -> None:
    in_india = datetime(2026, 5, 4, 12, 15, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    held = admit(make_delivery("a", at=in_india))

    assert held.place.hour == datetime(2026, 5, 4, 6, tzinfo=UTC)


def test_a_message_that_would_overfill_a_batch_opens_the_next(make_delivery: MakeDelivery) -> None:
    hand = Hand(LIMITS, ROOM)

    hand.add(admit(make_delivery("a", text="x" * 5_000)), 0.0)
    hand.add(admit(make_delivery("b", text="x" * 5_000)), 0.0)

    assert [batch.ack_ids() for batch in hand.batches()] == [["a"], ["b"]]


def test_a_redelivery_of_what_is_in_hand_only_renews_the_delivery(make_delivery: MakeDelivery) -> None:
    hand = Hand(LIMITS, ROOM)
    first = make_delivery("a")
    again = Delivery(first.message, ack_id="a2", message_id="a", publish_time=first.publish_time, attempt=2)

    hand.add(admit(first), 0.0)
    hand.add(admit(again), 0.5)

    assert hand.message_count == 1
    assert [batch.ack_ids() for batch in hand.batches()] == [["a2"]]
    assert hand.due(now_s=1.0) is not None


def test_a_full_hand_gives_its_largest_batch_at_once(make_delivery: MakeDelivery) -> None:
    hand = Hand(LIMITS, HandLimits(messages_max=3, size_bytes_max=40_000))
    hand.add(admit(make_delivery("a", dataset="one")), 0.0)
    hand.add(admit(make_delivery("b", dataset="two", text="x" * 3000)), 0.0)
    hand.add(admit(make_delivery("c", dataset="three")), 0.0)

    batch = hand.due(now_s=0.0)

    assert hand.room() == (0, 0)
    assert batch is not None
    assert batch.place.dataset == "two"


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc"), st.integers(0, 6000)), max_size=60))
def test_no_message_is_lost_or_kept_twice_in_hand(arrivals: list[tuple[int, str, int]]) -> None:
    hand = Hand(LIMITS, ROOM)
    settled: list[str] = []

    for now_s, (number, dataset, size) in enumerate(arrivals):
        hand.add(held(f"{dataset}{number}", dataset, size), float(now_s) / 3)
        while (batch := hand.due(float(now_s) / 3)) is not None:
            assert len(batch.held) <= LIMITS.messages_max
            settled += batch.held
            hand.remove(batch)
    for batch in hand.batches():
        settled += batch.held
        hand.remove(batch)

    assert set(settled) == {f"{dataset}{number}" for number, dataset, _ in arrivals}
    assert (hand.message_count, hand.size_bytes, hand.batches()) == (0, 0, [])


def held(ident: str, dataset: str, size: int) -> Held:
    body = f'{{"dataset":"{dataset}","samples":[{{"label":"1","text":"{"x" * size}"}}]}}'.encode()
    at = datetime(2026, 5, 4, tzinfo=UTC)
    return admit(Delivery(Message(body), ack_id=ident, message_id=ident, publish_time=at, attempt=1))
