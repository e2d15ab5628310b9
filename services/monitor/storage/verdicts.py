"""Verdicts and manifests in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.model import Drift, Quality, VerdictRecord
from services.monitor.storage import tables as t
from services.monitor.storage.prediction_log import ModelIds, insert_into

if TYPE_CHECKING:
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database


class SqlVerdicts:
    """See `domain.ports.Verdicts`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def add(self, tenant: TenantId, record: VerdictRecord) -> None:
        """Keep one."""
        with self._database.session() as session:
            session.execute(
                sa.insert(t.verdicts).values(
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
        newest = sa.select(sa.func.max(t.verdicts.c.id)).group_by(t.verdicts.c.model_id)
        query = _of_tenant(tenant).where(t.verdicts.c.id.in_(newest))
        with self._database.session() as session:
            return {row.model: _record(row) for row in session.execute(query)}

    def history(self, tenant: TenantId, model: str, limit: int) -> list[VerdictRecord]:
        """Newest first."""
        query = _of_tenant(tenant).where(t.models.c.model == model).order_by(t.verdicts.c.id.desc()).limit(limit)
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
            query = sa.select(t.manifests.c.manifest_json).where(
                t.manifests.c.model_id == model_id, t.manifests.c.version == version
            )
            return session.execute(query).scalar_one_or_none()

    def put(self, tenant: TenantId, model: str, version: int, bundle_sha256: str, manifest_json: bytes) -> None:
        """Keep one; a version's manifest never changes."""
        with self._database.session() as session:
            session.execute(
                insert_into(session, t.manifests)
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
        sa.select(t.verdicts, t.models.c.model)
        .join(t.models, t.models.c.id == t.verdicts.c.model_id)
        .where(t.models.c.tenant == tenant.value)
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
