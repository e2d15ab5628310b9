"""The registry's tables. Times are microseconds since the epoch; numbers are unique per tenant and model."""

from __future__ import annotations

import sqlalchemy as sa

from tenon.kit.spec_store import spec_table
from tenon.kit.sql import NAMING

metadata = sa.MetaData(naming_convention=NAMING)

TENANT = sa.String(40)
MODEL = sa.String(63)
SHA256 = sa.String(64)

# `name` equals `tenant` here; the shape is the one that every service keeps its documents in.
tenant_revisions = spec_table(metadata, "tenant_revisions")

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.String(32), primary_key=True),
    sa.Column("key_sha256", SHA256, nullable=False, unique=True),
    sa.Column("tenant", TENANT, nullable=False, index=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("scopes", sa.String(100), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(100), nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("tenant", TENANT, primary_key=True),
    sa.Column("model", MODEL, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("bundle_sha256", SHA256, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(100), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(100), nullable=False),
    sa.Column("manifest_json", sa.LargeBinary, nullable=False),
    sa.Column("failed_gates", sa.Text, nullable=False),
    sa.UniqueConstraint("tenant", "model", "run_id", "bundle_sha256"),
)

releases = sa.Table(
    "releases",
    metadata,
    sa.Column("tenant", TENANT, primary_key=True),
    sa.Column("model", MODEL, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("change", sa.BigInteger, nullable=False, unique=True),
    sa.Column("tracks", sa.Text, nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("from_revision", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(100), nullable=False),
    # JSON; empty: nothing happens by itself.
    sa.Column("automatic", sa.Text, nullable=False, server_default=""),
)

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("replica", sa.String(200), primary_key=True),
    sa.Column("reported_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("models", sa.Text, nullable=False),
    sa.Column("serves_only", sa.Text, nullable=False),
)

serving_changes = sa.Table(
    "serving_changes",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("tenant", TENANT, nullable=False),
    sa.Column("model", MODEL, nullable=False),
    sa.Column("replica", sa.String(200), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("cause", sa.String(20), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("tracks", sa.Text, nullable=False),
    sa.Column("problem", sa.Text, nullable=False),
    sa.Index("ix_serving_changes_tenant_model_id", "tenant", "model", "id"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("tenant", TENANT, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(100), nullable=False),
    sa.Column("action", sa.String(50), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("previous", SHA256, nullable=False),
    sa.Column("hash", SHA256, nullable=False),
)

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String(50), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
