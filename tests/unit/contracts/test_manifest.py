"""Manifest, labels and model spec."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError
from tidemill_contracts.errors import Conflict, Corrupt, InvalidInput
from tidemill_contracts.manifest import (
    Labels,
    Manifest,
    StoredFile,
    change_labels,
    dump_document,
    parse_document,
    read_labels,
    write_labels,
)
from tidemill_contracts.memory_objects import MemoryStore
from tidemill_contracts.model_spec import TrainingSpec, load_spec, load_specs
from tidemill_contracts.objects import ABSENT

DIGEST = "0" * 64
MODELS = Path(__file__).parents[3] / "models"


def manifest(*paths: str) -> Manifest:
    files = tuple(StoredFile(path=path, size_bytes=1, sha256=DIGEST) for path in paths)
    return Manifest(model="digits", version=1, created_at=datetime.now(UTC), round_id="r", files=files)


def test_the_digest_names_the_content_whatever_the_order() -> None:
    assert manifest("a", "b").digest == manifest("b", "a").digest != manifest("a", "c").digest


def test_a_manifest_survives_the_store() -> None:
    made = manifest("saved_model.pb")

    assert parse_document(Manifest, dump_document(made), "m") == made


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "./a", "a b", "ü", "x" * 600]
)
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        manifest(path)


def test_a_broken_document_is_corrupt() -> None:
    with pytest.raises(Corrupt, match=r"manifest\.json"):
        parse_document(Manifest, b'{"format": 2}', "manifest.json")


def test_promotion_moves_stable_to_previous() -> None:
    assert Labels(stable=1, candidate=2).promote(2) == Labels(stable=2, previous=1)
    assert Labels(candidate=1).promote(1) == Labels(stable=1)
    assert Labels(stable=2, previous=1).promote(2) == Labels(stable=2, previous=1)
    assert Labels(stable=1, candidate=3).promote(2) == Labels(stable=2, previous=1, candidate=3)


def test_two_changers_do_not_overwrite_each_other() -> None:
    store = MemoryStore()
    _, generation = read_labels(store, "digits")
    write_labels(store, "digits", Labels(stable=1), over_generation=generation)

    with pytest.raises(Conflict):
        write_labels(store, "digits", Labels(stable=2), over_generation=ABSENT)


def test_a_change_that_was_overtaken_is_decided_again() -> None:
    store = MemoryStore()
    overtakers = [Labels(stable=5)]

    def change(labels: Labels) -> Labels:
        while overtakers:
            change_labels(store, "digits", lambda _: overtakers.pop())
        return labels.model_copy(update={"candidate": 7})

    assert change_labels(store, "digits", change) == Labels(stable=5, candidate=7)


def test_a_change_that_is_always_overtaken_gives_up() -> None:
    store = MemoryStore()
    version = 0

    def change(labels: Labels) -> Labels:
        nonlocal version
        version += 1
        write_labels(store, "digits", Labels(stable=version), over_generation=read_labels(store, "digits")[1])
        return Labels(candidate=1)

    with pytest.raises(Conflict, match="times while"):
        change_labels(store, "digits", change)


def test_every_model_of_the_project_loads() -> None:
    assert "digits" in load_specs(MODELS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "model"),
        ("name: [", "not YAML"),
        ("name: x\nkind: image_classifier\ndataset: d\nlabels: [a, b]\n", "needs `input`"),
        ("name: x\nkind: k\ndataset: d\nlabels: [a, a]\n", "distinct"),
        ("name: x\nkind: k\ndataset: d\nlabels: [a, b]\nsede: 3\n", "sede"),
        ("name: X\nkind: k\ndataset: d\nlabels: [a, b]\n", "name"),
        ("name: x\nkind: k\ndataset: d\nlabels: [a, b]\nround: {samples_min: 9, samples_max: 3}\n", "round"),
    ],
)
def test_a_wrong_model_is_refused_by_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)

    with pytest.raises(InvalidInput, match=said) as refused:
        load_spec(path)

    assert "m.yaml" in str(refused.value)


def test_an_empty_folder_of_models_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="put one YAML file per model there"):
        load_specs(tmp_path)


def test_a_warm_training_is_short_unless_its_examples_are_few() -> None:
    spec = TrainingSpec(epochs_max=10, epochs_warm_max=3)

    assert [spec.epochs(count, warm=True) for count in (0, 1000, 4000, 6000, 100_000)] == [10, 10, 5, 4, 3]
    assert spec.epochs(100_000, warm=False) == 10
    assert TrainingSpec(epochs_max=10).epochs(100_000, warm=True) == 10
    assert TrainingSpec(epochs_max=2, epochs_warm_max=3).epochs(100_000, warm=True) == 2


def test_a_training_that_goes_on_may_begin_at_a_rate_of_its_own() -> None:
    plain, own = TrainingSpec(learning_rate=0.002), TrainingSpec(learning_rate_warm=0.0005)

    assert (plain.rate(warm=False), plain.rate(warm=True)) == (0.002, 0.002)
    assert (own.rate(warm=False), own.rate(warm=True)) == (0.001, 0.0005)


def test_a_training_that_goes_on_may_take_larger_batches() -> None:
    plain, own = TrainingSpec(batch_size=32), TrainingSpec(batch_size=32, batch_size_warm=64)

    assert (plain.batch(warm=False), plain.batch(warm=True)) == (32, 32)
    assert (own.batch(warm=False), own.batch(warm=True)) == (32, 64)
