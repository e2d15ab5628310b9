"""The tables of incidents. Times are microseconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

from services.monitor.storage.tables import metadata

# SQLite gives numbers to rows by itself only for the type INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# One row: the round that was kept last.
rounds = sa.Table(
    "incident_rounds",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)

cursors = sa.Table(
    "incident_cursors",
    metadata,
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("model", sa.String(63), primary_key=True),
    sa.Column("looked_until", sa.BigInteger, nullable=False),
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("scope", sa.String(10), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("severity", sa.String(10), nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("closed_at", sa.BigInteger, nullable=True),
    sa.Column("close_reason", sa.Text, nullable=False),
    sa.Column("merged_into", sa.String(32), nullable=False),
    sa.Column("reopened", sa.Integer, nullable=False),
    sa.Column("causes", sa.JSON, nullable=False),
    sa.Column("tenants_looked_at", sa.Integer, nullable=False),
    sa.Index(None, "state", "opened_at"),
)

members = sa.Table(
    "incident_members",
    metadata,
    sa.Column("incident_id", sa.String(32), sa.ForeignKey("incidents.id"), primary_key=True),
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("model", sa.String(63), primary_key=True),
    sa.Column("feature", sa.String(200), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("change", sa.String(20), nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("seen_until", sa.BigInteger, nullable=False),
    sa.Column("p_value", sa.Double, nullable=True),
    sa.Column("effect", sa.Double, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("quiet", sa.Integer, nullable=False),
    sa.Column("over", sa.Boolean, nullable=False),
    sa.Index(None, "tenant", "incident_id"),
)

# `tenant` is empty for the operator's own note.
notes = sa.Table(
    "incident_notes",
    metadata,
    sa.Column("incident_id", sa.String(32), sa.ForeignKey("incidents.id"), primary_key=True),
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=True),
    sa.Column("text", sa.Text, nullable=False),
)

# Only added to. `tenant` is whose reader a line is for: a tenant, or empty for the operator.
history = sa.Table(
    "incident_history",
    metadata,
    sa.Column("id", _KEY, primary_key=True, autoincrement=True),
    sa.Column("incident_id", sa.String(32), sa.ForeignKey("incidents.id"), nullable=False),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("event", sa.String(20), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=True),
    sa.Index(None, "incident_id", "tenant"),
)

# When somebody was last told of an incident; `tenant` is empty for the operator.
told = sa.Table(
    "incident_told",
    metadata,
    sa.Column("incident_id", sa.String(32), sa.ForeignKey("incidents.id"), primary_key=True),
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)

messages = sa.Table(
    "alert_messages",
    metadata,
    sa.Column("id", _KEY, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("webhook", sa.String(63), nullable=False),
    sa.Column("items", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("sent_at", sa.BigInteger, nullable=True),
    sa.Column("problem", sa.Text, nullable=False),
    sa.Index(None, "due_at"),
)
