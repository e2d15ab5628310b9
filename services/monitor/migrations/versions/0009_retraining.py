"""Requests for trainings."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "retraining_requests",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("signs", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("run_id", sa.String(80), nullable=False),
        sa.Column("new_version", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_retraining_requests"),
    )
    op.create_index("ix_retraining_requests_state", "retraining_requests", ["state"])
    op.create_index(
        "ix_retraining_requests_tenant_model_asked_at", "retraining_requests", ["tenant", "model", "asked_at"]
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("retraining_requests")
