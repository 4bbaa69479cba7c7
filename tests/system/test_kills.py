"""Persistor and trainer are killed at random moments; every sample trains exactly once."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from tidemill.sources.bundled_digits import read_bundled_digits
from tidemill.sources.raw_sample import with_ids

SEED = 4
KILLS = 10
SAMPLES = 2400


@pytest.mark.timeout(300)
def test_every_confirmed_sample_is_in_the_training_set_exactly_once(platform: Any) -> None:
    train, _ = read_bundled_digits()
    published = train[:SAMPLES]
    chance = random.Random(SEED)
    publisher = threading.Thread(target=platform.publish, args=(published,), kwargs={"rate_per_s": 200})
    publisher.start()

    killed: Counter[str] = Counter()
    while sum(killed.values()) < KILLS or publisher.is_alive():
        time.sleep(chance.uniform(0.2, 2.0))
        victim = chance.choice(["tidemill-persistor", "tidemill-persistor", "tidemill-trainer"])
        if sum(killed.values()) < KILLS:
            killed[victim] += platform.kill(victim)
    publisher.join()
    platform.settle(SAMPLES)

    expected = {sample.id for _, sample in with_ids(published)}
    assert min(killed["tidemill-persistor"], killed["tidemill-trainer"]) > 0
    assert _ids(platform, "SELECT sample_id FROM samples WHERE dataset = 'digits'") == Counter(expected)
    used = _ids(platform, "SELECT sample_id FROM sample_uses WHERE model = 'digits'")
    assert used == Counter(expected)
    first_uses = _ids(
        platform,
        "SELECT sample_id FROM round_samples JOIN rounds ON rounds.id = round_samples.round_id "
        "WHERE rounds.kind = 'new' AND part IN ('train', 'validation')",
    )
    assert first_uses == Counter(expected), "a sample was new in two rounds, or in none"


def _ids(platform: Any, query: str) -> Counter[str]:
    engine = create_engine(platform.deployment.database_url)
    with engine.connect() as sql:
        found = Counter(str(row[0]) for row in sql.execute(text(query)))
    engine.dispose()
    return found
