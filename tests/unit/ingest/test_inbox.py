"""Files dropped into the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tidemill_contracts.errors import Unavailable
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.samples import sample_id
from tidemill_ingest.inbox import Inbox

SETTLE_S = 2.0


class Rig:
    """An inbox on a memory store, with a clock moved by hand."""

    def __init__(self, ingest: Any) -> None:
        self.ingest = ingest
        self.store = MemoryStore()
        self.now_s = 0.0
        self.restart()

    def restart(self) -> None:
        """A new process that knows nothing."""
        self.inbox = Inbox(
            self.store,
            self.ingest.intake,
            settle_s=SETTLE_S,
            size_bytes_max=100_000,
            clock=lambda: self.now_s,
        )

    def settle(self) -> int:
        self.inbox.poll()
        self.now_s += SETTLE_S
        return self.inbox.poll()

    def names(self) -> list[str]:
        return [info.name for info in self.store.list("")]


@pytest.fixture
def rig(ingest: Any) -> Rig:
    return Rig(ingest)


def test_a_dropped_file_is_published_and_moved(rig: Rig, digit: bytes) -> None:
    rig.store.put("inbox/digits/1/one.png", digit)

    assert rig.settle() == 1

    (event,) = rig.ingest.events()
    (sample,) = event.samples
    assert (event.dataset, event.split, event.source) == ("digits", "train", "inbox")
    assert (sample.id, sample.label, sample.content()) == (sample_id(digit, "inbox"), "1", digit)
    assert rig.names() == ["inbox-done/digits/1/one.png"]


def test_a_file_that_still_grows_is_left_alone(rig: Rig, digit: bytes) -> None:
    rig.store.put("inbox/digits/1/one.png", digit[:50])
    rig.inbox.poll()
    rig.now_s += 1.9
    rig.store.put("inbox/digits/1/one.png", digit)
    rig.inbox.poll()
    rig.now_s += 1.9

    assert rig.inbox.poll() == 0
    rig.now_s += 0.2
    assert rig.inbox.poll() == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("inbox/digits/1/text.jpg", "not an image"),
        ("inbox/digits/9/x.png", "'9' is no label of dataset digits"),
        ("inbox/DIGITS/1/x.png", "dataset"),
        ("inbox/x.png", "inbox/<dataset>/<label>/"),
        ("inbox/digits/x.png", "inbox/<dataset>/<label>/"),
        ("inbox/digits/1/deeper/x.png", "inbox/<dataset>/<label>/"),
        ("inbox/reviews/good/x.png", "takes text"),
    ],
)
def test_a_refused_file_is_put_aside_with_the_reason(rig: Rig, digit: bytes, name: str, said: str) -> None:
    data = b"only text" if name.endswith(".jpg") else digit
    rig.store.put(name, data)

    assert rig.settle() == 0

    aside = name.replace("inbox/", "inbox-refused/", 1)
    assert rig.names() == [aside, f"{aside}.reason.txt"]
    assert rig.store.get(aside) == data
    assert said in rig.store.get(f"{aside}.reason.txt").decode()
    assert rig.ingest.samples() == []


def test_one_bad_file_does_not_hold_up_the_others(rig: Rig, digit: bytes) -> None:
    for number in range(5):
        rig.store.put(f"inbox/digits/1/{number}.png", digit if number != 2 else b"")

    assert rig.settle() == 4


def test_a_file_too_large_to_read_is_told_of_once_and_left(rig: Rig) -> None:
    rig.store.put("inbox/digits/1/huge.png", bytes(100_001))

    rig.settle()
    rig.store.delete("inbox-refused/digits/1/huge.png.reason.txt")
    rig.settle()

    assert rig.names() == ["inbox/digits/1/huge.png"]


@pytest.mark.parametrize(
    "name", ["inbox/digits/1/.x.png", "inbox/.hidden/1/x.png", "inbox/digits/.tmp/x.png"]
)
def test_hidden_files_are_not_looked_at(rig: Rig, digit: bytes, name: str) -> None:
    rig.store.put(name, digit)

    assert rig.settle() == 0
    assert rig.names() == [name]


@pytest.mark.parametrize("broken", ["bus", "store"])
def test_an_outage_moves_nothing_and_is_made_up_for(rig: Rig, digit: bytes, broken: str) -> None:
    rig.store.put("inbox/digits/1/one.png", digit)
    rig.inbox.poll()
    rig.now_s += SETTLE_S
    part: Any = rig.ingest.bus if broken == "bus" else rig.store
    part.failing = True
    with pytest.raises(Unavailable):
        rig.inbox.poll()
    part.failing = False

    assert rig.inbox.poll() == 1


def test_a_crash_between_publishing_and_moving_gives_the_same_id_again(
    rig: Rig, digit: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.store.put("inbox/digits/1/one.png", digit)
    with monkeypatch.context() as crashing:
        crashing.setattr(Inbox, "_move", crash)
        with pytest.raises(KeyboardInterrupt):
            rig.settle()
    rig.restart()

    assert rig.settle() == 1

    assert {sample.id for sample in rig.ingest.samples()} == {sample_id(digit, "inbox")}


def crash(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_file_replaced_while_it_is_taken_is_taken_again(
    rig: Rig, digit: bytes, encode: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.store.put("inbox/digits/1/one.png", digit)
    publish = rig.ingest.intake.publish

    def publish_slowly(*args: Any) -> Any:
        rig.store.put("inbox/digits/1/one.png", b"another file")
        return publish(*args)

    with monkeypatch.context() as slow:
        slow.setattr(rig.ingest.intake, "publish", publish_slowly)
        rig.settle()

    assert rig.store.get("inbox/digits/1/one.png") == b"another file"
    assert rig.store.get("inbox-done/digits/1/one.png") == digit


def test_many_files_are_taken_in_portions(rig: Rig, digit: bytes) -> None:
    for number in range(450):
        rig.store.put(f"inbox/digits/{number % 3}/{number}.png", digit)

    assert rig.settle() == 450
    assert len([name for name in rig.names() if name.startswith("inbox-done/")]) == 450
