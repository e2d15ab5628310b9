"""Operations by the predictors' own count, and canary verdicts."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COUNTED = ("answers", "refused", "unavailable", "broken", *(f"latency_{place}" for place in range(20)))
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "operations",
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTED),
        sa.PrimaryKeyConstraint("tenant", "model", "start", "version", "role", name="pk_operations"),
    )
    op.create_index("ix_operations_start", "operations", ["start"])
    op.create_table(
        "taken_operations",
        sa.Column("record_id", sa.String(length=128), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", name="pk_taken_operations"),
    )
    op.create_index("ix_taken_operations_taken_at", "taken_operations", ["taken_at"])
    op.create_table(
        "canary_verdicts",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("judged_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("candidate", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("judgement", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_canary_verdicts"),
    )
    op.create_index("ix_canary_verdicts_tenant_model_id", "canary_verdicts", ["tenant", "model", "id"])


def downgrade() -> None:
    """Drop them."""
    for name in ("canary_verdicts", "taken_operations", "operations"):
        op.drop_table(name)
