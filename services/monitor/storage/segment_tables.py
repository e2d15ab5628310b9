"""Tables of the log's rows and of the windows they are counted in. Times are microseconds since the epoch."""

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

# Rows and a sketch of each stretch of time. Stretches of one version, role and axis never overlap.
windows = sa.Table(
    "windows",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True, autoincrement=False),
    sa.Column("axis", sa.String(10), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("role", sa.String(10), primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    # The least and the greatest time of its rows: a window that ends now need not wait for its hour to end.
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    # Rows that the sketch looked into; fewer than it should while a training baseline cannot be read.
    sa.Column("sketched", sa.BigInteger, nullable=False),
    sa.Column("levels", sa.JSON, nullable=False),
    sa.Column("sketch", sa.LargeBinary, nullable=True),
)
