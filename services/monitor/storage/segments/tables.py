"""Tables of the log's rows. Times are microseconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

from services.monitor.storage.tables import KEY, metadata

# Many batches of one model, version, role and level. Bounds tell where to look without reading rows.
segments = sa.Table(
    "segments",
    metadata,
    sa.Column("id", KEY, primary_key=True, autoincrement=True),
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("level", sa.String(20), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("at_min", sa.BigInteger, nullable=False),
    sa.Column("at_max", sa.BigInteger, nullable=False),
    sa.Column("event_time_min", sa.BigInteger, nullable=False),
    sa.Column("event_time_max", sa.BigInteger, nullable=False),
    # The order of prediction ids: ids made later have greater numbers, so that a label's rows are in few segments.
    sa.Column("id_min", sa.BigInteger, nullable=False),
    sa.Column("id_max", sa.BigInteger, nullable=False),
    sa.Column("taken_at", sa.BigInteger, nullable=False),
    # Empty: the rows are in `segment_rows`; else where they were moved to.
    sa.Column("place", sa.String(20), nullable=False, server_default=""),
    sa.Index(None, "model_id", "at_max"),
    sa.Index(None, "model_id", "event_time_max"),
    sa.Index(None, "model_id", "id_max"),
)

# Apart from `segments`, so that looking for the segments of a window does not read the rows of all others.
segment_rows = sa.Table(
    "segment_rows",
    metadata,
    sa.Column("segment_id", KEY, sa.ForeignKey("segments.id"), primary_key=True, autoincrement=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)

# Segments of versions whose training baseline could not be read when they came: counted, and looked into later.
unsketched = sa.Table(
    "unsketched",
    metadata,
    sa.Column("segment_id", KEY, sa.ForeignKey("segments.id"), primary_key=True, autoincrement=False),
)
