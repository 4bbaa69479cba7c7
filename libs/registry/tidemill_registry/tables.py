"""Every table. The trainer is the only writer of all of them; others read."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from tidemill_registry.texts import sorted_text
from tidemill_registry.times import UtcTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_NAME = String(63)
_SAMPLE_ID = sorted_text(128)
_OBJECT = sorted_text(1024)
_SHA256 = String(64)

objects = Table(
    "objects",
    metadata,
    Column("name", _OBJECT, primary_key=True),
    Column("dataset", _NAME, nullable=False),
    Column("split", String(16), nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("indexed_at", UtcTime, comment="null: not read yet"),
    Column("sha256", _SHA256, comment="of the object's bytes, when it was indexed"),
    Column("message_count", Integer, nullable=False, default=0),
    Column("sample_count", Integer, nullable=False, default=0, comment="samples first seen here"),
    Column("duplicate_count", Integer, nullable=False, default=0, comment="ids known before"),
    Column("invalid_count", Integer, nullable=False, default=0, comment="messages and samples not usable"),
    Column("leaked_count", Integer, nullable=False, default=0, comment="content known across the test line"),
    Column("fault", Text, comment="why the object is in quarantine; null: it is not"),
    Index(None, "dataset", "indexed_at"),
)

samples = Table(
    "samples",
    metadata,
    Column("dataset", _NAME, primary_key=True),
    Column("sample_id", _SAMPLE_ID, primary_key=True),
    Column("object", _OBJECT, ForeignKey("objects.name"), nullable=False),
    Column("message_position", Integer, nullable=False, comment="in the object, from 0"),
    Column("sample_position", Integer, nullable=False, comment="in the message, from 0"),
    Column("label", sorted_text(128), nullable=False),
    Column("role", String(16), nullable=False, comment="train, validation or test; decided once, for ever"),
    Column("digest", _SHA256, nullable=False, comment="SHA-256 of the content"),
    Column("seen_at", UtcTime, nullable=False),
    Index(None, "dataset", "role"),
    Index(None, "dataset", "digest"),
)

refused_samples = Table(
    "refused_samples",
    metadata,
    Column("object", _OBJECT, ForeignKey("objects.name"), primary_key=True),
    Column("message_position", Integer, primary_key=True, autoincrement=False),
    Column(
        "sample_position",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="in the message, from 0; -1: the whole message",
    ),
    Column("dataset", _NAME, nullable=False),
    Column("sample_id", _SAMPLE_ID, comment="null: it has none, or could not be read"),
    Column("reason", Text, nullable=False),
    Index(None, "dataset", "sample_id"),
)

rounds = Table(
    "rounds",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("model", _NAME, nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False, comment="new or retry"),
    Column("grouping", String(16), comment="of a retry: stratified, k_fold or loss_ranked"),
    Column("status", String(16), nullable=False, comment="open, publishing, promoted, ignored or failed"),
    Column("phase", String(32), nullable=False, comment="what an open round is doing"),
    Column("epoch", Integer, nullable=False, default=0),
    Column("epochs_max", Integer, nullable=False),
    Column("starts", Integer, nullable=False, default=0, comment="how often it was begun, restarts included"),
    Column("seed", BigInteger, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("decided_at", UtcTime, comment="when the gate let the challenger through"),
    Column("closed_at", UtcTime),
    Column("train_count", Integer, nullable=False, comment="new or retried training samples"),
    Column("rehearsal_count", Integer, nullable=False),
    Column("validation_count", Integer, nullable=False, comment="all so far, this round's included"),
    Column("champion_version", BigInteger),
    Column("champion_accuracy", Float),
    Column("champion_loss", Float),
    Column("challenger_version", BigInteger, comment="reserved when publication begins"),
    Column("challenger_accuracy", Float),
    Column("challenger_loss", Float),
    Column("reason", Text, comment="of the decision, in one sentence"),
    Column("seconds", Float),
    Column("cpu_seconds", Float),
    UniqueConstraint("model", "number"),
)

round_objects = Table(
    "round_objects",
    metadata,
    Column("round_id", String(128), ForeignKey("rounds.id"), primary_key=True),
    Column("object", _OBJECT, ForeignKey("objects.name"), primary_key=True),
    Column("sample_count", Integer, nullable=False, comment="samples of the object in the round"),
)

round_samples = Table(
    "round_samples",
    metadata,
    Column("round_id", String(128), ForeignKey("rounds.id"), primary_key=True),
    Column("sample_id", _SAMPLE_ID, primary_key=True),
    Column("dataset", _NAME, nullable=False),
    Column("part", String(16), nullable=False, comment="train, rehearsal or validation (new in this round)"),
    Column("label", sorted_text(128), comment="when the round opened; null: as in samples"),
    ForeignKeyConstraint(["dataset", "sample_id"], ["samples.dataset", "samples.sample_id"]),
    Index(None, "dataset", "sample_id"),
)

sample_uses = Table(
    "sample_uses",
    metadata,
    Column("model", _NAME, primary_key=True),
    Column("dataset", _NAME, primary_key=True),
    Column("sample_id", _SAMPLE_ID, primary_key=True),
    Column("state", String(16), nullable=False, comment="open, used, ignored or exhausted"),
    Column("round_id", String(128), ForeignKey("rounds.id"), nullable=False, comment="the latest"),
    Column("attempts", Integer, nullable=False, default=0, comment="retries that did not help"),
    Column("loss", Float, comment="of the champion on it, when it was ignored"),
    ForeignKeyConstraint(["dataset", "sample_id"], ["samples.dataset", "samples.sample_id"]),
    Index(None, "model", "state"),
)

versions = Table(
    "versions",
    metadata,
    Column("model", _NAME, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("round_id", String(128), ForeignKey("rounds.id"), nullable=False),
    Column("parent_version", BigInteger),
    Column("digest", _SHA256, nullable=False, comment="of the manifest's files"),
    Column("created_at", UtcTime, nullable=False),
    Column("accuracy", Float, nullable=False, comment="on the validation samples of its round"),
    Column("loss", Float, nullable=False),
)

test_runs = Table(
    "test_runs",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("model", _NAME, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("ran_at", UtcTime, nullable=False),
    Column("sample_count", Integer, nullable=False),
    Column("accuracy", Float, nullable=False),
    Column("loss", Float, nullable=False),
    Index(None, "model", "id"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("token", BigInteger, nullable=False, comment="grows with every change of holder"),
    Column("expires_at", UtcTime, nullable=False),
)
