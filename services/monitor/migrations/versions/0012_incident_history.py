"""What happened to an incident, who did what about it, and who was told."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "incident_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("incident_id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=20), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_incident_history_incident_id_incidents"),
        sa.PrimaryKeyConstraint("id", name="pk_incident_history"),
    )
    op.create_index(
        "ix_incident_history_incident_id_tenant", "incident_history", ["incident_id", "tenant"], unique=False
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_incident_history_incident_id_tenant", table_name="incident_history")
    op.drop_table("incident_history")
