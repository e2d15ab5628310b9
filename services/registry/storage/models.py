"""Versions and releases in tables."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.registry.domain.model import Release, Version
from services.registry.storage.rows import automatic_from_json, automatic_to_json, tracks_from_json, tracks_to_json
from services.registry.storage.tables import releases, versions
from tenon.core.tenancy import TenantId


class SqlVersions:
    """See `ports.Versions`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def latest_number(self, tenant: TenantId, model: str) -> int:
        """See `ports.Versions`."""
        query = sa.select(sa.func.max(versions.c.number)).where(
            versions.c.tenant == tenant.value, versions.c.model == model
        )
        return self._session.scalar(query) or 0

    def add(self, tenant: TenantId, version: Version) -> None:
        """See `ports.Versions`."""
        self._session.execute(
            versions.insert().values(
                tenant=tenant.value,
                model=version.model,
                number=version.number,
                bundle_sha256=version.bundle_sha256,
                size_bytes=version.size_bytes,
                run_id=version.run_id,
                created_at=version.created_at,
                created_by=version.created_by,
                manifest_json=version.manifest_json,
                failed_gates=json.dumps(list(version.failed_gates)),
            )
        )

    def get(self, tenant: TenantId, model: str, number: int) -> Version | None:
        """See `ports.Versions`."""
        found = self._where(tenant, versions.c.model == model, versions.c.number == number)
        return found[0] if found else None

    def of_run(self, tenant: TenantId, model: str, run_id: str, bundle_sha256: str) -> Version | None:
        """See `ports.Versions`."""
        found = self._where(
            tenant, versions.c.model == model, versions.c.run_id == run_id, versions.c.bundle_sha256 == bundle_sha256
        )
        return found[0] if found else None

    def of_model(self, tenant: TenantId, model: str, limit: int) -> list[Version]:
        """See `ports.Versions`."""
        return self._where(tenant, versions.c.model == model, limit=limit)

    def counts(self, tenant: TenantId) -> dict[str, int]:
        """See `ports.Versions`."""
        query = (
            sa.select(versions.c.model, sa.func.count())
            .where(versions.c.tenant == tenant.value)
            .group_by(versions.c.model)
        )
        return {model: count for model, count in self._session.execute(query)}  # noqa: C416 - rows are not tuples

    def _where(self, tenant: TenantId, *conditions: sa.ColumnElement[bool], limit: int | None = None) -> list[Version]:
        query = (
            sa.select(versions)
            .where(versions.c.tenant == tenant.value, *conditions)
            .order_by(versions.c.number.desc())
            .limit(limit)
        )
        return [
            Version(
                TenantId(row.tenant),
                row.model,
                row.number,
                row.bundle_sha256,
                row.size_bytes,
                row.run_id,
                row.created_at,
                row.created_by,
                bytes(row.manifest_json),
                tuple(json.loads(row.failed_gates)),
            )
            for row in self._session.execute(query)
        ]


class SqlReleases:
    """See `ports.Releases`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def current(self, tenant: TenantId, model: str) -> Release | None:
        """See `ports.Releases`."""
        found = self.history(tenant, model, 1)
        return found[0] if found else None

    def get(self, tenant: TenantId, model: str, revision: int) -> Release | None:
        """See `ports.Releases`."""
        query = sa.select(releases).where(
            releases.c.tenant == tenant.value, releases.c.model == model, releases.c.revision == revision
        )
        row = self._session.execute(query).first()
        return _release(row) if row else None

    def history(self, tenant: TenantId, model: str, limit: int) -> list[Release]:
        """See `ports.Releases`."""
        query = (
            sa.select(releases)
            .where(releases.c.tenant == tenant.value, releases.c.model == model)
            .order_by(releases.c.revision.desc())
            .limit(limit)
        )
        return [_release(row) for row in self._session.execute(query)]

    def add(self, tenant: TenantId, release: Release) -> None:
        """See `ports.Releases`."""
        self._session.execute(
            releases.insert().values(
                tenant=tenant.value,
                model=release.model,
                revision=release.revision,
                change=release.change,
                tracks=tracks_to_json(release.tracks),
                action=release.action,
                from_revision=release.from_revision,
                reason=release.reason,
                created_at=release.created_at,
                created_by=release.created_by,
                automatic=automatic_to_json(release.automatic),
            )
        )

    def current_of(self, tenant: TenantId) -> list[Release]:
        """See `ports.Releases`."""
        return self._newest(releases.c.tenant == tenant.value)

    def all_current(self) -> list[Release]:
        """See `ports.Releases`."""
        return self._newest(sa.true())

    def changed_since(self, change: int) -> list[Release]:
        """See `ports.Releases`."""
        query = sa.select(releases).where(releases.c.change > change).order_by(releases.c.change)
        return [_release(row) for row in self._session.execute(query)]

    def _newest(self, condition: sa.ColumnElement[bool]) -> list[Release]:
        newest = (
            sa.select(releases.c.tenant, releases.c.model, sa.func.max(releases.c.revision).label("revision"))
            .where(condition)
            .group_by(releases.c.tenant, releases.c.model)
            .subquery()
        )
        same = sa.and_(
            releases.c.tenant == newest.c.tenant,
            releases.c.model == newest.c.model,
            releases.c.revision == newest.c.revision,
        )
        query = sa.select(releases).join(newest, same).order_by(releases.c.tenant, releases.c.model)
        return [_release(row) for row in self._session.execute(query)]


def _release(row: Any) -> Release:
    return Release(
        TenantId(row.tenant),
        row.model,
        row.revision,
        tracks_from_json(row.tracks),
        row.action,
        row.created_at,
        row.created_by,
        row.from_revision,
        row.reason,
        row.change,
        automatic_from_json(row.automatic),
    )
