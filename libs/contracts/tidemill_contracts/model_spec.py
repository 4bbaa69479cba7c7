"""A model's YAML: what it learns, from which dataset, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tidemill_contracts.envelope import field_path
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.model_input import Column, ImageInput, ModelInput, TableInput
from tidemill_contracts.samples import Name

__all__ = ["Column", "ImageInput", "ModelSpec", "TableInput", "load_spec", "load_specs"]

SPEC_BYTES_MAX = 256 * 1024
WARM_EXAMPLES = 20_000
"""A warm training may look at so many, each time counted, whatever its epochs: five seconds for digits."""
TABLE_KINDS = ("tabular_classifier", "tabular_regressor")


Metric = Literal["accuracy", "loss"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitSpec(_Part):
    """Which share of the training samples validates; chosen by a hash of the sample's id, for ever."""

    validation_percent: Annotated[int, Field(ge=1, le=50)] = 15


class RoundSpec(_Part):
    """When a round opens: with `samples_min` new samples, or when the oldest has waited `age_s_max`."""

    samples_min: Annotated[int, Field(ge=1)] = 500
    samples_max: Annotated[int, Field(ge=1)] = 5000
    age_s_max: Annotated[float, Field(gt=0)] = 60.0

    @model_validator(mode="after")
    def _min_below_max(self) -> RoundSpec:
        if self.samples_min > self.samples_max:
            raise ValueError(f"samples_min {self.samples_min} is over samples_max {self.samples_max}")
        return self


class TrainingSpec(_Part):
    """How a challenger is trained.

    epochs_max: of a training that begins from nothing. epochs_warm_max: of one that goes on from a champion,
        which has most of it behind it already; as many as `epochs_max` where it is not given.
    batch_size: samples per step. batch_size_warm: of a training that goes on from a champion: it needs no
        small steps any more, and larger ones cost less; the same if not given.
    learning_rate: at the beginning; it falls to a twentieth by the last step. learning_rate_warm: of a
        training that goes on from a champion: lower so as not to throw it off, or higher with larger
        batches; the same if not given.
    rehearsal_ratio: older samples that join, per new one, against forgetting.
    patience: epochs without a better loss on the tuning samples before training stops.
    tuning_percent: training samples that choose the epoch instead of training, by a hash of their content.
        The gate's validation samples choose nothing, so that their measure stays honest.
    """

    epochs_max: Annotated[int, Field(ge=1, le=1000)] = 10
    epochs_warm_max: Annotated[int | None, Field(ge=1, le=1000)] = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    batch_size_warm: Annotated[int | None, Field(ge=1, le=4096)] = None
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    learning_rate_warm: Annotated[float | None, Field(gt=0, le=1)] = None
    rehearsal_ratio: Annotated[float, Field(ge=0, le=100)] = 1.0
    patience: Annotated[int, Field(ge=1)] = 3
    tuning_percent: Annotated[int, Field(ge=1, le=50)] = 10
    augment: bool = False

    def rate(self, *, warm: bool) -> float:
        """The learning rate that a training begins with."""
        return self.learning_rate_warm if warm and self.learning_rate_warm else self.learning_rate

    def batch(self, *, warm: bool) -> int:
        """How many samples a step of a training has."""
        return self.batch_size_warm if warm and self.batch_size_warm else self.batch_size

    def epochs(self, example_count: int, *, warm: bool) -> int:
        """How many epochs a training may have; warm: it goes on from a champion.

        Where there are few examples, a warm one has more than `epochs_warm_max`: they cost little.
        """
        if not warm or self.epochs_warm_max is None:
            return self.epochs_max
        affordable = -(-WARM_EXAMPLES // max(1, example_count))
        return min(self.epochs_max, max(self.epochs_warm_max, affordable))


class GateSpec(_Part):
    """When a challenger is let through.

    metric: accuracy, of a regression R²; or loss, which sees more than right and wrong: where nearly all is
        right, single samples decide an accuracy. A lower loss whose accuracy surely fell is refused.
    gain_min: how much better than the champion's its metric must be.
    significance: largest one-sided p-value of the paired test. 0.5: better is more likely than not.
        1 lets every gain through.
    validation_max: so many of the validation samples of all rounds judge; of more, always the same ones, by
        their content, so that a round's cost does not follow its history.
    class_floor: share of every class that must be right; class_drop_max: how far a class may fall below the
        champion's; both of classes with `class_samples_min` validation samples.
    agreement_min: share of its skill beyond chance that the champion must keep on a round's new samples;
        below it their labels are taken for shuffled. 0 believes every label.
    control_every: every so many rounds a cold start is trained beside the warm one; the better one on the
        tuning samples is the challenger. 0: never.
    """

    metric: Metric = "accuracy"
    gain_min: Annotated[float, Field(ge=0, le=1)] = 0.0001
    significance: Annotated[float, Field(gt=0, le=1)] = 0.5
    validation_max: Annotated[int, Field(ge=1)] = 20_000
    class_floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    class_drop_max: Annotated[float, Field(ge=0, le=1)] = 0.15
    class_samples_min: Annotated[int, Field(ge=1)] = 20
    agreement_min: Annotated[float, Field(ge=0, le=1)] = 0.5
    control_every: Annotated[int, Field(ge=0)] = 10


class RetrySpec(_Part):
    """When ignored samples are regrouped and tried again, and how often each may be.

    every_s: rest before the first retry; `widening` times longer after each that did not help, at most
        `every_s_max`, and back to `every_s` when one did.
    attempts_max: the budget of each sample; a sample that used it up is exhausted.
    groupings: how samples are chosen, in turn. stratified: the same share of every label. k_fold: one of
        `folds` parts by chance. loss_ranked: those that the champion has the least trouble with.
    """

    every_s: Annotated[float, Field(gt=0)] = 3600.0
    every_s_max: Annotated[float, Field(gt=0)] = 7 * 86400.0
    widening: Annotated[float, Field(ge=1, le=100)] = 2.0
    samples_min: Annotated[int, Field(ge=1)] = 200
    attempts_max: Annotated[int, Field(ge=1)] = 3
    groupings: Annotated[
        tuple[Literal["stratified", "k_fold", "loss_ranked"], ...], Field(min_length=1, max_length=12)
    ] = ("stratified", "loss_ranked", "k_fold")
    folds: Annotated[int, Field(ge=2, le=100)] = 3


class DriftSpec(_Part):
    """How far inputs and predictions may move from training's, by the population stability index.

    warn_at: above it a warning is logged. wake_at: above it a round opens with whatever waits.
    samples_min: below so many test samples nothing is measured; of more, the `window` newest count.
    """

    window: Annotated[int, Field(ge=1)] = 1000
    warn_at: Annotated[float, Field(gt=0)] = 0.2
    wake_at: Annotated[float, Field(gt=0)] = 0.5
    samples_min: Annotated[int, Field(ge=1)] = 100


class TestSpec(_Part):
    """When the champion is measured on all test samples so far."""

    __test__ = False  # not a test class, whatever its name begins with

    every_s: Annotated[float, Field(gt=0)] = 600.0


class ServingSpec(_Part):
    """How many versions beside the labelled ones serving keeps on disk."""

    keep_versions: Annotated[int, Field(ge=1, le=100)] = 3


class ModelSpec(_Part):
    """One model. Unknown fields are refused, so that a typing error is not a default.

    labels: in the order of the probabilities; none for a regression, whose labels are numbers.
    options: what a kind of somebody else's reads; its recipe checks them.
    """

    name: Name
    kind: Name
    dataset: Name
    labels: Annotated[tuple[str, ...], Field(max_length=100_000)] = ()
    input: ModelInput | None = None
    options: dict[str, Any] = {}
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    split: SplitSpec = SplitSpec()
    round: RoundSpec = RoundSpec()
    training: TrainingSpec = TrainingSpec()
    gate: GateSpec = GateSpec()
    retry: RetrySpec = RetrySpec()
    test: TestSpec = TestSpec()
    drift: DriftSpec = DriftSpec()
    serving: ServingSpec = ServingSpec()

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> ModelSpec:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be distinct")
        if len(self.labels) < 2 and (self.labels or self.kind.endswith("_classifier")):
            raise ValueError("labels: a classifier needs at least two")
        return self

    @model_validator(mode="after")
    def _input_fits_kind(self) -> ModelSpec:
        if self.kind == "image_classifier" and not isinstance(self.input, ImageInput):
            raise ValueError("an image_classifier needs `input` with height, width and channels")
        if self.kind in TABLE_KINDS and not isinstance(self.input, TableInput):
            raise ValueError(f"a {self.kind} needs `input` with columns")
        if self.kind == "tabular_regressor" and self.labels:
            raise ValueError("a tabular_regressor has no labels: samples carry numbers for labels")
        return self


def load_spec(path: Path) -> ModelSpec:
    """The model of one YAML file.

    Raises:
        InvalidInput: the file cannot be read or is not a model; the text names file and field.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > SPEC_BYTES_MAX:
            raise InvalidInput(f"{path}: over {SPEC_BYTES_MAX} bytes")
        document: Any = yaml.safe_load(raw)
        return ModelSpec.model_validate(document)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = field_path(first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{path}: {field or 'model'}: {message}", field=field or None) from error


def load_specs(folder: Path) -> dict[str, ModelSpec]:
    """Every model of a folder, by name.

    Raises:
        InvalidInput: the folder is missing or empty, a file is wrong, or two files name the same model.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise InvalidInput(f"no model in {folder}: put one YAML file per model there, such as digits.yaml")
    specs: dict[str, ModelSpec] = {}
    for path in paths:
        spec = load_spec(path)
        if spec.name in specs:
            raise InvalidInput(f"{path}: a model named {spec.name} stands in another file too", field="name")
        specs[spec.name] = spec
    return specs
