"""The tables of ingest's database."""

from __future__ import annotations

import sqlalchemy as sa

from tenon.kit.outbox import outbox_table
from tenon.kit.spec_store import spec_table
from tenon.kit.sql import NAMING

metadata = sa.MetaData(naming_convention=NAMING)

spec_revisions = spec_table(metadata)
outbox = outbox_table(metadata)

batches = sa.Table(
    "batches",
    metadata,
    # The order of arrival, which is the order of loading.
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(32), nullable=False, unique=True),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("dataset", sa.String(63), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("rules_sha256", sa.String(64), nullable=False),  # of what decides how the file is read
    sa.Column("file_name", sa.String(200), nullable=False),
    sa.Column("file_sha256", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("gzipped", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),  # microseconds since the epoch, like every time here
    sa.Column("committed_at", sa.BigInteger),
    sa.Column("rows_read", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("rows_committed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("rows_superseded", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("rows_quarantined", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("reasons_json", sa.Text, nullable=False, server_default="{}"),
    sa.Column("problem_json", sa.Text),
    sa.Column("table_version", sa.BigInteger, nullable=False, server_default="-1"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("claimed_by", sa.String(64)),
    sa.Column("claimed_until", sa.BigInteger, nullable=False, server_default="0"),
)
sa.Index("ix_batches_tenant_dataset_sequence", batches.c.tenant, batches.c.dataset, batches.c.sequence)
sa.Index("ix_batches_state", batches.c.state)
# The same content under the same rules is taken once; what was refused may be sent again.
sa.Index(
    "uq_batches_content",
    batches.c.tenant, batches.c.dataset, batches.c.file_sha256, batches.c.rules_sha256,
    unique=True,
    sqlite_where=batches.c.state != "refused",
    postgresql_where=batches.c.state != "refused",
)  # fmt: skip

lake_tables = sa.Table(
    "lake_tables",
    metadata,
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("dataset", sa.String(63), primary_key=True),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
)
