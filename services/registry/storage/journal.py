"""The audit log and the growing numbers, in tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.registry.domain.model import AuditEntry
from services.registry.storage.tables import audit, counters
from tenon.core.tenancy import TenantId


class SqlAudit:
    """See `ports.Audit`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.added: list[AuditEntry] = []

    def last(self, tenant: TenantId) -> AuditEntry | None:
        """See `ports.Audit`."""
        found = self.entries(tenant, before=None, limit=1)
        return found[0] if found else None

    def add(self, tenant: TenantId, entry: AuditEntry) -> None:
        """See `ports.Audit`."""
        self._session.execute(
            audit.insert().values(
                tenant=tenant.value,
                seq=entry.seq,
                at=entry.at,
                actor=entry.actor,
                action=entry.action,
                subject=entry.subject,
                details=json.dumps(dict(entry.details), sort_keys=True, ensure_ascii=False),
                previous=entry.previous,
                hash=entry.hash,
            )
        )
        self.added.append(entry)

    def entries(self, tenant: TenantId, *, before: int | None, limit: int) -> list[AuditEntry]:
        """See `ports.Audit`."""
        query = sa.select(audit).where(audit.c.tenant == tenant.value).order_by(audit.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.seq < before)
        return [_entry(row) for row in self._session.execute(query)]

    def chain(self, tenant: TenantId) -> Iterator[AuditEntry]:
        """See `ports.Audit`."""
        query = sa.select(audit).where(audit.c.tenant == tenant.value).order_by(audit.c.seq)
        for row in self._session.execute(query.execution_options(yield_per=1000)):
            yield _entry(row)


class SqlCounters:
    """See `ports.Counters`. The row is locked until the transaction ends, so numbers follow the order of commits."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def value(self, name: str) -> int:
        """See `ports.Counters`."""
        return self._session.scalar(sa.select(counters.c.value).where(counters.c.name == name)) or 0

    def advance(self, name: str) -> int:
        """See `ports.Counters`."""
        step = (
            counters.update()
            .where(counters.c.name == name)
            .values(value=counters.c.value + 1)
            .returning(counters.c.value)
        )
        value = self._session.scalar(step)
        if value is None:
            # The very first: two at once meet at the primary key, and one of them begins again.
            self._session.execute(counters.insert().values(name=name, value=1))
            return 1
        return value


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        TenantId(row.tenant),
        row.seq,
        row.at,
        row.actor,
        row.action,
        row.subject,
        json.loads(row.details),
        row.previous,
        row.hash,
    )
