"""What replicas report, in tables."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.registry.domain.model import Replica, ServedModel, ServingChange
from services.registry.storage.rows import served_from_json, served_to_json, tracks_from_json, tracks_to_json
from services.registry.storage.tables import replicas, serving_changes
from tenon.core.tenancy import TenantId


class SqlServing:
    """See `ports.Serving`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def last_report(self, replica: str) -> Replica | None:
        """See `ports.Serving`."""
        found = self._where(replicas.c.replica == replica)
        return found[0] if found else None

    def save_report(self, replica: Replica) -> None:
        """See `ports.Serving`."""
        values = {
            "reported_at": replica.reported_at,
            "models": served_to_json(replica.models),
            "serves_only": json.dumps(list(replica.serves_only)),
        }
        update = replicas.update().where(replicas.c.replica == replica.name).values(**values)
        if self._session.execute(update).rowcount == 0:  # type: ignore[attr-defined]
            self._session.execute(replicas.insert().values(replica=replica.name, **values))

    def forget(self, replica: str) -> None:
        """See `ports.Serving`."""
        self._session.execute(replicas.delete().where(replicas.c.replica == replica))

    def reported_since(self, at: int) -> list[Replica]:
        """See `ports.Serving`."""
        return self._where(replicas.c.reported_at >= at)

    def silent_since(self, at: int) -> list[Replica]:
        """See `ports.Serving`."""
        return self._where(replicas.c.reported_at < at)

    def add_change(self, tenant: TenantId, change: ServingChange) -> None:
        """See `ports.Serving`."""
        self._session.execute(
            serving_changes.insert().values(
                tenant=tenant.value,
                model=change.served.model,
                replica=change.replica,
                at=change.at,
                cause=change.cause,
                revision=change.served.revision,
                tracks=tracks_to_json(change.served.tracks),
                problem=change.served.problem,
            )
        )

    def history(self, tenant: TenantId, model: str, limit: int) -> list[ServingChange]:
        """See `ports.Serving`."""
        query = (
            sa.select(serving_changes)
            .where(serving_changes.c.tenant == tenant.value, serving_changes.c.model == model)
            .order_by(serving_changes.c.id.desc())
            .limit(limit)
        )
        return [_change(row) for row in self._session.execute(query)]

    def _where(self, condition: sa.ColumnElement[bool]) -> list[Replica]:
        query = sa.select(replicas).where(condition).order_by(replicas.c.replica)
        return [
            Replica(row.replica, row.reported_at, served_from_json(row.models), tuple(json.loads(row.serves_only)))
            for row in self._session.execute(query)
        ]


def _change(row: Any) -> ServingChange:
    served = ServedModel(TenantId(row.tenant), row.model, row.revision, tracks_from_json(row.tracks), row.problem)
    return ServingChange(row.replica, row.at, served, row.cause)
