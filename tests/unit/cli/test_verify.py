"""Every difference between store and registry is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update
from tidemill.checkpoint import Checkpoint
from tidemill.main import main
from tidemill.verification import Difference, Tally, Verifier
from tidemill_contracts.bus import Message
from tidemill_registry.batches import quarantine, see_objects
from tidemill_registry.records import StoredObject
from tidemill_registry.tables import objects, samples

MakeMessage = Callable[..., Message]


def differences(kept: Any) -> list[Difference]:
    """All of them, as the command finds them."""
    verifier, tally = Verifier(kept.store, kept.registry), Tally()
    names = verifier.names()
    found = [each for name in names for each in verifier.check(name, tally)]
    return [*found, *verifier.missing(names), *verifier.miscounted()]


def test_a_store_and_a_registry_that_agree_have_no_difference(kept: Any, make_message: MakeMessage) -> None:
    kept.keep([make_message("7", "1", ident="a"), make_message("2", ident="b")])
    kept.keep([make_message("3", ident="c")], hour=1)

    assert differences(kept) == []


def test_an_object_that_cannot_be_read_is_named(kept: Any, make_message: MakeMessage) -> None:
    name = kept.keep([make_message("7", ident="a")])
    kept.store.put(name, kept.store.get(name)[:-5])

    [found] = differences(kept)

    assert found.object == name
    assert "not a readable Avro container" in found.fault


def test_an_object_with_another_content_than_its_name_says_is_named(
    kept: Any, make_message: MakeMessage
) -> None:
    name = kept.keep([make_message("7", ident="a")])
    other = kept.keep([make_message("8", ident="b")], hour=1)
    kept.store.put(name, kept.store.get(other))

    [found] = differences(kept)

    assert (found.object, "which is not its name" in found.fault) == (name, True)


@pytest.mark.parametrize("position", range(0, 600, 37))
def test_a_flipped_bit_never_passes_unseen(kept: Any, make_message: MakeMessage, position: int) -> None:
    name = kept.keep([make_message("7", ident=f"message {n}") for n in range(20)])
    data = bytearray(kept.store.get(name))
    data[position % len(data)] ^= 0x10
    kept.store.put(name, bytes(data))

    assert [found.object for found in differences(kept)] == [name]


def test_an_object_that_the_registry_does_not_know_is_named(kept: Any, make_message: MakeMessage) -> None:
    name = kept.keep([make_message("7", ident="a")], index=False)

    assert differences(kept) == [Difference(name, "the registry does not know this object")]


def test_an_object_that_waits_for_the_trainer_is_no_difference(kept: Any, make_message: MakeMessage) -> None:
    name = kept.keep([make_message("7", ident="a")], index=False)
    with kept.registry.write() as sql:
        see_objects(sql, [StoredObject(name, "digits", "train")], now=datetime.now(UTC))
    tally = Tally()

    assert list(Verifier(kept.store, kept.registry).check(name, tally)) == []
    assert tally.waiting == 1


def test_a_row_without_its_object_is_named(kept: Any, make_message: MakeMessage) -> None:
    name = kept.keep([make_message("7", ident="a")])
    kept.store.delete(name)

    assert [found.object for found in differences(kept)] == [name]


def test_a_quarantined_object_is_named_with_the_reason(kept: Any, make_message: MakeMessage) -> None:
    name = kept.keep([make_message("7", ident="a")])
    with kept.registry.write() as sql:
        quarantine(sql, name, "it smells")

    assert differences(kept) == [Difference(name, "in quarantine: it smells")]


def test_a_sample_without_a_row_is_counted(kept: Any, make_message: MakeMessage) -> None:
    name = kept.keep([make_message("7", "8", ident="a")])
    with kept.registry.write() as sql:
        sql.execute(delete(samples).where(samples.c.label == "8"))

    said = [found.fault for found in differences(kept) if found.object == name]

    assert "1 of its samples are not in the registry" in said
    assert "the registry says 2 samples are new in it, but has 1 rows" in said


def test_a_sample_that_lies_elsewhere_is_named(kept: Any, make_message: MakeMessage) -> None:
    kept.keep([make_message("7", "8", ident="a")])
    with kept.registry.write() as sql:
        sql.execute(update(samples).where(samples.c.label == "8").values(sample_position=5))

    [found] = differences(kept)

    assert "lie elsewhere" in found.fault


def test_a_wrong_count_of_messages_is_named(kept: Any, make_message: MakeMessage) -> None:
    kept.keep([make_message("7", ident="a")])
    with kept.registry.write() as sql:
        sql.execute(update(objects).values(message_count=3))

    assert [found.fault for found in differences(kept)] == ["it holds 1 messages, the registry says 3"]


def test_the_command_ends_with_1_and_names_each_difference(
    kept: Any, make_message: MakeMessage, run: Callable[..., tuple[int, str]]
) -> None:
    kept.keep([make_message("7", ident="a")])
    unknown = kept.keep([make_message("8", ident="b")], hour=1, index=False)

    code, said = run("verify")

    assert code == 1
    assert said == f"{unknown}: the registry does not know this object\n"


def test_a_stopped_walk_goes_on_where_it_was(
    kept: Any, make_message: MakeMessage, run: Callable[..., tuple[int, str]]
) -> None:
    first = kept.keep([make_message("7", ident="a")], index=False)
    kept.keep([make_message("8", ident="b")], hour=1)
    at = kept.environment
    checkpoint = Checkpoint.of(kept.folder, "verify", at["TIDEMILL_STORE"], at["TIDEMILL_DATABASE"], None)
    checkpoint.save({"after": first, "tally": {"object_count": 1}, "differences": [["seen", "before"]]})

    resumed = run("verify")
    anew = run("verify", "--restart")

    assert resumed == (1, "seen: before\n")
    assert anew == (1, f"{first}: the registry does not know this object\n")


@pytest.fixture
def run(
    kept: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command line on the kept platform; gives exit code and standard output."""
    for name, value in kept.environment.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tidemill", "--data", str(Path(kept.folder)), *arguments])
        try:
            main()
        except SystemExit as done:
            return int(done.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    return call
