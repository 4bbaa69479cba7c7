"""Where things lie in the store. Every object name of Tidemill is made here."""

from __future__ import annotations

import re
from datetime import datetime

SAMPLES = "samples/"
MODELS = "models/"
INBOX = "inbox/"
INBOX_DONE = "inbox-done/"
SCHEMAS = "schemas/"
MANIFEST = "manifest.json"
MODEL_CARD = "assets.extra/model_card.json"
MODEL_PAGE = "assets.extra/model_card.html"
ROUNDS = "rounds/"

_BATCH = re.compile(
    r"samples/([a-z0-9][a-z0-9_-]{0,62})/([a-z]{1,16})/\d{4}/\d\d/\d\d/\d\d/[\w.:=-]{1,250}\.avro", re.ASCII
)
"""Strict: a name may come from a message that anybody wrote, and goes into SQL."""


def batch_prefix(dataset: str, split: str) -> str:
    """Where the batches of one split of a dataset lie."""
    return f"{SAMPLES}{dataset}/{split}/"


def batch_name(dataset: str, split: str, hour: datetime, digest: str) -> str:
    """The name of a batch by the digest of its content. hour: in which its events came to pass, in UTC."""
    return f"{batch_prefix(dataset, split)}{hour:%Y/%m/%d/%H}/{digest}.avro"


def parse_batch_name(name: str) -> tuple[str, str] | None:
    """Dataset and split of a batch's name; None if the name is not a batch's."""
    found = _BATCH.fullmatch(name)
    return (found[1], found[2]) if found else None


def model_prefix(model: str) -> str:
    """Where everything of one model lies."""
    return f"{MODELS}{model}/"


def version_prefix(model: str, version: int) -> str:
    """Where the files of one version lie."""
    return f"{model_prefix(model)}{version}/"


def manifest_name(model: str, version: int) -> str:
    """The manifest of a version: written last, so that its presence means the version is whole."""
    return version_prefix(model, version) + MANIFEST


def model_card_name(model: str, version: int) -> str:
    """The model card of a version."""
    return version_prefix(model, version) + MODEL_CARD


def labels_name(model: str) -> str:
    """The object that says which version each label of a model means."""
    return f"{model_prefix(model)}labels.json"


def rollout_name(model: str) -> str:
    """The object that says how a model's traffic is split between `stable` and `candidate`."""
    return f"{model_prefix(model)}rollout.json"


def audit_prefix(model: str) -> str:
    """Where it is kept who changed a model's labels and traffic by hand; names sort by time."""
    return f"{model_prefix(model)}audit/"


def proofs_prefix(model: str, version: int) -> str:
    """Where the replicas that serve a model say that they have proven a candidate."""
    return f"{model_prefix(model)}proofs/{version}/"


def proof_name(model: str, version: int, replica: str) -> str:
    """One replica's word."""
    return f"{proofs_prefix(model, version)}{replica}.json"


def round_prefix(model: str, round_id: str) -> str:
    """Where a round's logs lie, and its challenger if it was not published."""
    return f"{ROUNDS}{model}/{round_id}/"
