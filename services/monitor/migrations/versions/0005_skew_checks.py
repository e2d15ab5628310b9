"""Comparisons of served with trained values."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "skew_checks",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("model_id", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("features", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_skew_checks"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_skew_checks_model_id_models"),
    )
    op.create_index("ix_skew_checks_model_id_checked_at", "skew_checks", ["model_id", "checked_at"])
    op.create_index("ix_skew_checks_checked_at", "skew_checks", ["checked_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("skew_checks")
