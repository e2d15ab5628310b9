"""The tables. Times are microseconds since the epoch, as everywhere inside."""

from __future__ import annotations

import sqlalchemy as sa

from tenon.kit.sql import NAMING

metadata = sa.MetaData(naming_convention=NAMING)

# SQLite gives numbers to rows by itself only for the type INTEGER.
KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")

models = sa.Table(
    "models",
    metadata,
    sa.Column("id", KEY, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("model", sa.String(63), nullable=False),
    # Grows with every batch and every call that brings labels: what has not changed need not be judged again.
    sa.Column("changes", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("tenant", "model"),
)

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

# Every value a label ever had, by the time it was known; the newest one holds.
labels = sa.Table(
    "labels",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True, autoincrement=False),
    sa.Column("prediction_id", sa.String(128), primary_key=True),
    sa.Column("known_at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# A version never changes, so its manifest is kept: verdicts go on with the registry down.
manifests = sa.Table(
    "manifests",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("bundle_sha256", sa.String(64), nullable=False),
    sa.Column("manifest_json", sa.LargeBinary, nullable=False),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", KEY, primary_key=True, autoincrement=True),
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), nullable=False),
    sa.Column("judged_at", sa.BigInteger, nullable=False),
    sa.Column("window_start", sa.BigInteger, nullable=False),
    sa.Column("window_end", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("drift", sa.String(20), nullable=False),
    sa.Column("quality", sa.String(20), nullable=False),
    sa.Column("predictions", sa.BigInteger, nullable=False),
    sa.Column("labels", sa.BigInteger, nullable=False),
    sa.Column("drifted_columns", sa.JSON, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Index(None, "model_id", "id"),
)
