"""A second start goes on with the champion, the pools and the history."""

from __future__ import annotations

from typing import Any

import pytest
from tidemill.sources.bundled_digits import read_bundled_digits


@pytest.mark.timeout(300)
def test_a_restart_continues_where_it_was(platform: Any) -> None:
    train, test = read_bundled_digits()
    platform.publish(train[:500])
    before = platform.settle(500)
    answer = platform.predict(test[0].image or b"").json()

    assert platform.stop().startswith("stopped; everything is kept")
    platform.start()
    platform.wait_for(lambda: platform.predict(test[0].image or b"").status_code == 200)
    after = platform.observe()

    assert after.rounds == before.rounds
    assert after.versions == before.versions
    assert after.pools == before.pools
    assert after.labels == before.labels
    assert platform.predict(test[0].image or b"").json() == answer

    platform.publish(train[:500])  # the same file again
    platform.publish(train[500:1000])
    later = platform.settle(1000)
    assert later.samples.train + later.samples.validation == 1000, "a file published twice adds nothing"
    assert later.rounds[-1].number == before.rounds[-1].number + 1
    assert later.rounds[-1].champion_version == before.labels.stable
