"""Verdicts and manifests in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.model import Drift, Quality, VerdictRecord
from services.monitor.storage.models import ModelIds, insert_into
from services.monitor.storage.tables import KEY, metadata, models

if TYPE_CHECKING:
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

# A version never changes, so its manifest is kept: verdicts go on with the registry down.
manifests = sa.Table(
    "manifests",
    metadata,
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("bundle_sha256", sa.String(64), nullable=False),
    sa.Column("manifest_json", sa.LargeBinary, nullable=False),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", KEY, primary_key=True, autoincrement=True),
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), nullable=False),
    sa.Column("judged_at", sa.BigInteger, nullable=False),
    sa.Column("window_start", sa.BigInteger, nullable=False),
    sa.Column("window_end", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("drift", sa.String(20), nullable=False),
    sa.Column("quality", sa.String(20), nullable=False),
    sa.Column("predictions", sa.BigInteger, nullable=False),
    sa.Column("labels", sa.BigInteger, nullable=False),
    sa.Column("drifted_columns", sa.JSON, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Index(None, "model_id", "id"),
)


class SqlVerdicts:
    """See `domain.ports.Verdicts`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def add(self, tenant: TenantId, record: VerdictRecord) -> None:
        """Keep one."""
        with self._database.session() as session:
            session.execute(
                sa.insert(verdicts).values(
                    model_id=self._ids.need(session, tenant, record.model),
                    judged_at=record.judged_at,
                    window_start=record.window_start,
                    window_end=record.window_end,
                    version=record.version,
                    drift=record.drift.value,
                    quality=record.quality.value,
                    predictions=record.predictions,
                    labels=record.labels,
                    drifted_columns=list(record.drifted_columns),
                    summary=record.summary,
                )
            )

    def latest(self, tenant: TenantId) -> dict[str, VerdictRecord]:
        """The newest of each of the tenant's models."""
        newest = sa.select(sa.func.max(verdicts.c.id)).group_by(verdicts.c.model_id)
        query = _of_tenant(tenant).where(verdicts.c.id.in_(newest))
        with self._database.session() as session:
            return {row.model: _record(row) for row in session.execute(query)}

    def history(self, tenant: TenantId, model: str, limit: int) -> list[VerdictRecord]:
        """Newest first."""
        query = _of_tenant(tenant).where(models.c.model == model).order_by(verdicts.c.id.desc()).limit(limit)
        with self._database.session() as session:
            return [_record(row) for row in session.execute(query)]


class SqlManifests:
    """Manifests as read from the registry, so that verdicts go on without it."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def get(self, tenant: TenantId, model: str, version: int) -> bytes | None:
        """The kept manifest, None when it was never read."""
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            query = sa.select(manifests.c.manifest_json).where(
                manifests.c.model_id == model_id, manifests.c.version == version
            )
            return session.execute(query).scalar_one_or_none()

    def put(self, tenant: TenantId, model: str, version: int, bundle_sha256: str, manifest_json: bytes) -> None:
        """Keep one; a version's manifest never changes."""
        with self._database.session() as session:
            session.execute(
                insert_into(session, manifests)
                .values(
                    model_id=self._ids.need(session, tenant, model),
                    version=version,
                    bundle_sha256=bundle_sha256,
                    manifest_json=manifest_json,
                )
                .on_conflict_do_nothing()
            )


def _of_tenant(tenant: TenantId) -> sa.Select:
    return (
        sa.select(verdicts, models.c.model)
        .join(models, models.c.id == verdicts.c.model_id)
        .where(models.c.tenant == tenant.value)
    )


def _record(row: sa.Row) -> VerdictRecord:
    return VerdictRecord(
        model=row.model,
        judged_at=row.judged_at,
        window_start=row.window_start,
        window_end=row.window_end,
        version=row.version,
        drift=Drift(row.drift),
        quality=Quality(row.quality),
        predictions=row.predictions,
        labels=row.labels,
        drifted_columns=tuple(row.drifted_columns),
        summary=row.summary,
    )
