"""Segments of many batches, and the windows they are counted in."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables; the rows of the former ones are moved by the program, some at a time."""
    op.add_column("series", sa.Column("first_event", sa.BigInteger(), nullable=True))
    op.add_column("series", sa.Column("last_event", sa.BigInteger(), nullable=True))
    op.create_table(
        "segments",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("model_id", _KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("at_min", sa.BigInteger(), nullable=False),
        sa.Column("at_max", sa.BigInteger(), nullable=False),
        sa.Column("event_time_min", sa.BigInteger(), nullable=False),
        sa.Column("event_time_max", sa.BigInteger(), nullable=False),
        sa.Column("id_min", sa.BigInteger(), nullable=False),
        sa.Column("id_max", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.String(length=20), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_segments_model_id_models"),
    )
    for column in ("at_max", "event_time_max", "id_max"):
        op.create_index(f"ix_segments_model_id_{column}", "segments", ["model_id", column])
    op.create_table(
        "segment_rows",
        sa.Column("segment_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("segment_id", name="pk_segment_rows"),
        sa.ForeignKeyConstraint(["segment_id"], ["segments.id"], name="fk_segment_rows_segment_id_segments"),
    )
    op.create_table(
        "unsketched",
        sa.Column("segment_id", _KEY, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("segment_id", name="pk_unsketched"),
        sa.ForeignKeyConstraint(["segment_id"], ["segments.id"], name="fk_unsketched_segment_id_segments"),
    )
    op.create_table(
        "windows",
        sa.Column("model_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("axis", sa.String(length=10), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("sketched", sa.BigInteger(), nullable=False),
        sa.Column("levels", sa.JSON(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("model_id", "axis", "version", "role", "start", name="pk_windows"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_windows_model_id_models"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("windows", "unsketched", "segment_rows", "segments"):
        op.drop_table(table)
    with op.batch_alter_table("series") as series:
        series.drop_column("last_event")
        series.drop_column("first_event")
