"""Leases of what is in hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tidemill_contracts.bus import Message
from tidemill_persistor.leases import LeaseKeeper

MakeMessage = Callable[..., Message]


def test_what_is_in_hand_is_not_delivered_again_however_long_it_takes(
    rig: Any, make_message: MakeMessage
) -> None:
    rig.bus.publish("samples", [make_message("a")])
    rig.worker.turn()

    for _ in range(10):
        rig.clock.now_s += 20.0
        rig.leases.extend()

    assert rig.subscription.pull(10, wait_s=0) == []


def test_what_is_settled_is_let_go(rig: Any, make_message: MakeMessage) -> None:
    rig.bus.publish("samples", [make_message("a")])
    (delivery,) = rig.subscription.pull(1, wait_s=0)
    rig.leases.hold([delivery.ack_id])

    rig.leases.release([delivery.ack_id])
    rig.clock.now_s += 20.0
    rig.leases.extend()
    rig.clock.now_s += 11.0

    assert len(rig.subscription.pull(1, wait_s=0)) == 1


def test_a_bus_outage_does_not_end_the_keeping(rig: Any, make_message: MakeMessage) -> None:
    rig.bus.publish("samples", [make_message("a")])
    rig.worker.turn()
    rig.bus.failing = True
    rig.leases.extend()
    rig.bus.failing = False
    rig.clock.now_s += 20.0

    rig.leases.extend()
    rig.clock.now_s += 20.0

    assert rig.subscription.pull(1, wait_s=0) == []


def test_the_thread_extends_before_a_lease_runs_out() -> None:
    extended = threading.Event()

    class Watched:
        def extend(self, ack_ids: list[str]) -> None:
            assert ack_ids == ["a"]
            extended.set()

    with LeaseKeeper(Watched(), lease_s=0.03) as leases:  # type: ignore[arg-type]  # only extend is called
        leases.hold(["a"])

        assert extended.wait(5.0)
