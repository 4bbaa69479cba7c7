"""One torture from beginning to end: start, faults by seed, calm, audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tidemill_chassis.adapters import open_bus, open_store
from tidemill_contracts.bus import DEAD_SUFFIX, Bus, Subscription
from tidemill_contracts.events import BatchStored, SamplesReceived
from tidemill_contracts.layout import SAMPLES

from tidemill.deployment import Deployment
from tidemill.process_logs import ProcessLogs
from tidemill.torture.audit import Audit, audit, ids_in
from tidemill.torture.calm import wait_for_backlog, wait_for_objects
from tidemill.torture.crew import PERSISTOR, POSTGRES, REDIS, TRAINER, Crew
from tidemill.torture.ground import Ground
from tidemill.torture.learner import install
from tidemill.torture.ledger import Ledger
from tidemill.torture.producer import Producer
from tidemill.torture.rig import Fault, Rig, may_coincide
from tidemill.torture.view import View, read_view, wait_for_view
from tidemill.torture.watch import watched

AUDITOR = "torture"
QUIET_S = 0.4
"""Between two faults, so that work is in hand when the next one comes."""
TOGETHER = 0.5
"""How often a second fault comes while the first one lasts."""
APART_S = 0.5
"""From one fault of a round to the next: the first one has its effect before the second comes."""
AT_ONCE_MAX = 3
"""So many faults come within one another in the short form."""
AUDIT_LEASE_S = 600.0


@dataclass(frozen=True)
class Blow:
    """What was inflicted at once, and how long it took until all processes were ready again."""

    names: tuple[str, ...]
    ready_again_s: float


@dataclass(frozen=True)
class Outcome:
    """What a torture showed. calm_s: from the last fault until nothing was left to keep.

    read_s: from then until the trainer had read it all.
    """

    audit: Audit
    view: View
    blows: tuple[Blow, ...]
    calm_s: float
    read_s: float
    seconds: float
    refusals: int
    repeated: int


def torture(
    ground: Ground,
    rounds: Sequence[tuple[Fault, ...]],
    seed: int,
    *,
    rate_per_s: float,
    tell: Callable[[str], None],
) -> Outcome:
    """Start persistor and trainer, and a broker where none is given, inflict the rounds, and audit.

    Raises:
        Unavailable: a process did not come back, or the backlog was not done in time.
    """
    begun_s = time.monotonic()
    deployment = ground.deployment
    with ExitStack() as stack:
        store_link = _prepare(deployment)
        logs = ProcessLogs(deployment.logs_folder, echo=False)
        stack.callback(logs.close)
        crew = Crew(ground, logs)
        stack.callback(crew.stop_all)
        crew.start(*([POSTGRES] if ground.own_postgres else []), *([] if ground.bus else [REDIS]))
        crew.wait_ready()
        bus, store = open_bus(ground.bus_url), open_store(ground.store_url)
        stack.callback(bus.close)
        crew.start(PERSISTOR, TRAINER)
        crew.wait_ready()
        batches, dead = _listen(bus)
        ledger = Ledger(deployment.folder / "ledger")
        stack.callback(ledger.close)
        dice, of_producer = Random(seed), Random(~seed)  # noqa: S311  (no secret depends on them)
        with Producer(bus, ledger, of_producer, rate_per_s=rate_per_s) as producer:
            rig = Rig(crew, producer, dice, ground, ledger, store, store_link)
            blows = tuple(_watched_blow(rig, faults, tell) for faults in rounds)
        tell("calm: waiting until everything is kept")
        confirmed = ledger.read("confirmed")
        with watched():
            calm_s = wait_for_objects(store, confirmed) if ground.bus else wait_for_backlog(bus)
            crew.stop(PERSISTOR)
        with ground.registry() as registry:
            kept = {ident for info in store.list(SAMPLES) for ident in ids_in(store, info.name)}
            with watched():
                read_s = wait_for_view(registry, confirmed & kept)
                crew.stop(TRAINER)
            found = audit(ledger, store, batches, dead)
            attempted, damaged = ledger.read("attempted"), ledger.read("damaged")
            view = read_view(registry, store, confirmed, attempted, damaged)
    return Outcome(
        found,
        view,
        blows,
        calm_s=calm_s,
        read_s=read_s,
        seconds=time.monotonic() - begun_s,
        refusals=producer.refusals,
        repeated=producer.repeated,
    )


def plan(faults: Sequence[Fault], count: int, dice: Random) -> Iterator[tuple[Fault, ...]]:
    """Which faults come in each of `count` rounds: every one in its turn, often with another beside it."""
    order: list[Fault] = []
    for _ in range(count):
        if not order:
            order = dice.sample(faults, len(faults))
        first = order.pop()
        others = [fault for fault in faults if may_coincide(first, fault)]
        together = others and dice.random() < TOGETHER
        yield (first, dice.choice(others)) if together else (first,)


def plan_short(faults: Sequence[Fault], dice: Random) -> Iterator[tuple[Fault, ...]]:
    """Every fault once, several at a time: up to AT_ONCE_MAX that do not touch the same."""
    left = dice.sample(faults, len(faults))
    while left:
        chosen = [left.pop(0)]
        for fault in list(left):
            if len(chosen) < AT_ONCE_MAX and all(may_coincide(fault, other) for other in chosen):
                chosen.append(fault)
                left.remove(fault)
        yield tuple(chosen)


def _prepare(deployment: Deployment) -> Path:
    """The folders; the store is a link to one of them, so that it can be taken away in an instant."""
    deployment.make_folders()
    install(deployment.folder)
    disk = deployment.folder / "store-disk"
    disk.mkdir()
    link = deployment.folder / "store"
    link.symlink_to(disk)
    return link


def _listen(bus: Bus) -> tuple[Subscription, Subscription]:
    """Subscriptions that miss nothing: made before the first sample is published."""
    topics = (BatchStored.topic, SamplesReceived.topic + DEAD_SUFFIX)
    batches, dead = (bus.subscribe(topic, AUDITOR, ack_deadline_s=AUDIT_LEASE_S) for topic in topics)
    return batches, dead


def _watched_blow(rig: Rig, faults: tuple[Fault, ...], tell: Callable[[str], None]) -> Blow:
    with watched():
        return _inflict(rig, faults, tell)


def _inflict(rig: Rig, faults: tuple[Fault, ...], tell: Callable[[str], None]) -> Blow:
    """One round: each fault within the one before it, all kept up together; then all processes are ready."""
    names = tuple(fault.name for fault in faults)
    tell(" + ".join(names))
    with ExitStack() as stack:
        end_s = 0.0
        for fault in faults:
            stack.enter_context(fault.inflict(rig))
            end_s = max(end_s, time.monotonic() + fault.lasts_s * rig.dice.uniform(0.8, 1.2))
            if fault is not faults[-1]:
                time.sleep(APART_S)
        time.sleep(max(0.0, end_s - time.monotonic()))
    ready_again_s = rig.crew.wait_ready()
    time.sleep(QUIET_S * rig.dice.random())
    return Blow(names, ready_again_s)
