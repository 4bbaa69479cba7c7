"""Starts the persistor. The only place that names its adapters."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tidemill_chassis import logs, memory, retry
from tidemill_chassis.adapters import open_bus, open_store, open_token_verifier
from tidemill_chassis.health import HealthServer
from tidemill_chassis.lifecycle import Stop, stop_on_signals
from tidemill_chassis.push import PushSubscription
from tidemill_chassis.push_access import Verify
from tidemill_chassis.settings import Address
from tidemill_contracts.bus import Bus, Subscription
from tidemill_contracts.errors import TidemillError, Unavailable
from tidemill_contracts.events import SamplesReceived
from tidemill_contracts.objects import ObjectStore

from tidemill_persistor.batching import Hand
from tidemill_persistor.handlers import SUBSCRIPTION
from tidemill_persistor.leases import LeaseKeeper
from tidemill_persistor.outage import Outage
from tidemill_persistor.settings import Settings
from tidemill_persistor.storing import AT_ONCE
from tidemill_persistor.worker import Worker

ATTEMPTS_MAX = 100
"""The most that Pub/Sub allows: the worker puts bad messages aside; sound ones must outlive crashes."""
COLLECT_EVERY = 500_000
"""Objects made between two searches for cycles. What is in hand is much and has none: searching it as often
as Python does unasked, every 700, cost 2.5 µs a sample in messages of one."""
SWITCH_S = 0.001
"""How long a thread may keep Python to itself while another waits for it: the one that pulls wants it for a
moment whenever bytes have come."""
START_ATTEMPTS_MAX = 10
START_PAUSE_FIRST_S = 0.2
START_PAUSE_LIMIT_S = 5.0


def main() -> int:
    """Run until SIGTERM. Exit code 2: the settings are wrong; 1: the store or the bus cannot be opened."""
    try:
        settings = Settings.from_env(os.environ)
        logs.configure("persistor", settings.log_level)
    except (TidemillError, ValueError) as error:
        print(f"tidemill-persistor: {error}", file=sys.stderr)  # noqa: T201  (logs are not there yet)
        return 2
    tune()
    log = logs.get_logger(__name__)
    stop = stop_on_signals()
    try:
        serve(settings, stop)
    except (TidemillError, OSError) as error:
        log.error("not_started", error=error)
        return 1
    log.info("stopped")
    return 0


def tune() -> None:
    """Set this process's Python for much data and few threads; before they start."""
    memory.keep_freed()
    gc.set_threshold(COLLECT_EVERY)
    sys.setswitchinterval(SWITCH_S)


def serve(settings: Settings, stop: Stop) -> None:
    """Work until `stop`.

    Raises:
        Unavailable: the store or the bus cannot be opened.
        OSError: the health address is taken.
    """
    store = open_store(settings.store)
    bus = open_bus(settings.bus)
    if settings.push is not None:
        verify = open_token_verifier(settings.push)
        serve_pushed(settings, settings.push.bind, store, bus, stop, verify=verify)
        return
    subscription = retry.call(
        lambda: bus.subscribe(
            SamplesReceived.topic,
            SUBSCRIPTION,
            ack_deadline_s=settings.lease_s,
            attempts_max=ATTEMPTS_MAX,
            ordered=False,  # a batch is sorted by publication; who reads it wants no other order
        ),
        attempts_max=START_ATTEMPTS_MAX,
        backoff=retry.Backoff(START_PAUSE_FIRST_S, START_PAUSE_LIMIT_S),
        sleep=stop.wait,
    )
    with (
        working(settings, subscription, store, bus) as worker,
        HealthServer(settings.health, _readiness(worker, bus, store)),
    ):
        logs.get_logger(__name__).info("started", health=str(settings.health))
        worker.run(stop)
    bus.close()


@contextmanager
def working(settings: Settings, subscription: Subscription, store: ObjectStore, bus: Bus) -> Iterator[Worker]:
    """A worker whose threads store and keep leases while the context is open."""
    leases = LeaseKeeper(subscription, settings.lease_s)
    with ThreadPoolExecutor(AT_ONCE, "store") as executor, leases:
        yield Worker(
            subscription,
            store,
            bus,
            hand=Hand(settings.batch, settings.hand),
            leases=leases,
            codec=settings.codec,
            executor=executor,
        )


def serve_pushed(
    settings: Settings, bind: Address, store: ObjectStore, bus: Bus, stop: Stop, *, verify: Verify
) -> None:
    """Work until `stop` on what Pub/Sub pushes; each request is answered after its message is stored.

    Raises:
        OSError: the address is taken.
    """
    from tidemill_chassis.push_server import PushServer  # brings Flask, which who pulls need not carry

    subscription = PushSubscription(bus, SamplesReceived.topic, SUBSCRIPTION)
    # Each request waits in a thread of its own until its message is stored: there is nothing to pull ahead.
    worker = Worker(
        subscription,
        store,
        bus,
        hand=Hand(settings.batch, settings.hand),
        leases=LeaseKeeper(subscription, settings.lease_s),
        codec=settings.codec,
    )
    ready = _readiness(worker, bus, store)
    with PushServer(bind, ready, receive=subscription.receive, verify=verify):
        logs.get_logger(__name__).info("started", push=str(bind))
        worker.run(stop)
        subscription.close()
    bus.close()


def _readiness(worker: Worker, bus: Bus, store: ObjectStore) -> Callable[[], None]:
    def ready() -> None:
        _check(worker.outage)
        bus.ping()
        store.ping()

    return ready


def _check(outage: Outage) -> None:
    if outage.reason:
        raise Unavailable(outage.reason)


if __name__ == "__main__":
    sys.exit(main())
