"""How many messages are asked for."""

from __future__ import annotations

from tidemill_persistor.intake import PULL_MESSAGES_MAX, PULLS_MAX, Intake

ROOM = (20_000, 32 * 2**20)


def test_at_first_messages_are_taken_for_large() -> None:
    assert Intake().messages_max(ROOM) == 32


def test_small_messages_are_soon_asked_for_by_the_hundred() -> None:
    intake = Intake()

    intake.saw(1500, messages=500)

    assert intake.messages_max(ROOM) == PULLS_MAX * PULL_MESSAGES_MAX


def test_one_large_message_makes_the_next_pull_small() -> None:
    intake = Intake()
    intake.saw(1500, messages=1000)

    intake.saw(8 * 2**20)

    assert intake.messages_max(ROOM) == 4


def test_at_least_one_message_is_asked_for() -> None:
    intake = Intake()
    intake.saw(100 * 2**20)

    assert intake.messages_max((5, 10)) == 1
