"""What all tenants' predictors told, for a look over the whole fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.incidents.ports import DidInHour, LevelsInHour
from services.monitor.domain.log.operations import HOUR, Operated
from services.monitor.domain.model import Role
from services.monitor.storage.operations.operations import operated
from services.monitor.storage.operations.tables import COUNTED, FAILURE_COLUMNS, operations, operations_by_hour
from services.monitor.storage.tables import models
from services.monitor.storage.windows.tables import windows

if TYPE_CHECKING:
    from tenon.kit.sql import Database

_H = operations_by_hour.c


class SqlFleetOperations:
    """See `domain.incidents.ports.FleetOperations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def totals(self, start: int, end: int, *, by_hours: bool) -> dict[tuple[str, str, int, Role], Operated]:
        """See the port."""
        table = (operations_by_hour if by_hours else operations).c
        query = (
            sa.select(table.tenant, table.model, table.version, table.role, *(sa.func.sum(table[one]) for one in COUNTED))
            .where(table.start >= start, table.start < end)
            .group_by(table.tenant, table.model, table.version, table.role)
        )  # fmt: skip
        with self._database.session() as session:
            found = session.execute(query).all()
        return {(row[0], row[1], row[2], Role(row[3])): operated(row[4:]) for row in found}

    def hours(self, start: int, end: int) -> list[DidInHour]:
        """See the port."""
        query = sa.select(_H.tenant, _H.model, _H.version, _H.role, _H.start, *(_H[one] for one in COUNTED))
        with self._database.session() as session:
            found = session.execute(query.where(_H.start >= start, _H.start < end)).all()
        return [DidInHour(row[0], row[1], row[2], Role(row[3]), row[4], operated(row[5:])) for row in found]

    def requests(self, start: int, end: int) -> list[tuple[str, str, int, int]]:
        """See the port."""
        counted = [_H[name] for name in ("answers", *FAILURE_COLUMNS)]
        total = sum(counted[1:], start=counted[0] + 0)
        query = (
            sa.select(_H.tenant, _H.model, _H.start, sa.func.sum(total))
            .where(_H.start >= start, _H.start < end, _H.role != Role.SHADOW.value)
            .group_by(_H.tenant, _H.model, _H.start)
        )
        with self._database.session() as session:
            return [(tenant, model, at, int(count)) for tenant, model, at, count in session.execute(query)]

    def levels(self, start: int, end: int) -> list[LevelsInHour]:
        """See the port. A replay's longer stretches are left out: they are no hour."""
        w = windows.c
        query = (
            sa.select(models.c.tenant, models.c.model, w.version, w.role, w.start, w.levels)
            .join(models, models.c.id == w.model_id)
            .where(w.axis == "at", w.step == HOUR, w.start >= start, w.start < end)
        )
        with self._database.session() as session:
            found = session.execute(query).all()
        return [LevelsInHour(row[0], row[1], row[2], Role(row[3]), row[4], row[5]) for row in found if row[5]]

    def active(self, since: int) -> set[tuple[str, str]]:
        """See the port."""
        query = sa.select(_H.tenant, _H.model).where(_H.start >= since // HOUR * HOUR).distinct()
        with self._database.session() as session:
            return {(tenant, model) for tenant, model in session.execute(query)}
