"""Retraining requests in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from services.monitor.domain.retraining.judge import Request, Sign, State
from services.monitor.storage.models import insert_into
from services.monitor.storage.tables import metadata
from tenon.core.specs.monitor import RetrainReason
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from tenon.kit.sql import Database

retraining_requests = sa.Table(
    "retraining_requests",
    metadata,
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("model", sa.String(63), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("asked_at", sa.BigInteger, nullable=False),
    sa.Column("signs", sa.JSON, nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("run_id", sa.String(80), nullable=False),
    sa.Column("new_version", sa.Integer, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.String(200), nullable=False),
    sa.Index(None, "tenant", "model", "asked_at"),
)


class SqlRetrainingRequests:
    """See `domain.retraining.Requests`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, tenant: TenantId, request: Request) -> bool:
        """See the port."""
        row = _row(request) | {"tenant": tenant.value, "id": request.id}
        with self._database.session() as session:
            added: Any = session.execute(
                insert_into(session, retraining_requests).values(**row).on_conflict_do_nothing()
            )
            return bool(added.rowcount)

    def get(self, tenant: TenantId, request_id: str) -> Request | None:
        """See the port."""
        return next(iter(self._found(_of(tenant).where(retraining_requests.c.id == request_id))), None)

    def known(self, tenant: TenantId, model: str, limit: int) -> list[Request]:
        """See the port."""
        query = _of(tenant).order_by(retraining_requests.c.asked_at.desc(), retraining_requests.c.id).limit(limit)
        return self._found(query.where(retraining_requests.c.model == model) if model else query)

    def started(self) -> list[Request]:
        """See the port."""
        return self._found(sa.select(retraining_requests).where(retraining_requests.c.state == State.STARTED.value))

    def change(self, tenant: TenantId, request: Request, *, was: State) -> bool:
        """See the port."""
        with self._database.session() as session:
            changed: Any = session.execute(
                sa.update(retraining_requests)
                .where(retraining_requests.c.tenant == tenant.value, retraining_requests.c.id == request.id)
                .where(retraining_requests.c.state == was.value)
                .values(**_row(request))
            )
            return bool(changed.rowcount)

    def _found(self, query: sa.Select[Any]) -> list[Request]:
        with self._database.session() as session:
            return [_request(row) for row in session.execute(query)]


def _of(tenant: TenantId) -> sa.Select[Any]:
    return sa.select(retraining_requests).where(retraining_requests.c.tenant == tenant.value)


def _row(request: Request) -> dict[str, Any]:
    return {
        "model": request.model,
        "version": request.version,
        "asked_at": request.asked_at,
        "signs": [[sign.reason.value, sign.text] for sign in request.signs],
        "state": request.state.value,
        "run_id": request.run_id,
        "new_version": request.new_version,
        "note": request.note,
        "changed_at": request.changed_at,
        "changed_by": request.changed_by[:200],
    }


def _request(row: sa.Row[Any]) -> Request:
    return Request(
        id=row.id,
        tenant=TenantId(row.tenant),
        model=row.model,
        version=row.version,
        asked_at=row.asked_at,
        signs=tuple(Sign(RetrainReason(reason), text) for reason, text in row.signs),
        state=State(row.state),
        run_id=row.run_id,
        new_version=row.new_version,
        note=row.note,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
    )
