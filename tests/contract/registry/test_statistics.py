"""Tables that have just grown are read with plans for their new size."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text
from tidemill_registry import Registry
from tidemill_registry.pools import count_pools, ignored_samples, rehearsable_samples
from tidemill_registry.records import PoolCounts, RoundRecord
from tidemill_registry.round_rows import open_round
from tidemill_registry.statistics import renew_statistics
from tidemill_registry.uses import settle_samples

AddSamples = Callable[..., list[str]]
MakeRound = Callable[..., RoundRecord]
OBJECTS, SAMPLES = 80, 50
STATEMENT_S_MAX = 30
"""Without statistics one such statement takes minutes; with them a tenth of a second."""


def limit_statements(sql: Connection) -> None:
    if sql.dialect.name == "postgresql":
        sql.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_S_MAX}s'"))


def test_pools_are_read_in_time_although_their_tables_were_just_filled(
    registry: Registry, add: AddSamples, make_round: MakeRound
) -> None:
    train = [each for number in range(OBJECTS) for each in add(SAMPLES, name=f"o{number:02d}")]
    round_ = make_round()

    with registry.write() as sql:
        renew_statistics(sql)
    with registry.write() as sql:
        limit_statements(sql)
        open_round(sql, round_, "digits", {"train": train})
        settle_samples(sql, round_, promoted=True, attempts_max=3)

    with registry.read() as sql:
        limit_statements(sql)
        assert rehearsable_samples(sql, "digits", "digits") == train
        assert ignored_samples(sql, "digits", "digits") == []
        assert count_pools(sql, "digits", "digits") == PoolCounts(used=OBJECTS * SAMPLES)


def test_the_planner_looks_again_only_at_what_grew(registry: Registry, add: AddSamples) -> None:
    with registry.write() as sql:
        postgres = sql.dialect.name == "postgresql"
        assert renew_statistics(sql) == []
    add(OBJECTS * SAMPLES, name="one")

    with registry.write() as sql:
        assert renew_statistics(sql) == (["samples"] if postgres else [])
        assert renew_statistics(sql) == []
