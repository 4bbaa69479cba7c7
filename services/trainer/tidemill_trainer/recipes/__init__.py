"""Recipes: one per kind of model. A recipe's module, and TensorFlow with it, is loaded when it is opened."""

from __future__ import annotations

from importlib import import_module

from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import ModelSpec

from tidemill_trainer.recipes.recipe import Recipe

KINDS = {
    "image_classifier": "tidemill_trainer.recipes.image_classifier:ImageClassifier",
    "text_classifier": "tidemill_trainer.recipes.text_classifier:TextClassifier",
}
"""Where the recipe of each kind stands, as ``module:class``."""


def open_recipe(spec: ModelSpec) -> Recipe:
    """The recipe of a model.

    Raises:
        InvalidInput: no recipe has this kind.
    """
    if spec.kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise InvalidInput(f"model {spec.name}: no kind {spec.kind!r}; there are: {known}", field="kind")
    module, _, name = KINDS[spec.kind].partition(":")
    recipe: Recipe = getattr(import_module(module), name)(spec)
    return recipe
