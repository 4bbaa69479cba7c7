"""Callers whose rows the model refused are kept apart, for a while, and only they."""

from __future__ import annotations

from tidemill_gateway.plane.suspects import SUSPECT_S, SUSPECTS_MAX, Suspects


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_only_who_was_noted_is_known_and_only_for_a_while() -> None:
    clock = Clock()
    suspects = Suspects(clock)

    suspects.note("10.0.0.1:4000")

    assert suspects.knows("10.0.0.1:4000")
    assert not suspects.knows("10.0.0.1:4001")
    clock.now_s += SUSPECT_S
    assert not suspects.knows("10.0.0.1:4000")


def test_who_goes_on_stays_known() -> None:
    clock = Clock()
    suspects = Suspects(clock)
    for _ in range(3):
        suspects.note("a")
        clock.now_s += SUSPECT_S * 0.9

    assert suspects.knows("a")


def test_callers_without_a_name_are_never_known() -> None:
    suspects = Suspects()
    suspects.note("")

    assert not suspects.knows("")


def test_their_number_is_bounded_and_the_oldest_are_trusted_again() -> None:
    suspects = Suspects()
    for number in range(SUSPECTS_MAX + 5):
        suspects.note(str(number))

    assert [suspects.knows(str(number)) for number in (0, 4, 5, SUSPECTS_MAX + 4)] == [
        False,
        False,
        True,
        True,
    ]
