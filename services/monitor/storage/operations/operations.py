"""Operations and canary verdicts in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from services.monitor.domain.log.operations import BUCKET, HOUR, Operated
from services.monitor.domain.model import Role
from services.monitor.storage.models import insert_into
from services.monitor.storage.operations.tables import (
    COUNTED,
    FAILURE_COLUMNS,
    canary_verdicts,
    operations,
    operations_by_hour,
    taken_operations,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.domain.log.operations import OperationsRecord
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

_KEYS = ("tenant", "model", "start", "version", "role")


class SqlOperations:
    """See `domain.operations.OperationsLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, record: OperationsRecord, now: int) -> bool:
        """One transaction for the record's id and its counts."""
        tables = {operations: _rows(record, BUCKET), operations_by_hour: _rows(record, HOUR)}
        with self._database.session() as session:
            fresh = session.execute(
                insert_into(session, taken_operations)
                .values(record_id=record.record_id, taken_at=now)
                .on_conflict_do_nothing()
                .returning(taken_operations.c.record_id)
            ).first()
            if fresh is None:
                return False
            for table, rows in tables.items() if record.parts else ():
                insert = insert_into(session, table)
                added = {name: table.c[name] + insert.excluded[name] for name in COUNTED}
                # Always in the same order, so that two consumers cannot wait for each other.
                session.execute(
                    insert.on_conflict_do_update(index_elements=list(_KEYS), set_=added),
                    [rows[key] for key in sorted(rows)],
                )
        return True

    def totals(self, tenant: TenantId, model: str, start: int, end: int) -> dict[tuple[int, Role], Operated]:
        """See the port."""
        table = operations.c
        query = (
            sa.select(table.version, table.role, *(sa.func.sum(table[name]) for name in COUNTED))
            .where(table.tenant == tenant.value, table.model == model, table.start >= start)
            .where(table.start < end)
            .group_by(table.version, table.role)
        )
        with self._database.session() as session:
            found = [tuple(row) for row in session.execute(query)]
        return {(row[0], Role(row[1])): operated(row[2:]) for row in found}

    def forget(self, before: int) -> int:
        """See the port."""
        with self._database.session() as session:
            session.execute(sa.delete(taken_operations).where(taken_operations.c.taken_at < before))
            session.execute(sa.delete(operations_by_hour).where(operations_by_hour.c.start < before))
            gone: Any = session.execute(sa.delete(operations).where(operations.c.start < before))
            return int(gone.rowcount)


def operated(counts: Sequence[Any]) -> Operated:
    """The values of `COUNTED`, in their order."""
    answers, *rest = map(int, counts)
    return Operated(answers, tuple(rest[: len(FAILURE_COLUMNS)]), tuple(rest[len(FAILURE_COLUMNS) :]))


def _rows(record: OperationsRecord, bucket: int) -> dict[tuple[Any, ...], dict[str, Any]]:
    """A record's counts as rows of the bucket it belongs to."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in record.parts:
        key = (one.tenant.value, one.model, record.at // bucket * bucket, one.version, one.role.value)
        counts = dict(zip(COUNTED, (one.answers, *one.failures, *one.latency), strict=True))
        known = rows.get(key)
        if known is None:
            rows[key] = dict(zip(_KEYS, key, strict=True)) | counts
        else:
            known.update({name: known[name] + value for name, value in counts.items()})
    return rows


class SqlCanaryVerdicts:
    """See `domain.judge_canaries.CanaryVerdicts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, tenant: TenantId, model: str, judgement: dict[str, Any], judged_at: int) -> None:
        """Keep one."""
        row = {name: judgement[name] for name in ("revision", "candidate", "verdict")}
        with self._database.session() as session:
            session.execute(
                sa.insert(canary_verdicts).values(
                    tenant=tenant.value, model=model, judged_at=judged_at, judgement=judgement, **row
                )
            )

    def history(self, tenant: TenantId, model: str, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        query = (
            sa.select(canary_verdicts.c.judgement)
            .where(canary_verdicts.c.tenant == tenant.value, canary_verdicts.c.model == model)
            .order_by(canary_verdicts.c.id.desc())
            .limit(limit)
        )
        with self._database.session() as session:
            return [dict(row.judgement) for row in session.execute(query)]
