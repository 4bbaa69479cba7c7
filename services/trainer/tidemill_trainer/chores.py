"""What a trainer may be told to begin, where somebody else's schedule calls it."""

from __future__ import annotations

from typing import Literal, get_args

Chore = Literal["rounds", "retries", "tests"]
"""Rounds of new samples; retries of ignored ones; tests of the champion."""

CHORES: tuple[Chore, ...] = get_args(Chore)
ALL: frozenset[Chore] = frozenset(CHORES)
