"""Incidents, who was told of them, and messages on their way."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# SQLite gives numbers to rows by itself only for the type INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "alert_messages",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("webhook", sa.String(length=63), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_messages"),
    )
    op.create_index("ix_alert_messages_due_at", "alert_messages", ["due_at"], unique=False)
    op.create_table(
        "incident_cursors",
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("looked_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", name="pk_incident_cursors"),
    )
    op.create_table(
        "incident_rounds",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incident_rounds"),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=False),
        sa.Column("merged_into", sa.String(length=32), nullable=False),
        sa.Column("reopened", sa.Integer(), nullable=False),
        sa.Column("causes", sa.JSON(), nullable=False),
        sa.Column("tenants_looked_at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("ix_incidents_state_opened_at", "incidents", ["state", "opened_at"], unique=False)
    op.create_table(
        "incident_members",
        sa.Column("incident_id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("feature", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("change", sa.String(length=20), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("seen_until", sa.BigInteger(), nullable=False),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("quiet", sa.Integer(), nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_incident_members_incident_id_incidents"),
        sa.PrimaryKeyConstraint("incident_id", "tenant", "model", "feature", name="pk_incident_members"),
    )
    op.create_index(
        "ix_incident_members_tenant_incident_id", "incident_members", ["tenant", "incident_id"], unique=False
    )
    op.create_table(
        "incident_notes",
        sa.Column("incident_id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_incident_notes_incident_id_incidents"),
        sa.PrimaryKeyConstraint("incident_id", "tenant", name="pk_incident_notes"),
    )
    op.create_table(
        "incident_told",
        sa.Column("incident_id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_incident_told_incident_id_incidents"),
        sa.PrimaryKeyConstraint("incident_id", "tenant", name="pk_incident_told"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("incident_told")
    op.drop_table("incident_notes")
    op.drop_index("ix_incident_members_tenant_incident_id", table_name="incident_members")
    op.drop_table("incident_members")
    op.drop_index("ix_incidents_state_opened_at", table_name="incidents")
    op.drop_table("incidents")
    op.drop_table("incident_rounds")
    op.drop_table("incident_cursors")
    op.drop_index("ix_alert_messages_due_at", table_name="alert_messages")
    op.drop_table("alert_messages")
