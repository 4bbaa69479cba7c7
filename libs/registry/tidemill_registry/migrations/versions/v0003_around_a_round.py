"""Why rounds open, how they are decided, what people ask for; disputed labels, likenesses and drift."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tidemill_registry.texts import sorted_text
from tidemill_registry.times import UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "drift_measures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("ran_at", UtcTime, nullable=False),
        sa.Column("subject", sa.String(length=16), nullable=False, comment="inputs or predictions"),
        sa.Column(
            "name",
            sa.String(length=128),
            nullable=False,
            comment="of the feature or class; 'all': over everything",
        ),
        sa.Column("psi", sa.Float(), nullable=False, comment="population stability index against training"),
        sa.Column("sample_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drift_measures"),
    )
    op.create_index("ix_drift_measures_model_id", "drift_measures", ["model", "id"], unique=False)
    op.create_table(
        "wishes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False, comment="force, veto or relabel"),
        sa.Column(
            "scope", sa.String(length=63), nullable=False, comment="the model; of a relabel the dataset"
        ),
        sa.Column("subject", sa.String(length=128), nullable=False, comment="the round's or the sample's id"),
        sa.Column("value", sa.String(length=128), nullable=True, comment="the label that holds from now on"),
        sa.PrimaryKeyConstraint("id", name="pk_wishes"),
    )
    op.create_index("ix_wishes_action_scope_subject", "wishes", ["action", "scope", "subject"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("round_id", sa.String(length=128), nullable=False),
        sa.Column("decided_at", UtcTime, nullable=False),
        sa.Column("promote", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="one sentence"),
        sa.Column(
            "numbers",
            sa.Text(),
            nullable=False,
            comment="JSON: gain, p_value, by class and what else was measured",
        ),
        sa.Column(
            "wish_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="of the person who overruled the gate",
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name="fk_decisions_round_id"),
        sa.ForeignKeyConstraint(["wish_id"], ["wishes.id"], name="fk_decisions_wish_id"),
        sa.PrimaryKeyConstraint("round_id", name="pk_decisions"),
    )
    op.create_table(
        "triggers",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column(
            "key", sorted_text(1100), nullable=False, comment="what happened; the same again is the same row"
        ),
        sa.Column(
            "kind", sa.String(length=16), nullable=False, comment="event, reconcile, schedule or drift"
        ),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False, comment="does not wait for more samples"),
        sa.Column(
            "missed_count",
            sa.Integer(),
            nullable=False,
            comment="earlier times of a schedule that it stands for",
        ),
        sa.Column("handled_at", UtcTime, nullable=True, comment="null: waits"),
        sa.Column(
            "round_id", sa.String(length=128), nullable=True, comment="that it woke; null: none was worth it"
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name="fk_triggers_round_id"),
        sa.PrimaryKeyConstraint("model", "key", name="pk_triggers"),
    )
    op.create_index("ix_triggers_model_handled_at", "triggers", ["model", "handled_at"], unique=False)
    op.create_table(
        "wish_results",
        sa.Column(
            "wish_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("result", sa.Text(), nullable=False, comment="one sentence"),
        sa.ForeignKeyConstraint(["wish_id"], ["wishes.id"], name="fk_wish_results_wish_id"),
        sa.PrimaryKeyConstraint("wish_id", name="pk_wish_results"),
    )
    op.create_table(
        "label_claims",
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("sample_id", sorted_text(128), nullable=False),
        sa.Column("label", sorted_text(128), nullable=False, comment="another than the sample's own"),
        sa.Column("object", sorted_text(1024), nullable=False, comment="that said so first"),
        sa.Column(
            "claimed_id", sorted_text(128), nullable=False, comment="under which id the same content said so"
        ),
        sa.Column("seen_at", UtcTime, nullable=False),
        sa.Column(
            "resolved_at",
            UtcTime,
            nullable=True,
            comment="null: the sample joins no round until a person has decided",
        ),
        sa.ForeignKeyConstraint(
            ["dataset", "sample_id"],
            ["samples.dataset", "samples.sample_id"],
            name="fk_label_claims_dataset_sample_id",
        ),
        sa.ForeignKeyConstraint(["object"], ["objects.name"], name="fk_label_claims_object"),
        sa.PrimaryKeyConstraint("dataset", "sample_id", "label", name="pk_label_claims"),
    )
    op.create_table(
        "near_duplicates",
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("test_id", sorted_text(128), nullable=False),
        sa.Column("train_id", sorted_text(128), nullable=False),
        sa.Column("distance", sa.Integer(), nullable=False, comment="bits in which the sketches differ"),
        sa.Column("found_at", UtcTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset", "test_id"],
            ["samples.dataset", "samples.sample_id"],
            name="fk_near_duplicates_dataset_test_id",
        ),
        sa.ForeignKeyConstraint(
            ["dataset", "train_id"],
            ["samples.dataset", "samples.sample_id"],
            name="fk_near_duplicates_dataset_train_id",
        ),
        sa.PrimaryKeyConstraint("dataset", "test_id", "train_id", name="pk_near_duplicates"),
    )
    op.create_table(
        "sketches",
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("sample_id", sorted_text(128), nullable=False),
        sa.Column(
            "sketch",
            sa.String(length=64),
            nullable=False,
            comment="alike for contents that look or read alike",
        ),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset", "sample_id"],
            ["samples.dataset", "samples.sample_id"],
            name="fk_sketches_dataset_sample_id",
        ),
        sa.PrimaryKeyConstraint("dataset", "sample_id", name="pk_sketches"),
    )
    op.create_index(
        "ix_sketches_dataset_is_test_sketch", "sketches", ["dataset", "is_test", "sketch"], unique=False
    )
    op.add_column(
        "round_samples",
        sa.Column(
            "label", sorted_text(128), nullable=True, comment="when the round opened; null: as in samples"
        ),
    )
    op.add_column(
        "rounds",
        sa.Column(
            "grouping",
            sa.String(length=16),
            nullable=True,
            comment="of a retry: stratified, k_fold or loss_ranked",
        ),
    )
    op.add_column(
        "sample_uses",
        sa.Column("loss", sa.Float(), nullable=True, comment="of the champion on it, when it was ignored"),
    )


def downgrade() -> None:
    op.drop_column("sample_uses", "loss")
    op.drop_column("rounds", "grouping")
    op.drop_column("round_samples", "label")
    op.drop_index("ix_sketches_dataset_is_test_sketch", table_name="sketches")
    op.drop_table("sketches")
    op.drop_table("near_duplicates")
    op.drop_table("label_claims")
    op.drop_table("wish_results")
    op.drop_index("ix_triggers_model_handled_at", table_name="triggers")
    op.drop_table("triggers")
    op.drop_table("decisions")
    op.drop_index("ix_wishes_action_scope_subject", table_name="wishes")
    op.drop_table("wishes")
    op.drop_index("ix_drift_measures_model_id", table_name="drift_measures")
    op.drop_table("drift_measures")
