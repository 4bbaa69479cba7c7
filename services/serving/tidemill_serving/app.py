"""Runs the agent's loops over given ports until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tidemill_chassis import worker as chassis_worker
from tidemill_chassis.lifecycle import Stop
from tidemill_chassis.retry import Backoff
from tidemill_contracts.bus import Subscription
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.events import ModelPublished
from tidemill_contracts.model_spec import ModelSpec

from tidemill_serving.handlers import ModelRollout
from tidemill_serving.ports import Ports
from tidemill_serving.quorum import Quorum
from tidemill_serving.worker import Listener, ModelLoop

SUBSCRIPTION = "serving"
END_S_MAX = 30.0
"""How long a step under way may take to end after the stop."""


def make_loops(
    ports: Ports,
    specs: Mapping[str, ModelSpec],
    *,
    poll_s: float,
    load_s_max: float,
    replica: str = "only",
    replicas: int = 1,
) -> dict[str, ModelLoop]:
    """A loop per model. replica, replicas: our name among how many that agree before a promotion."""
    return {
        name: ModelLoop(
            name,
            ModelRollout(
                ports,
                name,
                keep_versions=spec.serving.keep_versions,
                load_s_max=load_s_max,
                quorum=Quorum(ports.store, name, replica=replica, replicas=replicas, clock=ports.clock),
            ),
            poll_s=poll_s,
        )
        for name, spec in specs.items()
    }


def run(ports: Ports, loops: Mapping[str, ModelLoop], stop: Stop) -> None:
    """Run every loop, and the listener in this thread, until `stop`; then let each end its step."""
    threads = [
        threading.Thread(target=loop.run, args=(stop,), name=f"model-{name}", daemon=True)
        for name, loop in loops.items()
    ]
    for thread in threads:
        thread.start()
    subscription = _subscribe(ports, stop)
    if subscription is not None:
        chassis_worker.run(subscription, Listener(loops).handle, stop=stop)
    for loop in loops.values():
        loop.wake()
    for thread in threads:
        thread.join(END_S_MAX)


def _subscribe(ports: Ports, stop: Stop) -> Subscription | None:
    """The subscription, as soon as the bus answers; until then the loops go by the clock."""
    backoff = Backoff(0.2, 10.0)
    while not stop.is_set():
        try:
            return ports.bus.subscribe(ModelPublished.topic, SUBSCRIPTION)
        except Unavailable:
            stop.wait(backoff.next_s())
    return None
