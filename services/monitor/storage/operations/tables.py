"""Tables of operations and of canary verdicts. Times are microseconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

from services.monitor.storage.tables import metadata
from tenon.core.operations import FAILURES, LATENCY_BOUNDS

FAILURE_COLUMNS = tuple(failure.value for failure in FAILURES)
LATENCY_COLUMNS = tuple(f"latency_{place}" for place in range(len(LATENCY_BOUNDS) + 1))
COUNTED = ("answers", *FAILURE_COLUMNS, *LATENCY_COLUMNS)

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _counts_by_time(name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("tenant", sa.String(40), primary_key=True),
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("role", sa.String(10), primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTED),
        sa.Index(None, "start"),
    )


# The same counts by minutes, which trials are judged by, and by hours, which say what is usual.
operations = _counts_by_time("operations")
operations_by_hour = _counts_by_time("operations_by_hour")

# A record that comes again finds itself here.
taken_operations = sa.Table(
    "taken_operations",
    metadata,
    sa.Column("record_id", sa.String(128), primary_key=True),
    sa.Column("taken_at", sa.BigInteger, nullable=False, index=True),
)

canary_verdicts = sa.Table(
    "canary_verdicts",
    metadata,
    sa.Column("id", _KEY, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("model", sa.String(63), nullable=False),
    sa.Column("judged_at", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("candidate", sa.Integer, nullable=False),
    sa.Column("verdict", sa.String(20), nullable=False),
    # The whole judgement as it is shown.
    sa.Column("judgement", sa.JSON, nullable=False),
    sa.Index(None, "tenant", "model", "id"),
)
