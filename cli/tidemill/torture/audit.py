"""Compares the ledger with what is kept: what is lost, what is there unasked, what counts twice."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from tidemill_contracts.bus import DEAD_SAMPLE, Delivery, Message, Subscription
from tidemill_contracts.envelope import from_message
from tidemill_contracts.errors import Corrupt, InvalidInput, NotFound
from tidemill_contracts.events import BatchStored
from tidemill_contracts.identified import identified
from tidemill_contracts.layout import SAMPLES
from tidemill_contracts.objects import ObjectStore
from tidemill_contracts.readable import read_samples
from tidemill_contracts.stored_batch import content_digest, decode_batch

from tidemill.torture.ledger import Ledger
from tidemill.torture.messages import DATASET, POISON_ID, split_of, text_of

PULL_MAX = 500
PULL_WAIT_S = 0.5


@dataclass
class Kept:
    """What the announced objects hold. places: by sample id, the splits and texts under which it is kept."""

    object_count: int = 0
    unannounced_count: int = 0
    unreadable: list[str] = field(default_factory=list)
    message_ids: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    places: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    poison: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Audit:
    """The figures. The first six are all 0 where nothing went wrong.

    lost: confirmed samples that no announced object and no dead letter holds.
    unexpected: samples kept that were never published, or poison that was kept.
    duplicates: samples that readers would count more than once: kept in two splits or with two contents.
    altered: samples whose content is not what was published.
    spilled: sound messages among the dead letters. unburied: poison that is not among them.
    unreadable: announced objects that are not what their names say, and that no fault damaged.
    damaged: those that a fault did damage, and that were found out as such.
    """

    lost: int
    unexpected: int
    duplicates: int
    altered: int
    spilled: int
    unburied: int
    unreadable: int
    confirmed: int
    rows: int
    redelivered: int
    objects: int
    unannounced: int
    dead: int
    damaged: int

    @property
    def is_clean(self) -> bool:
        faults = (self.lost, self.unexpected, self.duplicates, self.altered, self.spilled, self.unburied)
        return not any((*faults, self.unreadable))


def audit(ledger: Ledger, store: ObjectStore, batches: Subscription, dead: Subscription) -> Audit:
    """The figures of a platform at rest. Announcements and dead letters are taken from the subscriptions."""
    kept = read_kept(store, batches)
    letters = _all(dead)
    buried = {_poison_id(letter.message) for letter in letters}
    confirmed, attempted = ledger.read("confirmed"), ledger.read("attempted")
    poison, damaged = ledger.read("poison"), ledger.read("damaged")
    truth = {ident: (split_of(ident), text_of(ident)) for ident in kept.places if ident in attempted}
    return Audit(
        lost=len(confirmed - kept.places.keys()),
        unexpected=len(kept.places.keys() - attempted) + len(kept.poison),
        duplicates=sum(len(places) > 1 for places in kept.places.values()),
        altered=sum(truth[ident] not in kept.places[ident] for ident in truth),
        spilled=sum(not _poison_id(letter.message) for letter in letters),
        unburied=len(poison - buried),
        unreadable=len(set(kept.unreadable) - damaged),
        damaged=len(set(kept.unreadable) & damaged),
        confirmed=len(confirmed),
        rows=kept.rows,
        redelivered=sum(kept.message_ids.values()) - len(kept.message_ids),
        objects=kept.object_count,
        unannounced=kept.unannounced_count,
        dead=len(letters),
    )


def read_kept(store: ObjectStore, batches: Subscription) -> Kept:
    """What every announced object holds; one that was written and never told of counts for nothing."""
    announced = {from_message(delivery.message, BatchStored).object for delivery in _all(batches)}
    kept = Kept(unannounced_count=len({info.name for info in store.list(SAMPLES)} - announced))
    for name in sorted(announced):
        kept.object_count += 1
        try:
            _add(kept, store, name)
        except (Corrupt, NotFound, InvalidInput):
            kept.unreadable.append(name)
    return kept


def ids_in(store: ObjectStore, name: str) -> set[str]:
    """The samples that an object holds; none if it cannot be read."""
    kept = Kept()
    try:
        _add(kept, store, name)
    except (Corrupt, NotFound, InvalidInput):
        return set()
    return set(kept.places)


def _add(kept: Kept, store: ObjectStore, name: str) -> None:
    messages = list(decode_batch(store.get(name), name))
    if f"{content_digest(messages)}.avro" != name.rpartition("/")[2]:
        raise Corrupt(f"{name} holds another content than its name says")
    for message in messages:
        kept.message_ids[message.message_id] += 1
        if POISON_ID in message.attributes:
            kept.poison.add(message.attributes[POISON_ID])
            continue
        read = read_samples(message.message)
        lies_in = name.removeprefix(f"{SAMPLES}{DATASET}/").partition("/")[0]
        for found in identified(read.event, read.positions):
            kept.rows += 1
            kept.places.setdefault(found.sample_id, set()).add((lies_in, found.sample.text or ""))


def _poison_id(letter: Message) -> str:
    """What the letter is known by; empty for a sound message, or a sound sample, that should not be here."""
    if DEAD_SAMPLE not in letter.attributes:
        return letter.attributes.get(POISON_ID, "")
    ident = str(json.loads(letter.data)["samples"][0]["id"])
    return ident if ident.startswith("p") else ""


def _all(subscription: Subscription) -> list[Delivery]:
    found: list[Delivery] = []
    while deliveries := subscription.pull(PULL_MAX, PULL_WAIT_S):
        found += deliveries
        subscription.acknowledge([delivery.ack_id for delivery in deliveries])
    return found
