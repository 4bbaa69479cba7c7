"""The image classifier as behaviour: one way of reading, repeatable, exported as it was trained."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import ImageInput, ModelSpec
from tidemill_contracts.samples import Sample
from tidemill_trainer.recipes import image_classifier, open_recipe
from tidemill_trainer.recipes.image_classifier import ImageClassifier
from tidemill_trainer.recipes.image_network import build_network
from tidemill_trainer.recipes.recipe import Examples, Score, State, Weights
from tidemill_trainer.recipes.runtime import precision
from tidemill_trainer.weights import weights_digest

from tests.integration.trainer.kinds import Silent

Encode = Callable[..., bytes]


def sample(image: bytes) -> Sample:
    return Sample(label="1", image=base64.b64encode(image).decode())


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def recipe() -> ImageClassifier:
    return ImageClassifier(_spec())


def _spec(**changes: Any) -> ModelSpec:
    parts = {
        "name": "digits",
        "kind": "image_classifier",
        "dataset": "digits",
        "labels": [str(digit) for digit in range(10)],
        "input": {"height": 28, "width": 28, "channels": 1},
        "training": {"epochs_max": 4, "batch_size": 32, "learning_rate": 0.002, "augment": True},
    }
    return ModelSpec.model_validate({**parts, **changes})


@pytest.fixture(scope="module")
def examples(recipe: ImageClassifier, digits: Any, digit_samples: list[Sample]) -> tuple[Examples, Examples]:
    """600 digits to train on, 200 to validate."""
    inputs = recipe.read(digit_samples[:800])
    return Examples(inputs[:600], digits[1][:600]), Examples(inputs[600:], digits[1][600:800])


@pytest.fixture(scope="module")
def weights(recipe: ImageClassifier, examples: tuple[Examples, Examples]) -> Weights:
    return recipe.train(None, *examples, seed=1, watch=Silent())


@pytest.fixture(scope="module")
def exported(recipe: ImageClassifier, weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    recipe.export(weights, folder)
    return folder


def test_digits_are_read_pixel_by_pixel(recipe: ImageClassifier, digits: Any, digit_samples: Any) -> None:
    assert (recipe.read(digit_samples[:300])[..., 0] == digits[0][:300]).all()


def test_colour_size_and_format_are_brought_to_what_the_model_wants(
    recipe: ImageClassifier, digits: Any, encoded: Encode
) -> None:
    grey = digits[0][0]
    colour = np.repeat(grey[..., None], 3, axis=2)
    large = np.asarray(Image.fromarray(grey).resize((112, 84), Image.Resampling.NEAREST))
    files = [encoded(colour), encoded(large), encoded(grey, "JPEG", quality=100), encoded(large, "JPEG")]

    read = recipe.read([sample(file) for file in files])

    assert read.shape == (4, 28, 28, 1)
    for image in read[..., 0].astype(int):
        assert np.abs(image - grey).mean() < 12


def test_grey_images_serve_a_model_of_colours(digits: Any, encoded: Encode) -> None:
    size = ImageInput(height=32, width=48, channels=3)

    read = ImageClassifier(_spec(input=size)).read([sample(encoded(digits[0][0]))])

    assert read.shape == (1, 32, 48, 3)
    assert (read[..., 0] == read[..., 2]).all()


def test_each_broken_image_has_a_fault_and_its_neighbours_none(
    recipe: ImageClassifier, digits: Any, encoded: Encode
) -> None:
    png, jpeg = encoded(digits[0][0]), encoded(digits[0][0], "JPEG")
    bomb = io.BytesIO()
    Image.new("L", (20_000, 20_000)).save(bomb, "PNG")
    animation = io.BytesIO()
    Image.new("L", (8, 8)).save(animation, "GIF")
    broken = [png[:100], jpeg[:200], b"plain text", b"", png[:8], bomb.getvalue(), animation.getvalue()]

    faults = recipe.faults([sample(file) for file in [png, *(each or b"\0" for each in broken), jpeg]])

    assert [fault is None for fault in faults] == [True, *[False] * len(broken), True]


def test_a_sample_of_another_kind_has_a_fault(recipe: ImageClassifier) -> None:
    assert recipe.faults([Sample(label="1", text="one")]) == ["the sample is not an image"]
    with pytest.raises(InvalidInput):
        recipe.read([Sample(label="1", image="%%%")])


def test_it_learns_digits_better_than_guessing(
    recipe: ImageClassifier, weights: Weights, examples: tuple[Examples, Examples]
) -> None:
    score = recipe.score(weights, examples[1])

    assert score.accuracy > 0.75
    assert score.loss < 1.0


def test_the_same_data_and_seed_give_the_same_weights_whatever_was_trained_before(
    weights: Weights, examples: tuple[Examples, Examples]
) -> None:
    other = ImageClassifier(_spec())
    other.train(None, *examples, seed=2, watch=Silent())

    again = other.train(None, *examples, seed=1, watch=Silent())

    assert weights_digest(again) == weights_digest(weights)


def test_a_warm_start_goes_on_where_the_champion_stood(
    recipe: ImageClassifier, weights: Weights, examples: tuple[Examples, Examples]
) -> None:
    cold, warm = Silent(), Silent()

    recipe.train(None, *examples, seed=3, watch=cold)
    found = recipe.train(weights, *examples, seed=3, watch=warm)

    assert warm.scores[0].loss < cold.scores[0].loss / 2
    # Mixtures of champion and challenger were tried too, and only a better one is taken.
    least = min(score.bounded_loss for score in warm.scores)
    assert recipe.score(found, examples[1]).bounded_loss <= least + 1e-6


class Counting(Silent):
    """Counts the steps, and ends the training with the first epoch."""

    steps = 0

    def step(self) -> None:
        self.steps += 1

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        raise Killed


def test_a_warm_training_takes_larger_steps_where_the_yaml_says_so(
    weights: Weights, examples: tuple[Examples, Examples]
) -> None:
    recipe = ImageClassifier(_spec(training={"batch_size": 60, "batch_size_warm": 150}))
    cold, warm = Counting(), Counting()

    for start, watch in ((None, cold), (weights, warm)):
        with pytest.raises(Killed):
            recipe.train(start, *examples, seed=1, watch=watch)

    assert (cold.steps, warm.steps) == (10, 4)


def test_weights_of_another_shape_do_not_fit(recipe: ImageClassifier, weights: Weights) -> None:
    assert recipe.fits(weights)
    assert not ImageClassifier(_spec(labels=["a", "b"])).fits(weights)


def test_both_signatures_and_the_golden_answers_agree_with_training(
    recipe: ImageClassifier, weights: Weights, exported: Path, digits: Any, digit_samples: list[Sample]
) -> None:
    served = tf.saved_model.load(str(exported))
    some = digit_samples[600:650]
    golden = recipe.golden(weights, some)

    images = served.signatures["serving_default"](image_bytes=tf.constant([each.content() for each in some]))
    pixels = served.signatures["pixels"](pixels=tf.constant(digits[0][600:650, ..., None]))

    expected = np.array(golden.outputs["probabilities"].values).reshape(50, 10)
    np.testing.assert_allclose(images["probabilities"].numpy(), expected, atol=1e-6)
    np.testing.assert_array_equal(images["probabilities"].numpy(), pixels["probabilities"].numpy())
    best = expected.argmax(axis=1)
    assert images["label"].numpy().tolist() == [str(digit).encode() for digit in best]


def test_the_served_graph_refuses_what_is_no_image(exported: Path) -> None:
    served = tf.saved_model.load(str(exported))

    with pytest.raises(tf.errors.InvalidArgumentError):
        served.signatures["serving_default"](image_bytes=tf.constant([b"plain text"]))


def test_the_same_weights_are_exported_as_the_same_bytes(
    recipe: ImageClassifier, weights: Weights, exported: Path, tmp_path: Path
) -> None:
    recipe.export(weights, tmp_path)

    def digests(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    assert digests(tmp_path) == digests(exported)


def test_a_larger_input_gets_more_stages_not_a_larger_head() -> None:
    small = build_network(ImageInput(height=28, width=28, channels=1), 10)
    large = build_network(ImageInput(height=224, width=224, channels=3), 10)

    assert small.count_params() == 29_066
    assert large.count_params() < 200_000


def test_a_kind_without_a_recipe_is_refused() -> None:
    with pytest.raises(InvalidInput, match="image_classifier"):
        open_recipe(_spec(kind="fortune_teller"))


class Keeping(Silent):
    """Keeps the state as a round does; may die at an epoch's end."""

    def __init__(self, dies_after: int | None = None, state: State | None = None) -> None:
        super().__init__()
        self.state = state
        self._dies_after = dies_after

    def keep(self, state: State) -> None:
        self.state = state

    def kept(self) -> State | None:
        return self.state

    def epoch(self, number: int, tuning: Score, *, train_loss: float) -> None:
        super().epoch(number, tuning, train_loss=train_loss)
        if number == self._dies_after:
            raise Killed


@pytest.mark.parametrize(("dies_after", "is_warm"), [(1, False), (3, True)])
def test_a_training_that_was_killed_goes_on_and_ends_with_the_same_weights(
    recipe: ImageClassifier,
    weights: Weights,
    examples: tuple[Examples, Examples],
    dies_after: int,
    is_warm: bool,
) -> None:
    start = weights if is_warm else None
    straight = recipe.train(weights, *examples, seed=1, watch=Silent()) if is_warm else weights
    first = Keeping(dies_after)
    with pytest.raises(Killed):
        recipe.train(start, *examples, seed=1, watch=first)

    second = Keeping(state=first.state)
    again = recipe.train(start, *examples, seed=1, watch=second)

    assert len(second.scores) == 4 - dies_after
    assert weights_digest(again) == weights_digest(straight)


def test_half_precision_trains_weights_that_a_whole_network_can_use(
    recipe: ImageClassifier, examples: tuple[Examples, Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_classifier, "precision", lambda: precision("mixed_float16"))
    train, tuning = examples

    some = recipe.train(None, train.take(np.arange(200)), tuning, seed=1, watch=Silent())

    assert {each.dtype for each in some} == {np.dtype("float32")}
    assert recipe.fits(some)
    assert recipe.score(some, tuning).accuracy > 0.3
    assert keras.config.dtype_policy().name == "float32"
