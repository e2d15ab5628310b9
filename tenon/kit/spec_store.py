"""Revisions of documents, kept the same way by each service that owns a kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tenon.core.errors import NotFound, Place, did_you_mean
from tenon.core.specs import Spec, parse_spec, spec_digest
from tenon.core.tenancy import TenantId
from tenon.kit.sql import Database, UtcDateTime

S = TypeVar("S", bound=Spec)
Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class StoredSpec(Generic[S]):
    """One revision of one document."""

    tenant: TenantId
    name: str
    revision: int
    digest: str
    spec: S
    created_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """The answer of every door that shows a document."""
        return {
            "tenant": self.tenant.value,
            "name": self.name,
            "revision": self.revision,
            "digest": self.digest,
            "spec": self.spec.canonical(),
        }


def spec_table(metadata: sa.MetaData, name: str = "spec_revisions") -> sa.Table:
    """The table; a service declares it once in its metadata and creates it in its first migration."""
    return sa.Table(
        name,
        metadata,
        sa.Column("tenant", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("spec_json", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )


class SpecStore(Generic[S]):
    """The documents of one kind. Equal documents make no new revision."""

    def __init__(self, database: Database, table: sa.Table, kind: type[S], noun: str) -> None:
        self._database, self._table, self._kind, self._noun = database, table, kind, noun

    def apply(
        self,
        tenant: TenantId,
        spec: S,
        *,
        dry_run: bool = False,
        also: Callable[[Session, StoredSpec[S]], None] | None = None,
    ) -> tuple[Change, StoredSpec[S]]:
        """Store a document unless it is the current one. `also` joins the transaction when there is a change.

        Two writers at once get two revisions or, on the same number, a database conflict that the door reports as
        a conflict; the primary key forbids a lost update.
        """
        digest = spec_digest(spec)
        with self._database.session() as session:
            current = self._latest(session, tenant, spec.name)
            if current is not None and current.digest == digest:
                return "unchanged", current
            revision = current.revision + 1 if current else 1
            stored = StoredSpec(tenant, spec.name, revision, digest, spec, datetime.now(UTC))
            change: Change = "updated" if current else "created"
            if dry_run:
                return change, stored
            session.execute(
                self._table.insert().values(
                    tenant=tenant.value,
                    name=spec.name,
                    revision=revision,
                    digest=digest,
                    spec_json=json.dumps(spec.canonical(), sort_keys=True),
                    created_at=stored.created_at,
                )
            )
            if also is not None:
                also(session, stored)
            return change, stored

    def get(self, tenant: TenantId, name: str) -> StoredSpec[S]:
        """The newest revision. Raises `NotFound` with the nearest name."""
        with self._database.session() as session:
            found = self._latest(session, tenant, name)
            if found is not None:
                return found
            names = session.scalars(
                sa.select(self._table.c.name).where(self._table.c.tenant == tenant.value).distinct()
            ).all()
        near = did_you_mean(name, names)
        hint = f"did you mean `{near}`?" if near else (f"there are: {', '.join(sorted(names)[:20])}" if names else None)
        raise NotFound(
            f"{self._noun.upper().replace(' ', '_')}_NOT_FOUND",
            f"tenant {tenant.value!r} has no {self._noun} {name[:80]!r}",
            place=Place(field=self._noun),
            hint=hint,
        )

    def with_digest(self, tenant: TenantId, name: str, digest: str) -> StoredSpec[S]:
        """The newest revision with these contents. Raises `NotFound`."""
        query = (
            sa.select(self._table)
            .where(self._table.c.tenant == tenant.value, self._table.c.name == name, self._table.c.digest == digest)
            .order_by(self._table.c.revision.desc())
            .limit(1)
        )
        with self._database.session() as session:
            row = session.execute(query).first()
        if row is None:
            self.get(tenant, name)
            raise NotFound(
                f"{self._noun.upper().replace(' ', '_')}_REVISION_NOT_FOUND",
                f"{self._noun} {name[:80]!r} never was {digest[:12]!r}",
                place=Place(field=self._noun),
            )
        return self._stored(row)

    def list(self, tenant: TenantId | None) -> list[StoredSpec[S]]:
        """The newest revision of each document, by name; of all tenants when `tenant` is None (platform only)."""
        table = self._table
        newest = sa.select(table.c.tenant, table.c.name, sa.func.max(table.c.revision).label("revision")).group_by(
            table.c.tenant, table.c.name
        )
        if tenant is not None:
            newest = newest.where(table.c.tenant == tenant.value)
        part = newest.subquery()
        query = (
            sa.select(table)
            .join(
                part,
                sa.and_(
                    table.c.tenant == part.c.tenant,
                    table.c.name == part.c.name,
                    table.c.revision == part.c.revision,
                ),
            )
            .order_by(table.c.tenant, table.c.name)
        )
        with self._database.session() as session:
            return [self._stored(row) for row in session.execute(query)]

    def _latest(self, session: Session, tenant: TenantId, name: str) -> StoredSpec[S] | None:
        query = (
            sa.select(self._table)
            .where(self._table.c.tenant == tenant.value, self._table.c.name == name)
            .order_by(self._table.c.revision.desc())
            .limit(1)
        )
        row = session.execute(query).first()
        return self._stored(row) if row else None

    def _stored(self, row: Any) -> StoredSpec[S]:
        spec = parse_spec(self._kind, json.loads(row.spec_json))
        return StoredSpec(TenantId(row.tenant), row.name, row.revision, row.digest, spec, row.created_at)
