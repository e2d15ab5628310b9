"""Tables of programs before segments; `former_batches.py` moves what programs that run beside this one still write there."""

from __future__ import annotations

import sqlalchemy as sa

from services.monitor.storage.tables import KEY, metadata

# Written by programs before segments, and still by those that run beside this one; `former_batches.py` moves what they write.
batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", KEY, primary_key=True, autoincrement=True),
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("role", sa.String(10), nullable=False),
    sa.Column("protocol", sa.String(10), nullable=False),
    sa.Column("replica", sa.String(128), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("at_min", sa.BigInteger, nullable=False),
    sa.Column("at_max", sa.BigInteger, nullable=False),
    sa.Column("event_time_min", sa.BigInteger, nullable=False),
    sa.Column("event_time_max", sa.BigInteger, nullable=False),
    # What the answers rest on; empty where no history had to be looked up.
    sa.Column("level", sa.String(20), nullable=False, server_default=""),
    sa.Index(None, "model_id", "at_max"),
    sa.Index(None, "model_id", "event_time_max"),
)

# Apart from `batches`, so that looking for the batches of a window does not read the rows of all others.
batch_rows = sa.Table(
    "batch_rows",
    metadata,
    sa.Column("batch_id", KEY, sa.ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)

# One narrow row a prediction, of `batches` only.
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("batch_id", KEY, sa.ForeignKey("batches.id"), primary_key=True, autoincrement=False),
    sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("model_id", KEY, nullable=False),
    sa.Column("prediction_id", sa.String(128), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("event_time", sa.BigInteger, nullable=False),
    # NULL where the model gave no number.
    sa.Column("score", sa.Double, nullable=True),
    sa.Index(None, "prediction_id", "model_id"),
    sqlite_with_rowid=False,
)
