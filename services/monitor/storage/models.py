"""Numbers of models, and what all stores share."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services.monitor.storage.tables import models

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tenon.core.tenancy import TenantId


def insert_into(session: Session, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT, on either database."""
    return (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(table)


def now_micros() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


def note_change(session: Session, model_id: int) -> None:
    """Count a change of a model; until the transaction ends, nobody else changes what belongs to it."""
    counted = sa.update(models).where(models.c.id == model_id).values(changes=models.c.changes + 1)
    session.execute(counted)


class ModelIds:
    """Numbers of (tenant, model), kept in memory: they never change."""

    def __init__(self) -> None:
        self._known: dict[tuple[TenantId, str], int] = {}
        self._lock = threading.Lock()

    def find(self, session: Session, tenant: TenantId, model: str) -> int | None:
        """The number, None when the model was never seen."""
        with self._lock:
            known = self._known.get((tenant, model))
        if known is not None:
            return known
        query = sa.select(models.c.id).where(models.c.tenant == tenant.value, models.c.model == model)
        return session.execute(query).scalar_one_or_none()

    def committed(self, tenant: TenantId, model: str, number: int) -> None:
        """Keep a number in mind; only once its row is committed, for a rolled-back one may be given again."""
        with self._lock:
            self._known[tenant, model] = number

    def need(self, session: Session, tenant: TenantId, model: str) -> int:
        """The number, made when there is none."""
        found = self.find(session, tenant, model)
        if found is None:
            row = {"tenant": tenant.value, "model": model}
            session.execute(insert_into(session, models).values(row).on_conflict_do_nothing())
            found = self.find(session, tenant, model)
        assert found is not None  # noqa: S101 - inserted in this transaction
        return found
