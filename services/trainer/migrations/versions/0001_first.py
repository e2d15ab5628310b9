"""Model documents and training runs."""

import sqlalchemy as sa
from alembic import op

from tenon.kit.sql import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "model_revisions",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("spec_json", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "revision", name="pk_model_revisions"),
    )
    op.create_table(
        "runs",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("model_revision", sa.Integer, nullable=False),
        sa.Column("idempotency_key", sa.String(200), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("step", sa.String(300), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("bundle_sha256", sa.String(64), nullable=False),
        sa.Column("evidence_json", sa.Text, nullable=True),
        sa.Column("gates_json", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=True),
        sa.Column("finished_at", sa.BigInteger, nullable=True),
        sa.Column("lease_token", sa.String(40), nullable=True),
        sa.Column("heartbeat_at", sa.BigInteger, nullable=True),
        sa.Column("enqueued_at", sa.BigInteger, nullable=True),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_runs"),
        sa.UniqueConstraint("tenant", "model", "idempotency_key", name="uq_runs_tenant_model_idempotency_key"),
    )
    op.create_index("ix_runs_tenant_created_at", "runs", ["tenant", "created_at"])
    op.create_index("ix_runs_state", "runs", ["state"])


def downgrade() -> None:
    """Back."""
    op.drop_table("runs")
    op.drop_table("model_revisions")
