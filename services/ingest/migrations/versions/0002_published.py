"""When an event was published: it is kept for a moment longer."""

import sqlalchemy as sa
from alembic import op

from tenon.kit.sql import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("outbox", sa.Column("published_at", UtcDateTime))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("outbox", "published_at")
