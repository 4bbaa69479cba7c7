"""Recipes: one per kind of model. A recipe's module, and TensorFlow with it, is loaded when it is opened."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_spec import ModelSpec

from tidemill_trainer.recipes.recipe import Recipe

GROUP = "tidemill.kinds"
"""The group of entry points by which any installed package adds kinds; docs/adding-a-kind.md shows one."""
KINDS = {
    "image_classifier": "tidemill_trainer.recipes.image_classifier:ImageClassifier",
    "text_classifier": "tidemill_trainer.recipes.text_classifier:TextClassifier",
    "tabular_classifier": "tidemill_trainer.recipes.tabular_classifier:TabularClassifier",
    "tabular_regressor": "tidemill_trainer.recipes.tabular_regressor:TabularRegressor",
}
"""Where the recipe of each kind of our own stands, as ``module:class``."""


def open_recipe(spec: ModelSpec) -> Recipe:
    """The recipe of a model.

    Raises:
        InvalidInput: no recipe has this kind, two packages claim it, or its package cannot be loaded.
    """
    known = _known_kinds()
    found = known.get(spec.kind, [])
    if not found:
        names = ", ".join(sorted(known))
        raise InvalidInput(f"model {spec.name}: no kind {spec.kind!r}; there are: {names}", field="kind")
    if len({each.value for each in found}) > 1:
        said = " and ".join(sorted(each.value for each in found))
        raise InvalidInput(f"kind {spec.kind!r} is claimed by {said}: uninstall or rename one", field="kind")
    try:
        make = found[0].load()
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            f"kind {spec.kind!r} cannot be loaded from {found[0].value}: {error}", field="kind"
        ) from error
    recipe: Recipe = make(spec)
    return recipe


def _known_kinds() -> dict[str, list[EntryPoint]]:
    """Every kind with all who claim it: ours first."""
    known = {name: [EntryPoint(name, value, GROUP)] for name, value in KINDS.items()}
    for each in entry_points(group=GROUP):
        known.setdefault(each.name, []).append(each)
    return known
