"""The text classifier as behaviour: good enough, repeatable, growing, and never without an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import ModelSpec
from tidemill_contracts.samples import Sample
from tidemill_trainer.recipes import open_recipe
from tidemill_trainer.recipes.recipe import Examples, Weights
from tidemill_trainer.recipes.text_classifier import TextClassifier
from tidemill_trainer.recipes.text_reading import make_table, read_ngrams
from tidemill_trainer.recipes.text_vocabulary import NGRAMS_MAX, grow, pack, unpack
from tidemill_trainer.weights import dump_weights, load_weights, weights_digest

from tests.integration.trainer.kinds import Silent, file_digests
from tests.integration.trainer.sentences import review_samples

TENTHS = (0, 9)
FIRST = [
    *(("a dull and empty film", "negative"), ("dull , long , dull", "negative")),
    *(("a warm and funny film", "positive"), ("funny ! warm and wise", "positive")),
] * 5


def _spec(**changes: Any) -> ModelSpec:
    parts = {
        "name": "reviews",
        "kind": "text_classifier",
        "dataset": "reviews",
        "labels": ["negative", "positive"],
        "training": {"epochs_max": 8, "batch_size": 64, "learning_rate": 0.003},
    }
    return ModelSpec.model_validate({**parts, **changes})


def _samples(*pairs: tuple[str, str]) -> list[Sample]:
    return [Sample(label=label, text=text) for text, label in pairs]


@pytest.fixture(scope="module")
def recipe() -> TextClassifier:
    return TextClassifier(_spec())


def _examples(recipe: TextClassifier, samples: list[Sample]) -> Examples:
    return Examples(recipe.read(samples), recipe.targets([sample.label for sample in samples]))


@pytest.fixture(scope="module")
def first(recipe: TextClassifier) -> Examples:
    return _examples(recipe, _samples(*FIRST))


@pytest.fixture(scope="module")
def weights(recipe: TextClassifier, first: Examples) -> Weights:
    return recipe.train(None, first, first, seed=1, watch=Silent())


def test_film_reviews_are_judged_as_well_as_by_logistic_regression(
    recipe: TextClassifier, data_folder: Path
) -> None:
    samples = review_samples(data_folder)
    tenths = np.array([int(str(sample.id)[:8], 16) % 10 for sample in samples])
    every = _examples(recipe, samples)
    ours, plain = [], []

    # Tenths by the hash of each text. A thousand sentences tell an accuracy to 0.013 only.
    for tenth in TENTHS:
        rest, held = every.take(np.flatnonzero(tenths != tenth)), every.take(np.flatnonzero(tenths == tenth))
        tuning_rows = np.arange(len(rest)) % 10 == 0
        tuning, train = rest.take(np.flatnonzero(tuning_rows)), rest.take(np.flatnonzero(~tuning_rows))
        weights = recipe.train(None, train, tuning, seed=7, watch=Silent())
        ours.append(recipe.score(weights, held).accuracy)
        words = TfidfVectorizer()
        regression = LogisticRegression(max_iter=1000).fit(words.fit_transform(rest.inputs), rest.targets)
        plain.append(regression.score(words.transform(held.inputs), held.targets))

    assert min(ours) >= 0.77, ours
    assert np.mean(ours) >= np.mean(plain) - 0.02, (ours, plain)


def test_every_naughty_string_gets_an_answer(
    recipe: TextClassifier, weights: Weights, data_folder: Path, tmp_path: Path
) -> None:
    strings = json.loads((data_folder / "naughty_strings" / "blns.json").read_text("utf-8"))
    texts = [text.encode("utf-8", "surrogatepass") for text in strings]
    texts += [b"", b"\xff\xfe\x80", b"\0", b"word " * 100_000, "泰山 🎬".encode()]
    recipe.export(weights, tmp_path)

    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](text=tf.constant(texts))

    assert np.isfinite(served["probabilities"].numpy()).all()
    assert served["probabilities"].shape == (len(texts), 2)
    assert set(served["label"].numpy()) <= {b"negative", b"positive"}


def test_the_exported_model_answers_as_training_did_and_is_the_same_bytes_again(
    recipe: TextClassifier, weights: Weights, tmp_path: Path
) -> None:
    some = _samples(("a dull film", "negative"), ("WARM, funny", "positive"), ("", "positive"))
    golden = recipe.golden(weights, some)
    recipe.export(weights, tmp_path / "one")
    TextClassifier(_spec()).export(weights, tmp_path / "two")

    served = tf.saved_model.load(str(tmp_path / "one")).signatures["serving_default"]
    answered = served(text=tf.constant(golden.inputs["text"].byte_strings()))

    expected = np.array(golden.outputs["probabilities"].values).reshape(3, 2)
    np.testing.assert_allclose(answered["probabilities"].numpy(), expected, atol=1e-6)
    assert answered["label"].numpy()[:2].tolist() == [b"negative", b"positive"]
    assert file_digests(tmp_path / "one") == file_digests(tmp_path / "two")


def test_two_versions_in_one_process_keep_their_own_words(recipe: TextClassifier, tmp_path: Path) -> None:
    answers = []
    for number, words in enumerate((["good", "bad"], ["bad", "good"])):
        table = np.array([[0, 0], [-5, 5], [5, -5]], np.float32)
        recipe.export(
            [pack([word.encode() for word in words]), table, np.zeros(2, np.float32)], tmp_path / str(number)
        )
        answers.append(tf.saved_model.load(str(tmp_path / str(number))))

    labels = [
        each.signatures["serving_default"](text=tf.constant(["good"]))["label"].numpy()[0] for each in answers
    ]

    assert labels == [b"positive", b"negative"]


def test_new_words_join_behind_the_known_ones_and_change_no_answer_without_them(
    recipe: TextClassifier, weights: Weights, first: Examples
) -> None:
    known = unpack(weights[0])
    later = _examples(recipe, _samples(("tedious tosh", "negative"), ("a gem", "positive")) * 10)
    idle = TextClassifier(_spec(training={"epochs_max": 1, "learning_rate": 1e-12}))

    grown = idle.train(weights, later, first, seed=2, watch=Silent())

    assert unpack(grown[0])[: len(known)] == known
    assert b"tedious tosh" in unpack(grown[0])[len(known) :]
    np.testing.assert_allclose(
        recipe.score(grown, first).losses, recipe.score(weights, first).losses, atol=1e-6
    )


def test_what_a_later_round_brings_is_learned_and_the_earlier_is_kept(
    recipe: TextClassifier, weights: Weights, first: Examples
) -> None:
    later = _samples(("tedious tosh", "negative"), ("a gem", "positive")) * 10
    both = _examples(recipe, [*later, *_samples(*FIRST)])

    grown = recipe.train(weights, both, both, seed=2, watch=Silent())

    assert recipe.score(weights, _examples(recipe, later)).accuracy < 1
    assert recipe.score(grown, both).accuracy == 1


def test_the_same_data_and_seed_give_the_same_weights_and_they_survive_their_file(
    recipe: TextClassifier, weights: Weights, first: Examples
) -> None:
    again = TextClassifier(_spec()).train(None, first, first, seed=1, watch=Silent())

    assert weights_digest(again) == weights_digest(weights)
    loaded = load_weights(dump_weights(weights), "w")
    assert weights_digest(loaded) == weights_digest(weights)
    assert recipe.fits(loaded)
    assert not TextClassifier(_spec(labels=["a", "b", "c"])).fits(loaded)


def test_texts_are_read_word_by_word_pair_by_pair_and_by_the_beginnings_of_long_words() -> None:
    read = read_ngrams(tf.constant(["Isn't it 'GREAT' ?!", "好片", "", "tediously été"])).to_list()

    words = ["isn't", "it", "great", "?", "!"]
    pairs = ["< isn't", "isn't it", "it great", "great ?", "? !", "! >"]
    assert [[each.decode() for each in row] for row in read] == [
        words + pairs,
        ["好", "片", "< 好", "好 片", "片 >"],
        ["< >"],
        ["tediously", "été", "< tediously", "tediously été", "été >", "tedio~"],
    ]


def test_a_full_vocabulary_takes_the_most_frequent_and_then_no_more() -> None:
    known = [str(number).encode() for number in range(NGRAMS_MAX - 1)]

    grown = grow(known, [[b"rare", b"often"], [b"often"]])

    assert grown == [*known, b"often"]
    assert grow(grown, [[b"rare"]]) == grown


def test_a_sample_of_another_kind_has_a_fault(recipe: TextClassifier) -> None:
    assert recipe.faults([Sample(label="positive", row={"a": 1}), *_samples(("", "negative"))]) == [
        "the sample is not a text",
        None,
    ]
    with pytest.raises(InvalidInput):
        recipe.read([Sample(label="positive", row={"a": 1})])


def test_the_kind_is_opened_by_its_name() -> None:
    assert isinstance(open_recipe(_spec()), TextClassifier)


def test_a_vocabulary_that_nobody_holds_leaves_the_memory() -> None:
    """Bug: every measuring left its table behind, 20 MB for 100,000 n-grams.

    TensorFlow keeps a table that has a name as long as the process lives, and counts the holders of one that
    has none.
    """
    assert make_table([b"film"])._is_anonymous
