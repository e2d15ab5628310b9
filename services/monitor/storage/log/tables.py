"""Tables of what has been taken from the stream. Times are microseconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

from services.monitor.storage.tables import KEY, metadata

series = sa.Table(
    "series",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("role", sa.String(10), primary_key=True),
    sa.Column("predictions", sa.BigInteger, nullable=False),
    sa.Column("first_at", sa.BigInteger, nullable=False),
    sa.Column("last_at", sa.BigInteger, nullable=False),
    sa.Column("first_event", sa.BigInteger, nullable=True),
    sa.Column("last_event", sa.BigInteger, nullable=True),
)

# What has been taken from the stream: a batch that comes again finds itself here and changes nothing.
taken_batches = sa.Table(
    "taken_batches",
    metadata,
    sa.Column("batch_id", sa.String(128), primary_key=True),
    sa.Column("taken_at", sa.BigInteger, nullable=False),
)

# Whom to forget also when something about them comes later: digests of values of a column, and bits of prediction ids (column "").
forgotten = sa.Table(
    "forgotten",
    metadata,
    sa.Column("id", KEY, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("column_name", sa.String(255), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    # Rows that were answered until then are dropped.
    sa.Column("forgotten_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("tenant", "column_name", "digest"),
    # Numbers are never given again: a reader asks for those above the last it has seen.
    sqlite_autoincrement=True,
)
