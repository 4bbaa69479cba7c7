"""The audit of a torture sees every kind of damage; its faults come by seed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from tidemill.commands.torture import choose
from tidemill.deployment import Deployment, Ports
from tidemill.torture.audit import Audit, audit
from tidemill.torture.calm import UNSURE_S_MAX, wait_for_objects
from tidemill.torture.damage import spoil
from tidemill.torture.faults import FAULTS
from tidemill.torture.ground import Ground
from tidemill.torture.ledger import Ledger
from tidemill.torture.messages import POISON_ID, message_of, pack, poison, split_of, text_of
from tidemill.torture.rig import may_coincide
from tidemill.torture.storm import plan, plan_short
from tidemill.torture.view import View, read_view
from tidemill_contracts.bus import Delivery, Message
from tidemill_contracts.envelope import to_message
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import BatchStored
from tidemill_contracts.layout import batch_name
from tidemill_contracts.memory_bus import MemoryBus
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.stored_batch import StoredMessage, encode_batch
from tidemill_persistor.admission import admit
from tidemill_registry import Registry
from tidemill_registry.batches import mark_indexed, quarantine, see_objects
from tidemill_registry.records import ObjectCounts, RoundRecord, SampleRow, StoredObject
from tidemill_registry.round_rows import change_round, open_round
from tidemill_registry.sample_rows import add_samples

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
IDS = [f"s{n}" for n in range(1, 8)]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus in memory has everything at once; the audit's last, empty pull need not wait."""
    monkeypatch.setattr("tidemill.torture.audit.PULL_WAIT_S", 0.01)


@dataclass
class Scene:
    """What a torture leaves behind, made by hand."""

    ledger: Ledger
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: MemoryBus = field(default_factory=MemoryBus)

    def keep(self, message: Message, *, split: str = "train", ident: str = "1", announce: bool = True) -> str:
        data, digest = encode_batch([StoredMessage("p", ident, NOON, message.attributes, message.data)])
        name = batch_name("torture", split, NOON, digest)
        self.store.put(name, data)
        if announce:
            stored = BatchStored(
                dataset="torture",
                split="test" if split == "test" else "train",
                object=name,
                size_bytes=len(data),
                sha256="0" * 64,
                message_count=1,
                sample_count=1,
                first_publish_time=NOON,
                last_publish_time=NOON,
            )
            self.bus.publish("batches", [to_message(stored, source="test")])
        return name

    def bury(self, message: Message) -> None:
        self.bus.publish("samples.dead", [message])

    def audit(self) -> Audit:
        batches, dead = (self.bus.subscribe(topic, "audit") for topic in ("batches", "samples.dead"))
        return audit(self.ledger, self.store, batches, dead)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """All samples are confirmed and kept; one poisonous message is confirmed and buried."""
    made = Scene(Ledger(tmp_path))
    made.ledger.attempt(IDS)
    made.ledger.confirm(IDS)
    made.keep(message_of(IDS))
    made.ledger.confirm_poison(["p0-0"])
    made.bury(poison(0)[0])
    yield made
    made.ledger.close()


def test_a_store_that_holds_what_was_confirmed_is_clean(scene: Scene) -> None:
    found = scene.audit()

    assert found.is_clean
    assert (found.confirmed, found.rows, found.dead) == (7, 7, 1)


def test_copies_under_another_message_id_are_counted_and_are_no_fault(scene: Scene) -> None:
    scene.keep(message_of(IDS[:3]), ident="2")
    scene.keep(message_of(IDS[:2]), ident="2")

    found = scene.audit()

    assert found.is_clean
    assert (found.rows, found.redelivered) == (12, 1)


def _lose(scene: Scene) -> None:
    scene.ledger.confirm(["s8", "s9"])


def _hide(scene: Scene) -> None:
    scene.ledger.attempt(["s8", "s9"])
    scene.ledger.confirm(["s8", "s9"])
    scene.keep(message_of(["s8", "s9"]), announce=False)


def _invent(scene: Scene) -> None:
    scene.keep(message_of(["s8", "s9"]), ident="2")


def _keep_poison(scene: Scene) -> None:
    scene.keep(Message(message_of(IDS).data, {POISON_ID: "p0-1"}), ident="2")
    scene.keep(Message(message_of(IDS).data, {POISON_ID: "p0-2"}), ident="3")


def _keep_in_two_splits(scene: Scene) -> None:
    scene.keep(message_of(IDS[:2]), split="test", ident="2")


def _keep_another_content(scene: Scene) -> None:
    data = message_of(IDS[:2]).data
    for ident in IDS[:2]:
        data = data.replace(text_of(ident).encode(), b"another")
    scene.keep(Message(data), ident="2")


def _bury_sound_ones(scene: Scene) -> None:
    scene.bury(message_of(["s1"]))
    scene.bury(message_of(["s2"]))


def _forget_poison(scene: Scene) -> None:
    scene.ledger.confirm_poison(["p0-1", "p0-2"])


@pytest.mark.parametrize(
    ("damage", "figure"),
    [
        (_lose, "lost"),
        (_hide, "lost"),
        (_invent, "unexpected"),
        (_keep_poison, "unexpected"),
        (_keep_in_two_splits, "duplicates"),
        (_keep_another_content, "duplicates"),
        (_bury_sound_ones, "spilled"),
        (_forget_poison, "unburied"),
    ],
)
def test_the_audit_sees_the_damage(scene: Scene, damage: Callable[[Scene], None], figure: str) -> None:
    damage(scene)

    found = scene.audit()

    assert not found.is_clean
    assert getattr(found, figure) == 2


def test_the_audit_sees_an_altered_sample_and_an_unreadable_object(tmp_path: Path) -> None:
    scene = Scene(Ledger(tmp_path))
    scene.ledger.attempt(["s1"])
    scene.keep(Message(message_of(["s1"]).data.replace(text_of("s1").encode(), b"another")))
    cut = scene.keep(message_of(["s1"]), ident="2")
    scene.store.put(cut, scene.store.get(cut)[:-1])

    found = scene.audit()

    assert (found.altered, found.unreadable) == (1, 1)


def test_what_a_fault_damaged_is_no_fault_once_it_is_found_out_and_there_again(scene: Scene) -> None:
    spoilt = scene.keep(message_of(["s1"]), ident="2")
    scene.store.put(spoilt, spoil(scene.store.get(spoilt), Random(1)))
    scene.ledger.note_damage([spoilt])

    found = scene.audit()

    assert found.is_clean
    assert (found.lost, found.unreadable, found.damaged) == (0, 0, 1)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_spoilt_is_never_as_it_was(seed: int) -> None:
    data = bytes(range(40))

    assert spoil(data, Random(seed)) != data


def test_the_ledger_is_on_disk_before_anything_else_happens(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)

    ledger.attempt(["s1", "s2"])
    ledger.confirm(["s1"])

    assert (tmp_path / "attempted.txt").read_text() == "s1\ns2\n"
    assert ledger.read("confirmed") == {"s1"}


def test_the_same_seed_gives_the_same_faults_and_every_fault_comes() -> None:
    once, again = (list(plan(FAULTS, len(FAULTS), Random(7))) for _ in range(2))

    assert once == again
    assert {faults[0] for faults in once} == set(FAULTS)
    assert all(may_coincide(*faults) for faults in once if len(faults) == 2)
    assert any(len(faults) == 2 for faults in once)


def test_the_short_form_has_every_fault_once_and_several_at_a_time() -> None:
    once, again = (list(plan_short(FAULTS, Random(7))) for _ in range(2))

    assert once == again
    assert sorted(fault.name for faults in once for fault in faults) == sorted(one.name for one in FAULTS)
    assert len(once) < len(FAULTS) / 2
    pairs = [(one, other) for faults in once for one in faults for other in faults if one != other]
    assert all(may_coincide(one, other) for one, other in pairs)


def test_no_message_mixes_splits() -> None:
    messages = pack([f"s{n}" for n in range(200)], Random(1), samples_max=20)

    assert len(messages) > 10
    assert all(b'"split": "test"' in message.data for message in messages[-1:])
    assert {split_of("s10"), split_of("s11")} == {"test", "train"}


@pytest.mark.parametrize("kind", range(len(poison(0))))
def test_every_kind_of_poison_is_refused_by_the_persistor(kind: int) -> None:
    message = poison(0)[kind]

    with pytest.raises(InvalidInput):
        admit(Delivery(message, ack_id="1", message_id="1", publish_time=NOON, attempt=1))


@pytest.mark.parametrize("names", ["", "kill-everything", "poison,nonsense"])
def test_an_unknown_fault_is_refused_with_the_remedy(names: str) -> None:
    with pytest.raises(InvalidInput, match="--list-faults"):
        choose(names)


EMULATORS = {"PUBSUB_EMULATOR_HOST": "127.0.0.1:1", "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("bus", "store", "environ"),
    [
        ("pubsub://our-project", "", {}),
        ("", "gs://our-bucket", {"PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}),
        ("redis://127.0.0.1", "", EMULATORS),
        ("", "file:///var/lib/tidemill/store", EMULATORS),
        ("pubsub://torture?pull=streaming", "", EMULATORS),
    ],
)
def test_nothing_but_an_emulator_is_ever_tortured(
    tmp_path: Path, bus: str, store: str, environ: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput, match="emulator"):
        Ground(Deployment(tmp_path, tmp_path, Ports()), bus, store, environ)


def test_only_faults_that_the_ground_allows_are_inflicted(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, tmp_path, Ports())
    own, cloud = Ground(deployment), Ground(deployment, "pubsub://a", "gs://a", EMULATORS)

    on_own, on_cloud = ({fault.name for fault in choose(None, one.offers())} for one in (own, cloud))

    assert {"kill-redis", "disk-full"} <= on_own
    assert "store-errors" not in on_own
    assert "kill-persistor" in on_cloud
    assert not {"kill-redis", "disk-full", "store-errors"} & on_cloud  # no server answers there
    with pytest.raises(InvalidInput, match="kill-redis needs: own broker"):
        choose("kill-redis", cloud.offers())


def test_the_training_view_is_held_against_the_ledger(tmp_path: Path, empty_registry: Path) -> None:
    registry = Registry.open(f"sqlite:///{shutil.copy(empty_registry, tmp_path / 'registry.db')}")
    sound, faulty = (StoredObject(f"samples/torture/train/{name}.avro", "torture", "train") for name in "ab")
    with registry.write() as sql:
        see_objects(sql, [sound, faulty], now=NOON)
        rows = [
            SampleRow(ident, each.name, 0, 0, "1", "train", "0" * 64)
            for ident, each in (("s1", sound), ("s2", faulty), ("s9", sound))
        ]
        add_samples(sql, "torture", rows, seen_at=NOON)
        for each in (sound, faulty):
            mark_indexed(sql, each.name, sha256="0" * 64, counts=ObjectCounts(sample_count=1), now=NOON)
        quarantine(sql, faulty.name, "a bit is turned")
        for number in (1, 2):
            open_round(sql, _round(number), "torture", {"train": ["s1"], "rehearsal": [], "validation": []})
        change_round(sql, "torture-1", status="promoted", closed_at=NOON)

    found = read_view(registry, MemoryStore(), {"s1", "s2", "s3"}, {"s1", "s2", "s3"}, {faulty.name})
    registry.close()

    assert isinstance(found, View)
    assert (found.lost, found.unexpected, found.twice, found.torn) == (2, 1, 1, 1)
    assert found.differences > 0
    assert (found.quarantined, found.rounds, found.promoted) == (1, 2, 1)
    assert not found.is_clean


def _round(number: int) -> RoundRecord:
    return RoundRecord(
        id=f"torture-{number}",
        model="torture",
        number=number,
        kind="new",
        status="open",
        phase="reading",
        epoch=0,
        epochs_max=1,
        starts=1,
        seed=1,
        opened_at=NOON,
        train_count=1,
        rehearsal_count=0,
        validation_count=0,
    )


def test_calm_comes_when_nothing_is_missing_and_nothing_moves(scene: Scene) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] == 5.0:
            scene.keep(message_of(["s8", "s9"]), ident="2")

    took_s = wait_for_objects(scene.store, {*IDS, "s8", "s9"}, quiet_s=3.0, clock=lambda: now[0], sleep=sleep)

    assert (took_s, now[0]) == (5.0, 8.5)


def test_calm_ends_in_time_where_samples_are_lost(scene: Scene) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    wait_for_objects(scene.store, {"gone"}, clock=lambda: now[0], sleep=sleep)

    assert now[0] == UNSURE_S_MAX


HANGS = """
import threading
from tidemill.torture.watch import watched
with watched(0.1):
    pass
with watched(0.3):
    threading.Event().wait()
"""


def test_a_torture_that_hangs_ends_and_says_where() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert 'File "<string>", line 7' in ended.stderr
