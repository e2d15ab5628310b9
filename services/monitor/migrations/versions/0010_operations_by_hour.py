"""Operations by hours, too: what is usual is read from a week or four, and minutes of as long are many rows.

Hours begin with the upgrade: programs of before it, which may go on for a while, count minutes only.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COUNTED = ("answers", "refused", "unavailable", "broken", *(f"latency_{place}" for place in range(20)))


def upgrade() -> None:
    """Make the table, and a way to the last hours of all models."""
    op.create_table(
        "operations_by_hour",
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTED),
        sa.PrimaryKeyConstraint("tenant", "model", "start", "version", "role", name="pk_operations_by_hour"),
    )
    op.create_index("ix_operations_by_hour_start", "operations_by_hour", ["start"])
    op.create_index("ix_windows_axis_start", "windows", ["axis", "start"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_windows_axis_start", "windows")
    op.drop_table("operations_by_hour")
