"""Tables of expert review."""

from __future__ import annotations

import sqlalchemy as sa

from services.monitor.storage.tables import KEY, metadata

review_rounds = sa.Table(
    "review_rounds",
    metadata,
    sa.Column("id", KEY, primary_key=True, autoincrement=True),
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), nullable=False),
    sa.Column("built_at", sa.BigInteger, nullable=False),
    sa.Column("window_start", sa.BigInteger, nullable=False),
    sa.Column("window_end", sa.BigInteger, nullable=False),
    sa.Column("looked_at", sa.BigInteger, nullable=False),
    sa.Index(None, "model_id", "id"),
)

# One row a candidate, in a fixed order: whoever comes back finds the queue as it was left.
review_items = sa.Table(
    "review_items",
    metadata,
    sa.Column("round_id", KEY, sa.ForeignKey("review_rounds.id"), primary_key=True, autoincrement=False),
    sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("prediction_id", sa.String(128), nullable=False),
    sa.Column("item_json", sa.Text, nullable=False),
    # open, labelled, skipped
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("value", sa.Double, nullable=True),
    sa.Column("decided_at", sa.BigInteger, nullable=True),
    sa.Column("decided_by", sa.String(200), nullable=True),
    sa.UniqueConstraint("round_id", "prediction_id"),
)

# Labels by experts; they reach the next training. What was undone stays, so that an earlier training can be told again.
corrections = sa.Table(
    "corrections",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True, autoincrement=False),
    sa.Column("prediction_id", sa.String(128), primary_key=True),
    sa.Column("known_at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("expert", sa.String(200), nullable=False),
    sa.Column("event_time", sa.BigInteger, nullable=False),
    # What the request said: the columns by which the trainer finds the row of the spine.
    sa.Column("key_json", sa.Text, nullable=False),
    sa.Column("undone_at", sa.BigInteger, nullable=True),
    sqlite_with_rowid=False,
)
