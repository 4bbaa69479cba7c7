"""The tables around a round: why it was opened, how it was decided, what people asked for, what drifted.

The trainer writes them, except `wishes`, which the command line writes and nobody else.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from tidemill_registry.tables import metadata
from tidemill_registry.texts import sorted_text
from tidemill_registry.times import UtcTime

_NAME = String(63)
_SAMPLE_ID = sorted_text(128)
_OBJECT = sorted_text(1024)
_LABEL = sorted_text(128)
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

triggers = Table(
    "triggers",
    metadata,
    Column("model", _NAME, primary_key=True),
    Column(
        "key", sorted_text(1100), primary_key=True, comment="what happened; the same again is the same row"
    ),
    Column("kind", String(16), nullable=False, comment="event, reconcile, schedule or drift"),
    Column("at", UtcTime, nullable=False),
    Column("urgent", Boolean, nullable=False, comment="does not wait for more samples"),
    Column("missed_count", Integer, nullable=False, comment="earlier times of a schedule that it stands for"),
    Column("handled_at", UtcTime, comment="null: waits"),
    Column("round_id", String(128), ForeignKey("rounds.id"), comment="that it woke; null: none was worth it"),
    Index(None, "model", "handled_at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("round_id", String(128), ForeignKey("rounds.id"), primary_key=True),
    Column("decided_at", UtcTime, nullable=False),
    Column("promote", Boolean, nullable=False),
    Column("reason", Text, nullable=False, comment="one sentence"),
    Column(
        "numbers", Text, nullable=False, comment="JSON: gain, p_value, by class and what else was measured"
    ),
    Column("wish_id", _NUMBER, ForeignKey("wishes.id"), comment="of the person who overruled the gate"),
)

wishes = Table(
    "wishes",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("by", String(128), nullable=False),
    Column("why", Text, nullable=False),
    Column("action", String(16), nullable=False, comment="force, veto or relabel"),
    Column("scope", _NAME, nullable=False, comment="the model; of a relabel the dataset"),
    Column("subject", String(128), nullable=False, comment="the round's or the sample's id"),
    Column("value", String(128), comment="the label that holds from now on"),
    Index(None, "action", "scope", "subject"),
)

wish_results = Table(
    "wish_results",
    metadata,
    Column("wish_id", _NUMBER, ForeignKey("wishes.id"), primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("result", Text, nullable=False, comment="one sentence"),
)

label_claims = Table(
    "label_claims",
    metadata,
    Column("dataset", _NAME, primary_key=True),
    Column("sample_id", _SAMPLE_ID, primary_key=True),
    Column("label", _LABEL, primary_key=True, comment="another than the sample's own"),
    Column("object", _OBJECT, ForeignKey("objects.name"), nullable=False, comment="that said so first"),
    Column("claimed_id", _SAMPLE_ID, nullable=False, comment="under which id the same content said so"),
    Column("seen_at", UtcTime, nullable=False),
    Column("resolved_at", UtcTime, comment="null: the sample joins no round until a person has decided"),
    ForeignKeyConstraint(["dataset", "sample_id"], ["samples.dataset", "samples.sample_id"]),
)

sketches = Table(
    "sketches",
    metadata,
    Column("dataset", _NAME, primary_key=True),
    Column("sample_id", _SAMPLE_ID, primary_key=True),
    Column("sketch", String(64), nullable=False, comment="alike for contents that look or read alike"),
    Column("is_test", Boolean, nullable=False),
    ForeignKeyConstraint(["dataset", "sample_id"], ["samples.dataset", "samples.sample_id"]),
    Index(None, "dataset", "is_test", "sketch"),
)

near_duplicates = Table(
    "near_duplicates",
    metadata,
    Column("dataset", _NAME, primary_key=True),
    Column("test_id", _SAMPLE_ID, primary_key=True),
    Column("train_id", _SAMPLE_ID, primary_key=True),
    Column("distance", Integer, nullable=False, comment="bits in which the sketches differ"),
    Column("found_at", UtcTime, nullable=False),
    ForeignKeyConstraint(["dataset", "test_id"], ["samples.dataset", "samples.sample_id"]),
    ForeignKeyConstraint(["dataset", "train_id"], ["samples.dataset", "samples.sample_id"]),
)

drift_measures = Table(
    "drift_measures",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("model", _NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("ran_at", UtcTime, nullable=False),
    Column("subject", String(16), nullable=False, comment="inputs or predictions"),
    Column("name", String(128), nullable=False, comment="of the feature or class; 'all': over everything"),
    Column("psi", Float, nullable=False, comment="population stability index against training"),
    Column("sample_count", Integer, nullable=False),
    Index(None, "model", "id"),
)
