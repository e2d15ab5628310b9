"""Prediction log, labels, manifests, verdicts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite gives numbers to rows by itself only for the type INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "models",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("changes", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("tenant", "model", name="uq_models_tenant_model"),
    )
    op.create_table(
        "taken_batches",
        sa.Column("batch_id", sa.String(length=128), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_taken_batches"),
    )
    op.create_table(
        "batches",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("model_id", _KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("protocol", sa.String(length=10), nullable=False),
        sa.Column("replica", sa.String(length=128), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("at_min", sa.BigInteger(), nullable=False),
        sa.Column("at_max", sa.BigInteger(), nullable=False),
        sa.Column("event_time_min", sa.BigInteger(), nullable=False),
        sa.Column("event_time_max", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_batches_model_id_models"),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
    )
    op.create_index("ix_batches_model_id_at_max", "batches", ["model_id", "at_max"], unique=False)
    op.create_index("ix_batches_model_id_event_time_max", "batches", ["model_id", "event_time_max"], unique=False)
    op.create_table(
        "labels",
        sa.Column("model_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("prediction_id", sa.String(length=128), nullable=False),
        sa.Column("known_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_labels_model_id_models"),
        sa.PrimaryKeyConstraint("model_id", "prediction_id", "known_at", name="pk_labels"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "manifests",
        sa.Column("model_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bundle_sha256", sa.String(length=64), nullable=False),
        sa.Column("manifest_json", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_manifests_model_id_models"),
        sa.PrimaryKeyConstraint("model_id", "version", name="pk_manifests"),
    )
    op.create_table(
        "series",
        sa.Column("model_id", _KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("predictions", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_series_model_id_models"),
        sa.PrimaryKeyConstraint("model_id", "version", "role", name="pk_series"),
    )
    op.create_table(
        "verdicts",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("model_id", _KEY, nullable=False),
        sa.Column("judged_at", sa.BigInteger(), nullable=False),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("window_end", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("drift", sa.String(length=20), nullable=False),
        sa.Column("quality", sa.String(length=20), nullable=False),
        sa.Column("predictions", sa.BigInteger(), nullable=False),
        sa.Column("labels", sa.BigInteger(), nullable=False),
        sa.Column("drifted_columns", sa.JSON(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_verdicts_model_id_models"),
        sa.PrimaryKeyConstraint("id", name="pk_verdicts"),
    )
    op.create_index("ix_verdicts_model_id_id", "verdicts", ["model_id", "id"], unique=False)
    op.create_table(
        "batch_rows",
        sa.Column("batch_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_batch_rows_batch_id_batches"),
        sa.PrimaryKeyConstraint("batch_id", name="pk_batch_rows"),
    )
    op.create_table(
        "predictions",
        sa.Column("batch_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model_id", _KEY, nullable=False),
        sa.Column("prediction_id", sa.String(length=128), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event_time", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_predictions_batch_id_batches"),
        sa.PrimaryKeyConstraint("batch_id", "row", name="pk_predictions"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_predictions_prediction_id_model_id", "predictions", ["prediction_id", "model_id"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_predictions_prediction_id_model_id", table_name="predictions")
    op.drop_table("predictions")
    op.drop_table("batch_rows")
    op.drop_index("ix_verdicts_model_id_id", table_name="verdicts")
    op.drop_table("verdicts")
    op.drop_table("series")
    op.drop_table("manifests")
    op.drop_table("labels")
    op.drop_index("ix_batches_model_id_event_time_max", table_name="batches")
    op.drop_index("ix_batches_model_id_at_max", table_name="batches")
    op.drop_table("batches")
    op.drop_table("taken_batches")
    op.drop_table("models")
