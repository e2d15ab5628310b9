"""What logged answers rest on."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Batches of before say nothing of it."""
    op.add_column("batches", sa.Column("level", sa.String(length=20), nullable=False, server_default=""))
