"""The first tables: objects, samples, rounds, versions, test runs and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tidemill_registry.texts import sorted_text
from tidemill_registry.times import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False, comment="grows with every change of holder"),
        sa.Column("expires_at", UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "objects",
        sa.Column("name", sorted_text(1024), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("seen_at", UtcTime, nullable=False),
        sa.Column("indexed_at", UtcTime, nullable=True, comment="null: not read yet"),
        sa.Column(
            "sha256",
            sa.String(length=64),
            nullable=True,
            comment="of the object's bytes, when it was indexed",
        ),
        sa.Column("message_count", sa.Integer(), nullable=False),
        sa.Column("sample_count", sa.Integer(), nullable=False, comment="samples first seen here"),
        sa.Column("duplicate_count", sa.Integer(), nullable=False, comment="ids known before"),
        sa.Column("invalid_count", sa.Integer(), nullable=False, comment="messages and samples not usable"),
        sa.Column("leaked_count", sa.Integer(), nullable=False, comment="content known across the test line"),
        sa.Column(
            "fault", sa.Text(), nullable=True, comment="why the object is in quarantine; null: it is not"
        ),
        sa.PrimaryKeyConstraint("name", name="pk_objects"),
    )
    op.create_index("ix_objects_dataset_indexed_at", "objects", ["dataset", "indexed_at"], unique=False)
    op.create_table(
        "rounds",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="new or retry"),
        sa.Column(
            "status",
            sa.String(length=16),
            nullable=False,
            comment="open, publishing, promoted, ignored or failed",
        ),
        sa.Column("phase", sa.String(length=32), nullable=False, comment="what an open round is doing"),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("epochs_max", sa.Integer(), nullable=False),
        sa.Column(
            "starts", sa.Integer(), nullable=False, comment="how often it was begun, restarts included"
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", UtcTime, nullable=False),
        sa.Column("decided_at", UtcTime, nullable=True, comment="when the gate let the challenger through"),
        sa.Column("closed_at", UtcTime, nullable=True),
        sa.Column("train_count", sa.Integer(), nullable=False, comment="new or retried training samples"),
        sa.Column("rehearsal_count", sa.Integer(), nullable=False),
        sa.Column(
            "validation_count", sa.Integer(), nullable=False, comment="all so far, this round's included"
        ),
        sa.Column("champion_version", sa.BigInteger(), nullable=True),
        sa.Column("champion_accuracy", sa.Float(), nullable=True),
        sa.Column("champion_loss", sa.Float(), nullable=True),
        sa.Column(
            "challenger_version", sa.BigInteger(), nullable=True, comment="reserved when publication begins"
        ),
        sa.Column("challenger_accuracy", sa.Float(), nullable=True),
        sa.Column("challenger_loss", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True, comment="of the decision, in one sentence"),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rounds"),
        sa.UniqueConstraint("model", "number", name="uq_rounds_model_number"),
    )
    op.create_table(
        "test_runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("ran_at", UtcTime, nullable=False),
        sa.Column("sample_count", sa.Integer(), nullable=False),
        sa.Column("accuracy", sa.Float(), nullable=False),
        sa.Column("loss", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_test_runs"),
    )
    op.create_index("ix_test_runs_model_id", "test_runs", ["model", "id"], unique=False)
    op.create_table(
        "round_objects",
        sa.Column("round_id", sa.String(length=128), nullable=False),
        sa.Column("object", sorted_text(1024), nullable=False),
        sa.Column("sample_count", sa.Integer(), nullable=False, comment="samples of the object in the round"),
        sa.ForeignKeyConstraint(["object"], ["objects.name"], name="fk_round_objects_object"),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name="fk_round_objects_round_id"),
        sa.PrimaryKeyConstraint("round_id", "object", name="pk_round_objects"),
    )
    op.create_table(
        "samples",
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("sample_id", sorted_text(128), nullable=False),
        sa.Column("object", sorted_text(1024), nullable=False),
        sa.Column("message_position", sa.Integer(), nullable=False, comment="in the object, from 0"),
        sa.Column("sample_position", sa.Integer(), nullable=False, comment="in the message, from 0"),
        sa.Column("label", sorted_text(128), nullable=False),
        sa.Column(
            "role",
            sa.String(length=16),
            nullable=False,
            comment="train, validation or test; decided once, for ever",
        ),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="SHA-256 of the content"),
        sa.Column("seen_at", UtcTime, nullable=False),
        sa.ForeignKeyConstraint(["object"], ["objects.name"], name="fk_samples_object"),
        sa.PrimaryKeyConstraint("dataset", "sample_id", name="pk_samples"),
    )
    op.create_index("ix_samples_dataset_digest", "samples", ["dataset", "digest"], unique=False)
    op.create_index("ix_samples_dataset_role", "samples", ["dataset", "role"], unique=False)
    op.create_table(
        "versions",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("round_id", sa.String(length=128), nullable=False),
        sa.Column("parent_version", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="of the manifest's files"),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("accuracy", sa.Float(), nullable=False, comment="on the validation samples of its round"),
        sa.Column("loss", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name="fk_versions_round_id"),
        sa.PrimaryKeyConstraint("model", "version", name="pk_versions"),
    )
    op.create_table(
        "round_samples",
        sa.Column("round_id", sa.String(length=128), nullable=False),
        sa.Column("sample_id", sorted_text(128), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column(
            "part",
            sa.String(length=16),
            nullable=False,
            comment="train, rehearsal or validation (new in this round)",
        ),
        sa.ForeignKeyConstraint(
            ["dataset", "sample_id"],
            ["samples.dataset", "samples.sample_id"],
            name="fk_round_samples_dataset_sample_id",
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name="fk_round_samples_round_id"),
        sa.PrimaryKeyConstraint("round_id", "sample_id", name="pk_round_samples"),
    )
    op.create_index(
        "ix_round_samples_dataset_sample_id", "round_samples", ["dataset", "sample_id"], unique=False
    )
    op.create_table(
        "sample_uses",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("sample_id", sorted_text(128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="open, used, ignored or exhausted"),
        sa.Column("round_id", sa.String(length=128), nullable=False, comment="the latest"),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="retries that did not help"),
        sa.ForeignKeyConstraint(
            ["dataset", "sample_id"],
            ["samples.dataset", "samples.sample_id"],
            name="fk_sample_uses_dataset_sample_id",
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name="fk_sample_uses_round_id"),
        sa.PrimaryKeyConstraint("model", "dataset", "sample_id", name="pk_sample_uses"),
    )
    op.create_index("ix_sample_uses_model_state", "sample_uses", ["model", "state"], unique=False)


def downgrade() -> None:
    op.drop_table("sample_uses")
    op.drop_table("round_samples")
    op.drop_table("versions")
    op.drop_table("samples")
    op.drop_table("round_objects")
    op.drop_table("test_runs")
    op.drop_table("rounds")
    op.drop_table("objects")
    op.drop_table("leases")
