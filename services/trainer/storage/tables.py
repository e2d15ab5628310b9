"""The tables, for queries and migrations. All times of runs are microseconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

from tenon.kit.spec_store import spec_table
from tenon.kit.sql import NAMING

metadata = sa.MetaData(naming_convention=NAMING)

model_revisions = spec_table(metadata, "model_revisions")

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("model", sa.String(63), nullable=False),
    sa.Column("model_revision", sa.Integer, nullable=False),
    # NULL, not "", when there is none: NULLs are distinct in a unique constraint.
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
    # Which worker may write, and when it was last heard of.
    sa.Column("lease_token", sa.String(40), nullable=True),
    sa.Column("heartbeat_at", sa.BigInteger, nullable=True),
    # When a task was last put on the queue (NULL: never since the run began to wait), and not before when it may be.
    sa.Column("enqueued_at", sa.BigInteger, nullable=True),
    sa.Column("not_before", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("tenant", "model", "idempotency_key"),
    sa.Index("ix_runs_tenant_created_at", "tenant", "created_at"),
    sa.Index("ix_runs_state", "state"),
)
