"""Windows, in which the log's rows are counted. Times are microseconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

from services.monitor.storage.tables import KEY, metadata

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
    # All models' last hours at once.
    sa.Index(None, "axis", "start"),
)
