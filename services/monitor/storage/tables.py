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
