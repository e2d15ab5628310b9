"""Labels by entity and time, labels from data sets, expert review."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _model(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=f"fk_{table}_model_id_models")


def _round(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["round_id"], ["review_rounds.id"], name=f"fk_{table}_round_id_review_rounds")


def upgrade() -> None:
    """New tables only."""
    op.create_table(
        "keyed_labels",
        sa.Column("model_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("event_time", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("known_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("within", sa.BigInteger(), nullable=False),
        sa.Column("key_json", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        _model("keyed_labels"),
        sa.PrimaryKeyConstraint("model_id", "event_time", "key_digest", "known_at", name="pk_keyed_labels"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "bookmarks",
        sa.Column("model_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        _model("bookmarks"),
        sa.PrimaryKeyConstraint("model_id", "name", name="pk_bookmarks"),
    )
    op.create_table(
        "dataset_labels",
        sa.Column("model_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("prediction_id", sa.String(length=128), nullable=False),
        sa.Column("known_at", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        _model("dataset_labels"),
        sa.PrimaryKeyConstraint("model_id", "prediction_id", name="pk_dataset_labels"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "review_rounds",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("model_id", _KEY, nullable=False),
        sa.Column("built_at", sa.BigInteger(), nullable=False),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("window_end", sa.BigInteger(), nullable=False),
        sa.Column("looked_at", sa.BigInteger(), nullable=False),
        _model("review_rounds"),
        sa.PrimaryKeyConstraint("id", name="pk_review_rounds"),
    )
    op.create_index("ix_review_rounds_model_id_id", "review_rounds", ["model_id", "id"])
    op.create_table(
        "review_items",
        sa.Column("round_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("prediction_id", sa.String(length=128), nullable=False),
        sa.Column("item_json", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        _round("review_items"),
        sa.PrimaryKeyConstraint("round_id", "rank", name="pk_review_items"),
        sa.UniqueConstraint("round_id", "prediction_id", name="uq_review_items_round_id_prediction_id"),
    )
    op.create_table(
        "corrections",
        sa.Column("model_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("prediction_id", sa.String(length=128), nullable=False),
        sa.Column("known_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("expert", sa.String(length=200), nullable=False),
        sa.Column("event_time", sa.BigInteger(), nullable=False),
        sa.Column("key_json", sa.Text(), nullable=False),
        sa.Column("undone_at", sa.BigInteger(), nullable=True),
        _model("corrections"),
        sa.PrimaryKeyConstraint("model_id", "prediction_id", "known_at", name="pk_corrections"),
        sqlite_with_rowid=False,
    )
