"""Which role a sample has, decided at its first arrival and never again."""

from __future__ import annotations

import hashlib

from tidemill_contracts.samples import Split
from tidemill_registry.records import Role


def role_of(sample_id: str, split: Split, *, validation_percent: int) -> Role:
    """The role by split and id alone: the same wherever and whenever it is asked.

    Of the training split, `validation_percent` in a hundred ids validate.
    """
    if split == "test":
        return "test"
    bucket = int.from_bytes(hashlib.sha256(sample_id.encode()).digest()[:8], "big") % 100
    return "validation" if bucket < validation_percent else "train"


def tunes(digest: str, *, tuning_percent: int) -> bool:
    """Whether a training sample of this content chooses the epoch instead of training, in every round.

    digest: of the content, so that the same content under two ids is never on both sides.
    """
    bucket = int.from_bytes(hashlib.sha256(f"tuning/{digest}".encode()).digest()[:8], "big") % 100
    return bucket < tuning_percent


def may_join(role: Role, twin: Role | None) -> bool:
    """Whether a sample may enter in `role` although the same content is known as `twin`.

    No content ever stands on both sides of the line between testing and the rest.
    """
    return twin is None or (role == "test") == (twin == "test")
