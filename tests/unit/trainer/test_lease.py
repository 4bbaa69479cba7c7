"""The lease: one trainer at a time."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from tidemill_contracts.errors import Conflict
from tidemill_registry.tables import leases
from tidemill_trainer.lease import LeaseKeeper


@pytest.fixture
def keepers(world: Any) -> Any:
    made = [LeaseKeeper(world.registry, "train/points", duration_s=600, clock=world.clock) for _ in range(2)]
    yield made
    for keeper in made:
        keeper.release()


def test_the_second_trainer_waits_until_the_first_lets_go(keepers: Any) -> None:
    first, second = keepers

    assert first.hold()
    assert not second.hold()
    first.release()
    assert second.hold()


def test_the_second_trainer_takes_over_from_one_that_died(world: Any, keepers: Any) -> None:
    first, second = keepers
    first.hold()

    world.pass_time(601)

    assert second.hold()


def test_what_a_late_trainer_writes_takes_no_effect(world: Any, keepers: Any) -> None:
    first, second = keepers
    first.hold()
    world.pass_time(601)
    second.hold()

    with pytest.raises(Conflict), first.write():
        pass


def test_a_lease_is_renewed_while_work_goes_on(world: Any) -> None:
    keeper = LeaseKeeper(world.registry, "train/other", duration_s=0.2, clock=world.clock)
    keeper.hold()
    world.pass_time(600)

    renewed = _wait_until_renewed(world, "train/other")

    keeper.release()
    assert renewed


def _wait_until_renewed(world: Any, name: str) -> bool:
    for _ in range(200):
        with world.registry.read() as sql:
            if sql.scalar(select(leases.c.expires_at).where(leases.c.name == name)) > world.now:
                return True
        world.stop.wait(0.02)
    return False
