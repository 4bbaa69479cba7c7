"""The kinds for tables as behaviour: good enough, growing without a jump, sure about what is missing."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.samples import Sample
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.recipes.recipe import Examples, Recipe, Weights
from tidemill_trainer.recipes.table_knowledge import Knowledge
from tidemill_trainer.weights import dump_weights, load_weights, weights_digest

from tests.integration.trainer.kinds import Silent, file_digests
from tests.integration.trainer.tables import PENGUIN_COLUMNS, table_samples, table_spec

FOLDS = 2
SPECIES = ["Adelie", "Chinstrap", "Gentoo"]
IDLE = {"epochs_max": 1, "batch_size": 512, "learning_rate": 1e-12}


@pytest.fixture(scope="module")
def penguins(data_folder: Path) -> list[Sample]:
    return table_samples(data_folder / "tabular" / "penguins.csv", "species")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return open_recipe(table_spec("tabular_classifier", SPECIES, PENGUIN_COLUMNS))


def _examples(recipe: Recipe, samples: list[Sample]) -> Examples:
    return Examples(recipe.read(samples), recipe.targets([sample.label for sample in samples]))


@pytest.fixture(scope="module")
def weights(recipe: Recipe, penguins: list[Sample]) -> Weights:
    every = _examples(recipe, penguins[::2])
    return recipe.train(None, every, every, seed=1, watch=Silent())


def _number_columns(path: Path, label: str) -> dict[str, Any]:
    with path.open() as file:
        names = [name for name in next(csv.reader(file)) if name != label]
    return {re.sub(r"\W+", "_", name).strip("_"): {"type": "number", "source": name} for name in names}


def _plain(kind: Any, examples: Examples) -> tuple[Any, Any]:
    """scikit-learn's model with the usual preparation, and the rows as it takes them."""
    names = examples.inputs.dtype.names or ()
    numbers = [place for place, name in enumerate(names) if examples.inputs.dtype[name].kind == "f"]
    categories = [place for place in range(len(names)) if place not in numbers]
    rows = np.array([[*row] for row in examples.inputs.tolist()], object)
    prepared = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), categories),
    )
    return make_pipeline(prepared, kind), rows


def _right(recipe: Recipe, samples: list[Sample]) -> tuple[int, int]:
    """How many held samples of FOLDS parts our model, and logistic regression, answer rightly."""
    every = _examples(recipe, samples)
    parts = np.array([int(str(sample.id)[:8], 16) % FOLDS for sample in samples])
    ours = plain = 0
    for part in range(FOLDS):
        rest, held = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        tuning = np.arange(len(rest)) % 6 == 0
        train = every.take(rest[~tuning])
        weights = recipe.train(None, train, every.take(rest[tuning]), seed=1, watch=Silent())
        ours += int(recipe.score(weights, every.take(held)).merits.sum())
        model, rows = _plain(LogisticRegression(max_iter=1000), every)
        model.fit(rows[rest[~tuning]], every.targets[rest[~tuning]])
        plain += int((model.predict(rows[held]) == every.targets[held]).sum())
    return ours, plain


def test_flowers_wines_and_penguins_are_told_apart_as_well_as_by_logistic_regression(
    recipe: Recipe, penguins: list[Sample], data_folder: Path
) -> None:
    counts = {"penguins": _right(recipe, penguins)}
    for name in ("iris", "wine"):
        path = data_folder / "tabular" / f"{name}.csv"
        columns = _number_columns(path, "target")
        own = open_recipe(table_spec("tabular_classifier", ["0", "1", "2"], columns))
        counts[name] = _right(own, table_samples(path, "target"))

    # Together: a single table's answers differ by one row or two whichever way they are cut.
    assert sum(ours for ours, _ in counts.values()) >= sum(plain for _, plain in counts.values()), counts


def test_a_penguins_mass_is_told_as_well_as_by_linear_regression(data_folder: Path) -> None:
    columns = {name: type_ for name, type_ in PENGUIN_COLUMNS.items() if name != "body_mass_g"}
    recipe = open_recipe(table_spec("tabular_regressor", [], {**columns, "species": "category"}))
    samples = table_samples(data_folder / "tabular" / "penguins.csv", "body_mass_g")
    every = _examples(recipe, samples)
    held = np.arange(len(samples)) % 3 == 0
    train = every.take(np.flatnonzero(~held))

    weights = recipe.train(None, train, train, seed=1, watch=Silent())

    model, rows = _plain(LinearRegression(), every)
    plain = model.fit(rows[~held], every.targets[~held]).score(rows[held], every.targets[held])
    score = recipe.score(weights, every.take(np.flatnonzero(held)))
    assert score.accuracy >= plain - 0.01
    assert score.accuracy > 0.8
    assert score.loss == pytest.approx((1 - score.accuracy) * np.var(every.targets[held]))


def test_the_exported_model_answers_as_training_did_and_is_the_same_bytes_again(
    recipe: Recipe, weights: Weights, penguins: list[Sample], tmp_path: Path
) -> None:
    golden = recipe.golden(weights, penguins[:8])
    for folder in ("one", "two"):
        recipe.export(weights, tmp_path / folder)

    served = tf.saved_model.load(str(tmp_path / "one")).signatures["serving_default"]
    answered = served(
        **{
            name: tf.constant(given.values or given.byte_strings(), given.dtype)
            for name, given in golden.inputs.items()
        }
    )

    assert set(golden.inputs) == set(PENGUIN_COLUMNS)
    probabilities = answered["probabilities"].numpy()
    assert golden.difference({"probabilities": (probabilities.shape, probabilities.ravel().tolist())}) is None
    assert answered["label"].numpy()[0] == penguins[0].label.encode()
    assert file_digests(tmp_path / "one") == file_digests(tmp_path / "two")


def test_what_is_missing_or_unknown_is_answered_too_in_training_as_in_serving(
    recipe: Recipe, weights: Weights, tmp_path: Path
) -> None:
    sample = Sample(label="Gentoo", row={"flipper_length_mm": 230, "island": "Atlantis", "year": 2007})
    recipe.export(weights, tmp_path)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    given = {name: math.nan if type_ == "number" else "" for name, type_ in PENGUIN_COLUMNS.items()}
    given |= {"flipper_length_mm": 230.0, "island": "Atlantis"}

    answered = served(**{name: tf.constant([value]) for name, value in given.items()})

    loss = recipe.score(weights, _examples(recipe, [sample])).loss
    assert answered["probabilities"].numpy()[0, SPECIES.index("Gentoo")] == pytest.approx(math.exp(-loss))
    assert answered["label"].numpy()[0] == b"Gentoo"


def test_later_rows_move_scales_and_add_categories_without_changing_an_answer(
    recipe: Recipe, weights: Weights, penguins: list[Sample]
) -> None:
    heavy = [
        sample.model_copy(
            update={"row": {**(sample.row or {}), "body_mass_g": 9000.0 + place, "sex": "unknown"}}
        )
        for place, sample in enumerate(penguins[1::2])
    ]
    later, before = _examples(recipe, heavy), _examples(recipe, penguins[::2])
    idle = open_recipe(table_spec("tabular_classifier", SPECIES, PENGUIN_COLUMNS, training=IDLE))

    grown = idle.train(weights, later, before, seed=2, watch=Silent())

    old, new = Knowledge.of(weights), Knowledge.of(grown)
    assert new.centre[3] > old.centre[3] + 1000
    assert b"unknown" in new.categories.tolist()
    np.testing.assert_allclose(
        recipe.score(grown, before).losses, recipe.score(weights, before).losses, atol=1e-4
    )


def test_a_regression_goes_on_from_its_champion_when_its_targets_move() -> None:
    columns = {"x": "number"}
    recipe = open_recipe(table_spec("tabular_regressor", [], columns))
    idle = open_recipe(table_spec("tabular_regressor", [], columns, training=IDLE))
    near = _examples(recipe, [Sample(label=str(3 * x + 1), row={"x": x}) for x in range(40)])
    far = _examples(recipe, [Sample(label=str(3 * x + 1), row={"x": x}) for x in range(40, 140)])
    weights = recipe.train(None, near, near, seed=1, watch=Silent())

    carried = idle.train(weights, far, near, seed=2, watch=Silent())

    np.testing.assert_allclose(
        recipe.score(carried, near).predicted, recipe.score(weights, near).predicted, atol=0.01
    )
    assert recipe.score(weights, near).accuracy > 0.98


def test_the_same_data_and_seed_give_the_same_weights_and_they_survive_their_file(
    recipe: Recipe, weights: Weights, penguins: list[Sample]
) -> None:
    every = _examples(recipe, penguins[::2])

    again = open_recipe(table_spec("tabular_classifier", SPECIES, PENGUIN_COLUMNS)).train(
        None, every, every, seed=1, watch=Silent()
    )

    loaded = load_weights(dump_weights(weights), "w")
    assert weights_digest(again) == weights_digest(weights) == weights_digest(loaded)
    assert recipe.fits(loaded)
    assert not open_recipe(table_spec("tabular_classifier", SPECIES[:2], PENGUIN_COLUMNS)).fits(loaded)
    assert not open_recipe(table_spec("tabular_classifier", SPECIES, {"year": "number"})).fits(loaded)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"body_mass_g": "heavy"}, "body_mass_g: 'heavy' is not a number"),
        ({"body_mass_g": 1e39}, "beyond float32"),
        ({"island": "x" * 200}, "at most 128 bytes"),
        ({"island": "a\0b"}, "none of them zero"),
    ],
)
def test_a_value_of_another_type_has_a_fault_that_names_its_column(
    recipe: Recipe, row: dict[str, Any], said: str
) -> None:
    faults = recipe.faults([Sample(label="Gentoo", row=row), Sample(label="Gentoo", row={"sex": None})])

    assert said in (faults[0] or "")
    assert faults[1] is None


def test_a_sample_of_another_kind_and_a_label_that_is_no_number_have_faults(recipe: Recipe) -> None:
    regression = open_recipe(table_spec("tabular_regressor", [], {"x": "number"}))

    assert recipe.faults([Sample(label="Gentoo", text="a penguin")]) == ["the sample is not a row"]
    for label in ("tall", "nan", "inf", "1e40"):
        assert "is not a number" in (regression.faults([Sample(label=label, row={"x": 1})])[0] or "")
    with pytest.raises(InvalidInput):
        recipe.read([Sample(label="Gentoo", image="aGk=")])
