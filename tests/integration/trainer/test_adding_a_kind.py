"""docs/adding-a-kind.md does what it says, from the package's entry point to the exported model."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import ModelSpec
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.recipes.recipe import Examples

from tests.integration.trainer.kinds import Silent, file_digests
from tests.integration.trainer.tables import table_samples

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-kind.md"
LINES_MAX = 60


def _block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def _install(folder: Path, name: str, entry: str) -> None:
    """What pip leaves of a package: its module, and its metadata."""
    (folder / f"{name}.py").write_text(_block("python"), "utf-8")
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[tidemill.kinds]\n{entry}\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    _install(tmp_path, "nearest_mean", _block("toml").splitlines()[1].replace('"', ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("nearest_mean", None)


@pytest.fixture
def spec() -> ModelSpec:
    return ModelSpec.model_validate(yaml.safe_load(_block("yaml")))


def test_the_page_shows_a_whole_kind_in_sixty_lines() -> None:
    assert len(_block("python").splitlines()) <= LINES_MAX


def test_the_kind_of_the_page_trains_and_its_export_answers_as_training_did(
    installed: Path, spec: ModelSpec, data_folder: Path, tmp_path: Path
) -> None:
    samples = table_samples(data_folder / "tabular" / "iris.csv", "target")
    recipe: Any = open_recipe(spec)
    assert recipe.faults([*samples[:1], samples[0].model_copy(update={"row": {"petal": 1}})])[0] is None
    every = Examples(recipe.read(samples), recipe.targets([sample.label for sample in samples]))
    train, held = every.take(np.arange(0, 150, 2)), every.take(np.arange(1, 150, 2))

    weights = recipe.train(None, train, held, seed=1, watch=Silent())
    more = recipe.train(weights, train, held, seed=1, watch=Silent())
    for folder in ("one", "two"):
        recipe.export(weights, tmp_path / folder)

    assert recipe.score(weights, held).accuracy > 0.9
    assert recipe.fits(more)
    golden = recipe.golden(weights, samples[:8])
    served = tf.saved_model.load(str(tmp_path / "one")).signatures["serving_default"]
    answered = served(row=tf.constant(recipe.read(samples[:8])))["probabilities"].numpy()
    assert golden.difference({"probabilities": (answered.shape, answered.ravel().tolist())}) is None
    assert file_digests(tmp_path / "one") == file_digests(tmp_path / "two")


def test_a_kind_that_two_packages_claim_is_refused(installed: Path, spec: ModelSpec) -> None:
    _install(installed, "other", "nearest_mean = other:NearestMean")

    with pytest.raises(InvalidInput, match=r"nearest_mean:NearestMean and other:NearestMean|claimed by"):
        open_recipe(spec)


def test_a_kind_whose_package_is_broken_is_refused_by_name(installed: Path, spec: ModelSpec) -> None:
    (installed / "nearest_mean.py").write_text("import no_such_module")

    with pytest.raises(InvalidInput, match="no_such_module"):
        open_recipe(spec)
