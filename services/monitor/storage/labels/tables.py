"""Tables of labels, and of work that goes through the log for them. Times are microseconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

from services.monitor.storage.tables import KEY, metadata

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

# Labels that name an event: kept, for predictions of it may still come.
keyed_labels = sa.Table(
    "keyed_labels",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True, autoincrement=False),
    sa.Column("event_time", sa.BigInteger, primary_key=True, autoincrement=False),
    # sha256 of the key in its canonical form.
    sa.Column("key_digest", sa.String(64), primary_key=True),
    sa.Column("known_at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("within", sa.BigInteger, nullable=False),
    sa.Column("key_json", sa.Text, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)

# How far a background work has come through a model's log or its data set.
bookmarks = sa.Table(
    "bookmarks",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)

# What the spine's rows last said of a prediction: another value for it is a correction.
dataset_labels = sa.Table(
    "dataset_labels",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True, autoincrement=False),
    sa.Column("prediction_id", sa.String(128), primary_key=True),
    sa.Column("known_at", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)
