"""Samples that are kept and used by nobody, with the reason."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tidemill_registry.texts import sorted_text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "refused_samples",
        sa.Column("object", sorted_text(1024), nullable=False),
        sa.Column("message_position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "sample_position",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="in the message, from 0; -1: the whole message",
        ),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column(
            "sample_id", sorted_text(128), nullable=True, comment="null: it has none, or could not be read"
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["object"], ["objects.name"], name="fk_refused_samples_object"),
        sa.PrimaryKeyConstraint("object", "message_position", "sample_position", name="pk_refused_samples"),
    )
    op.create_index(
        "ix_refused_samples_dataset_sample_id", "refused_samples", ["dataset", "sample_id"], unique=False
    )


def downgrade() -> None:
    op.drop_table("refused_samples")
