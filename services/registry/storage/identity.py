"""Tenants and keys in tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.registry.domain.model import ApiKey, Tenant
from services.registry.storage.tables import api_keys, tenant_revisions
from tenon.core.tenancy import Scope, TenantId
from tenon.core.timestamps import datetime_from_micros, micros_from_datetime


class SqlTenants:
    """See `ports.Tenants`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def latest(self, tenant: TenantId) -> Tenant | None:
        """See `ports.Tenants`."""
        found = self._newest(tenant_revisions.c.tenant == tenant.value)
        return found[0] if found else None

    def all(self) -> list[Tenant]:
        """See `ports.Tenants`."""
        return self._newest(sa.true())

    def add_revision(self, tenant: TenantId, revision: int, spec: Mapping[str, Any], at: int) -> None:
        """See `ports.Tenants`."""
        text = json.dumps(dict(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._session.execute(
            tenant_revisions.insert().values(
                tenant=tenant.value,
                name=tenant.value,
                revision=revision,
                digest=hashlib.sha256(text.encode()).hexdigest(),
                spec_json=text,
                created_at=datetime_from_micros(at),
            )
        )

    def _newest(self, condition: sa.ColumnElement[bool]) -> list[Tenant]:
        table = tenant_revisions
        span = (
            sa.select(
                table.c.tenant,
                sa.func.max(table.c.revision).label("revision"),
                sa.func.min(table.c.created_at).label("first_at"),
            )
            .where(condition)
            .group_by(table.c.tenant)
            .subquery()
        )
        query = (
            sa.select(table, span.c.first_at)
            .join(span, sa.and_(table.c.tenant == span.c.tenant, table.c.revision == span.c.revision))
            .order_by(table.c.tenant)
        )
        return [
            Tenant(
                TenantId(row.tenant),
                json.loads(row.spec_json),
                row.revision,
                micros_from_datetime(row.first_at),
                micros_from_datetime(row.created_at),
            )
            for row in self._session.execute(query)
        ]


class SqlKeys:
    """See `ports.Keys`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, tenant: TenantId, key: ApiKey) -> None:
        """See `ports.Keys`."""
        self._session.execute(
            api_keys.insert().values(
                key_id=key.key_id,
                key_sha256=key.key_sha256,
                tenant=tenant.value,
                name=key.name,
                scopes=" ".join(sorted(key.scopes)),
                created_at=key.created_at,
                created_by=key.created_by,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
            )
        )

    def get(self, tenant: TenantId, key_id: str) -> ApiKey | None:
        """See `ports.Keys`."""
        found = self._where(api_keys.c.tenant == tenant.value, api_keys.c.key_id == key_id)
        return found[0] if found else None

    def of_tenant(self, tenant: TenantId) -> list[ApiKey]:
        """See `ports.Keys`."""
        return self._where(api_keys.c.tenant == tenant.value)

    def revoke(self, tenant: TenantId, key_id: str, at: int) -> None:
        """See `ports.Keys`."""
        self._session.execute(
            api_keys.update()
            .where(api_keys.c.tenant == tenant.value, api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )

    def by_hash(self, key_sha256: str) -> ApiKey | None:
        """See `ports.Keys`."""
        found = self._where(api_keys.c.key_sha256 == key_sha256)
        return found[0] if found else None

    def valid(self, now: int) -> list[ApiKey]:
        """See `ports.Keys`."""
        in_time = sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
        return self._where(api_keys.c.revoked_at.is_(None), in_time)

    def _where(self, *conditions: sa.ColumnElement[bool]) -> list[ApiKey]:
        query = sa.select(api_keys).where(*conditions).order_by(api_keys.c.created_at.desc(), api_keys.c.key_id)
        return [
            ApiKey(
                row.key_id,
                row.key_sha256,
                TenantId(row.tenant),
                row.name,
                frozenset(Scope(name) for name in row.scopes.split()),
                row.created_at,
                row.created_by,
                row.expires_at,
                row.revoked_at,
            )
            for row in self._session.execute(query)
        ]
