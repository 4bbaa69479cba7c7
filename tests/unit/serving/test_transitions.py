"""Something always answers while versions change."""

from __future__ import annotations

import pytest
from tidemill_serving.engine.transitions import Load, Stage, Standing, Unload, next_action

NEW, BUSY, READY, FAILED = Stage.NEW, Stage.BUSY, Stage.READY, Stage.FAILED


@pytest.mark.parametrize(
    ("standings", "action"),
    [
        ([], None),
        ([(1, True, NEW)], Load(1)),
        ([(1, True, NEW), (2, True, NEW)], Load(2)),
        ([(1, True, READY), (2, True, NEW)], Load(2)),
        ([(1, False, READY), (2, True, NEW)], Load(2)),
        ([(1, False, READY), (2, True, BUSY)], None),
        ([(1, False, READY), (2, True, FAILED)], None),
        ([(1, False, READY), (2, True, READY)], Unload(1)),
        ([(1, False, READY)], Unload(1)),
        ([(1, False, READY), (2, False, READY), (3, True, NEW)], Unload(1)),
        ([(1, False, BUSY), (2, False, READY), (3, True, NEW)], Load(3)),
        ([(1, False, FAILED), (2, True, READY)], None),
    ],
)
def test_the_next_action_keeps_something_answering(standings, action):
    assert next_action([Standing(*each) for each in standings]) == action
