"""Numbers of models, and what all stores share."""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services.monitor.storage.given import given, rows
from services.monitor.storage.tables import models
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

_Name = tuple[TenantId, str]


def dialect_of(session: Session) -> str:
    """Which database it is: `sqlite` or `postgresql`."""
    return session.get_bind().dialect.name


def insert_into(session: Session, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT, on either database."""
    return insert_for(dialect_of(session), table)


def insert_for(dialect: str, table: sa.Table) -> Any:
    """The same for who builds a statement once and keeps it."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


def now_micros() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


_NOTE = sa.update(models).where(models.c.id == sa.bindparam("number")).values(changes=models.c.changes + 1)


def note_change(session: Session, model_id: int) -> None:
    """Count a change of a model; until the transaction ends, nobody else changes what belongs to it."""
    note_changes(session, [model_id])


def note_changes(session: Session, model_ids: Sequence[int]) -> None:
    """The same of several models, one after the other in the order given: that of their names, by which nobody waits in a circle."""
    session.execute(_NOTE, [{"number": number} for number in model_ids])


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
        return self.need_all(session, [(tenant, model)])[tenant, model]

    def need_all(self, session: Session, names: Sequence[_Name]) -> dict[_Name, int]:
        """The numbers of several models, made in their order where there are none."""
        with self._lock:
            found = {name: self._known[name] for name in names if name in self._known}
        missing = [name for name in names if name not in found]
        if missing:
            found |= _find(session, missing)
            fresh = [
                {"tenant": tenant.value, "model": model} for tenant, model in missing if (tenant, model) not in found
            ]
            if fresh:
                session.execute(_make(dialect_of(session)), fresh)
                found |= _find(session, missing)
        return found


def _find(session: Session, names: Sequence[_Name]) -> dict[_Name, int]:
    asked = rows([{"tenant": tenant.value, "model": model} for tenant, model in names])
    found = session.execute(_found(dialect_of(session)), asked)
    return {(TenantId(row.tenant), row.model): row.id for row in found}


@cache
def _found(dialect: str) -> sa.Select[Any]:
    asked = given(dialect, tenant=sa.String(), model=sa.String())
    same = sa.and_(models.c.tenant == asked.c.tenant, models.c.model == asked.c.model)
    return sa.select(models.c.id, models.c.tenant, models.c.model).select_from(sa.join(asked, models, same))


@cache
def _make(dialect: str) -> Any:
    return insert_for(dialect, models).on_conflict_do_nothing()
