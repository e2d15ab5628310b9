"""The ledger as a queue of loads: claims that expire, outcomes written with their event in one transaction."""

from __future__ import annotations

import json
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.ingest.domain.model import Batch, BatchState, Problem, RowCounts, Table
from services.ingest.storage.batches import batch_from_row
from services.ingest.storage.tables import batches, lake_tables
from tenon.core.tenancy import TenantId
from tenon.kit.events import DATASET_COMMITTED
from tenon.kit.outbox import Outbox
from tenon.kit.sql import Database

CLAIM_SECONDS = 60.0
_UNFINISHED = (BatchState.RECEIVED.value, BatchState.LOADING.value)


class SqlLoadQueue:
    """See `domain.ports.LoadQueue`. `instance` is this process's lasting name: after a restart it takes back at once
    what it held, while the claims of another replica hold until they expire."""

    def __init__(self, database: Database, outbox: Outbox, instance: str) -> None:
        self._database, self._outbox, self._instance = database, outbox, instance

    def release_own(self) -> int:
        """Give back what a killed predecessor of this process held; gives the number."""
        own = batches.update().where(batches.c.claimed_by == self._instance, batches.c.state.in_(_UNFINISHED))
        with self._database.session() as session:
            result: Any = session.execute(own.values(claimed_by=None, claimed_until=0))
            return int(result.rowcount)

    def renew(self) -> None:
        """Prolong all claims of this process."""
        own = batches.update().where(
            batches.c.claimed_by == self._instance, batches.c.state == BatchState.LOADING.value
        )
        with self._database.session() as session:
            session.execute(own.values(claimed_until=_now() + int(CLAIM_SECONDS * 1e6)))

    def claim(self) -> Batch | None:
        """See `LoadQueue`."""
        oldest = (
            sa.select(sa.func.min(batches.c.sequence))
            .where(batches.c.state.in_(_UNFINISHED))
            .group_by(batches.c.tenant, batches.c.dataset)
        )
        now = _now()
        free = (batches.c.state.in_(_UNFINISHED), batches.c.claimed_until <= now)
        with self._database.session() as session:
            query = sa.select(batches).where(batches.c.sequence.in_(oldest), *free).order_by(batches.c.sequence)
            for row in session.execute(query).all():
                taken: Any = session.execute(
                    batches.update()
                    .where(batches.c.sequence == row.sequence, *free)
                    .values(
                        state=BatchState.LOADING.value,
                        claimed_by=self._instance,
                        claimed_until=now + int(CLAIM_SECONDS * 1e6),
                        attempts=batches.c.attempts + 1,
                    )
                )
                if taken.rowcount == 1:
                    fresh = session.execute(sa.select(batches).where(batches.c.sequence == row.sequence)).one()
                    return batch_from_row(fresh)
        return None

    def report(self, tenant: TenantId, batch_id: str, counts: RowCounts) -> None:
        """See `LoadQueue`."""
        with self._database.session() as session:
            self._update(session, tenant, batch_id, _count_values(counts))

    def commit(self, tenant: TenantId, batch: Batch, counts: RowCounts, table: Table, at: int) -> bool:
        """See `LoadQueue`."""
        values = _count_values(counts) | {
            "state": BatchState.COMMITTED.value, "table_version": table.version, "committed_at": at, "claimed_until": 0,
        }  # fmt: skip
        with self._database.session() as session:
            if not self._update(session, tenant, batch.id, values):
                return False
            self._move(session, tenant, batch.dataset, table, batch.id)
        return True

    def move(self, tenant: TenantId, dataset: str, table: Table) -> None:
        """See `LoadQueue`."""
        with self._database.session() as session:
            self._move(session, tenant, dataset, table, "")

    def _move(self, session: Session, tenant: TenantId, dataset: str, table: Table, batch_id: str) -> None:
        key = {"tenant": tenant.value, "dataset": dataset}
        now_at = {"uri": table.uri, "version": table.version, "rows": table.rows}
        where = (lake_tables.c.tenant == tenant.value, lake_tables.c.dataset == dataset)
        if session.execute(sa.select(lake_tables.c.version).where(*where)).first() is None:
            session.execute(lake_tables.insert().values(**key, **now_at))
        else:
            # Never back: rows may have been erased between a batch's commit to the lake and its outcome here.
            session.execute(lake_tables.update().where(*where, lake_tables.c.version < table.version).values(**now_at))
        event = {"batch_id": batch_id, "table_version": str(table.version), "table_uri": table.uri}
        self._outbox.add(session, DATASET_COMMITTED, {**key, **event})

    def refuse(self, tenant: TenantId, batch_id: str, counts: RowCounts, problem: Problem) -> bool:
        """See `LoadQueue`."""
        values = _count_values(counts) | {
            "state": BatchState.REFUSED.value, "problem_json": json.dumps(problem.as_dict()), "claimed_until": 0,
        }  # fmt: skip
        with self._database.session() as session:
            return self._update(session, tenant, batch_id, values)

    def postpone(self, tenant: TenantId, batch_id: str, seconds: float, *, counted: bool) -> None:
        """See `LoadQueue`."""
        values: dict[str, Any] = {"claimed_until": _now() + int(seconds * 1e6), "state": BatchState.RECEIVED.value}
        if not counted:
            values["attempts"] = batches.c.attempts - 1
        with self._database.session() as session:
            self._update(session, tenant, batch_id, values)

    def _update(self, session: Session, tenant: TenantId, batch_id: str, values: dict[str, Any]) -> bool:
        mine = (
            batches.c.tenant == tenant.value,
            batches.c.id == batch_id,
            batches.c.state == BatchState.LOADING.value,
            batches.c.claimed_by == self._instance,
        )
        result: Any = session.execute(batches.update().where(*mine).values(**values))
        return bool(result.rowcount == 1)

    def depth(self) -> int:
        """Files that wait or are being loaded."""
        with self._database.session() as session:
            query = sa.select(sa.func.count()).select_from(batches).where(batches.c.state.in_(_UNFINISHED))
            return int(session.scalar(query) or 0)

    def oldest_seconds(self) -> float:
        """Age of the oldest of them; 0 when there is none."""
        with self._database.session() as session:
            query = sa.select(sa.func.min(batches.c.received_at)).where(batches.c.state.in_(_UNFINISHED))
            oldest = session.scalar(query)
        return 0.0 if oldest is None else max(0.0, (_now() - oldest) / 1e6)


def _count_values(counts: RowCounts) -> dict[str, Any]:
    return {
        "rows_read": counts.read, "rows_committed": counts.committed, "rows_superseded": counts.superseded,
        "rows_quarantined": counts.quarantined, "reasons_json": json.dumps(counts.reasons),
    }  # fmt: skip


def _now() -> int:
    return time.time_ns() // 1000
