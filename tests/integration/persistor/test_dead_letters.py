"""`tidemill dead` on a real broker: every letter is seen, again and again, until it is settled."""

from __future__ import annotations

from tidemill.dead_letters import DeadLetters
from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.bus import Backlog, Message

LETTERS = 1_200
DONE = Backlog(waiting=0, leased=0)


def test_more_letters_than_one_pull_brings_are_all_seen_sent_again_and_dropped(redis_url: str) -> None:
    bus = RedisBus.from_url(redis_url)
    bus.publish("samples", [Message(f"body {n}".encode(), {"n": str(n)}) for n in range(LETTERS)])
    reader = bus.subscribe("samples", "persistor")
    while deliveries := reader.pull(500, 0.05):
        for delivery in deliveries:
            reader.dead_letter(delivery, "unreadable")
    letters = DeadLetters(bus, "samples", pull_wait_s=0.05)

    first, second = letters.list(), letters.list()
    letters.retry([first[700].id])
    left = len(letters.list())
    letters.drop(None)

    assert [letter.attributes["n"] for letter in first] == [str(n) for n in range(LETTERS)]
    assert second == first
    assert left == LETTERS - 1
    assert letters.list() == []
    again = reader.pull(10, 0.05)
    assert [(each.message.data, each.message.attributes) for each in again] == [(b"body 700", {"n": "700"})]
    bus.close()
