"""Contracts, batches, lake tables, outbox."""

import sqlalchemy as sa
from alembic import op

from tenon.kit.sql import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "spec_revisions",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("spec_json", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "revision", name="pk_spec_revisions"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(32), nullable=False),
        sa.Column("stream", sa.String(100), nullable=False),
        sa.Column("fields_json", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_table(
        "batches",
        sa.Column("sequence", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("dataset", sa.String(63), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("rules_sha256", sa.String(64), nullable=False),
        sa.Column("file_name", sa.String(200), nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("gzipped", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("committed_at", sa.BigInteger),
        sa.Column("rows_read", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("rows_committed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("rows_superseded", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("rows_quarantined", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("reasons_json", sa.Text, nullable=False, server_default="{}"),
        sa.Column("problem_json", sa.Text),
        sa.Column("table_version", sa.BigInteger, nullable=False, server_default="-1"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("claimed_by", sa.String(64)),
        sa.Column("claimed_until", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("sequence", name="pk_batches"),
        sa.UniqueConstraint("id", name="uq_batches_id"),
    )
    op.create_index("ix_batches_tenant_dataset_sequence", "batches", ["tenant", "dataset", "sequence"])
    op.create_index("ix_batches_state", "batches", ["state"])
    kept = sa.text("state != 'refused'")
    op.create_index(
        "uq_batches_content",
        "batches",
        ["tenant", "dataset", "file_sha256", "rules_sha256"],
        unique=True,
        sqlite_where=kept,
        postgresql_where=kept,
    )
    op.create_table(
        "lake_tables",
        sa.Column("tenant", sa.String(40), nullable=False),
        sa.Column("dataset", sa.String(63), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "dataset", name="pk_lake_tables"),
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in ("lake_tables", "batches", "outbox", "spec_revisions"):
        op.drop_table(table)
