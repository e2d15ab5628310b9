"""The run table in SQL. A worker's writes carry its lease, so that one that was given up for dead cannot disturb."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from services.trainer.domain.model import Lease, Outcome, Run, RunState
from services.trainer.storage.tables import runs
from tenon.core.tenancy import TenantId
from tenon.kit.sql import Database

MAX_STEP = 300


class SqlRuns:
    """See `Runs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, tenant: TenantId, run: Run, *, not_before: int) -> tuple[Run, bool]:
        """See `Runs`."""
        row = {
            "tenant": tenant.value,
            "id": run.id,
            "model": run.model,
            "model_revision": run.model_revision,
            "idempotency_key": run.idempotency_key or None,
            "state": run.state.value,
            "progress": run.progress,
            "step": run.step,
            "attempts": 0,
            "reason": "",
            "problem": "",
            "hint": "",
            "version": 0,
            "bundle_sha256": "",
            "gates_json": "[]",
            "created_at": run.created_at,
            "not_before": not_before,
        }
        if not run.idempotency_key:
            with self._database.session() as session:
                session.execute(runs.insert().values(row))
            return run, True
        same = sa.select(runs).where(
            runs.c.tenant == tenant.value,
            runs.c.model == run.model,
            runs.c.idempotency_key == run.idempotency_key,
        )
        try:
            with self._database.session() as session:
                known = session.execute(same).first()
                if known is not None:
                    return _run(known), False
                session.execute(runs.insert().values(row))
                return run, True
        except sa.exc.IntegrityError:
            # Somebody else added it between our look and our insert; theirs is the one.
            with self._database.session() as session:
                return _run(session.execute(same).one()), False

    def get(self, tenant: TenantId, run_id: str) -> Run | None:
        """See `Runs`."""
        with self._database.session() as session:
            row = session.execute(sa.select(runs).where(_is(tenant, run_id))).first()
        return _run(row) if row else None

    def list(self, tenant: TenantId, model: str | None, limit: int) -> Sequence[Run]:
        """See `Runs`."""
        query = sa.select(runs).where(runs.c.tenant == tenant.value)
        if model:
            query = query.where(runs.c.model == model)
        with self._database.session() as session:
            rows = session.execute(query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit))
            return [_run(row) for row in rows]

    def claim(self, tenant: TenantId, run_id: str, *, now: int, stale_before: int) -> Lease | None:
        """See `Runs`."""
        token = secrets.token_hex(16)
        free = sa.or_(
            runs.c.state == RunState.QUEUED.value,
            sa.and_(runs.c.state == RunState.RUNNING.value, runs.c.heartbeat_at < stale_before),
        )
        taken = self._write(
            sa.and_(_is(tenant, run_id), free),
            state=RunState.RUNNING.value,
            lease_token=token,
            heartbeat_at=now,
            started_at=sa.func.coalesce(runs.c.started_at, now),
            attempts=runs.c.attempts + 1,
            progress=0.0,
            step="starting",
        )
        return Lease(run_id, token) if taken else None

    def beat(self, tenant: TenantId, lease: Lease, *, now: int) -> bool:
        """See `Runs`."""
        return self._write(_held(tenant, lease), heartbeat_at=now)

    def report(self, tenant: TenantId, lease: Lease, *, progress: float, step: str, now: int) -> bool:
        """See `Runs`."""
        return self._write(_held(tenant, lease), progress=progress, step=step[:MAX_STEP], heartbeat_at=now)

    def succeed(self, tenant: TenantId, lease: Lease, outcome: Outcome, *, now: int) -> bool:
        """See `Runs`."""
        return self._write(
            _held(tenant, lease),
            state=RunState.SUCCEEDED.value,
            progress=1.0,
            step="done",
            reason="",
            problem="",
            hint="",
            version=outcome.version,
            bundle_sha256=outcome.bundle_sha256,
            evidence_json=json.dumps(outcome.evidence),
            gates_json=json.dumps(outcome.gates),
            finished_at=now,
            lease_token=None,
        )

    def fail(self, tenant: TenantId, lease: Lease, *, reason: str, problem: str, hint: str, now: int) -> bool:
        """See `Runs`."""
        return self._write(
            _held(tenant, lease),
            state=RunState.FAILED.value,
            step="failed",
            reason=reason,
            problem=problem,
            hint=hint,
            finished_at=now,
            lease_token=None,
        )

    def release(self, tenant: TenantId, lease: Lease, *, reason: str, problem: str, step: str, not_before: int) -> bool:
        """See `Runs`."""
        return self._write(
            _held(tenant, lease),
            state=RunState.QUEUED.value,
            progress=0.0,
            step=step[:MAX_STEP],
            reason=reason,
            problem=problem,
            lease_token=None,
            enqueued_at=None,
            not_before=not_before,
        )

    def unattended(
        self, *, now: int, enqueued_before: int, stale_before: int, limit: int
    ) -> Sequence[tuple[TenantId, str]]:
        """See `Runs`."""
        forgotten = sa.or_(runs.c.enqueued_at.is_(None), runs.c.enqueued_at < enqueued_before)
        waiting = sa.and_(runs.c.state == RunState.QUEUED.value, runs.c.not_before <= now, forgotten)
        lost = sa.and_(
            runs.c.state == RunState.RUNNING.value,
            runs.c.heartbeat_at < stale_before,
            sa.or_(runs.c.enqueued_at.is_(None), runs.c.enqueued_at < stale_before),
        )
        query = (
            sa.select(runs.c.tenant, runs.c.id).where(sa.or_(waiting, lost)).order_by(runs.c.created_at).limit(limit)
        )
        with self._database.session() as session:
            return [(TenantId(row.tenant), row.id) for row in session.execute(query)]

    def note_enqueued(self, tenant: TenantId, run_id: str, *, now: int) -> None:
        """See `Runs`."""
        self._write(_is(tenant, run_id), enqueued_at=now)

    def count_by_state(self) -> Mapping[RunState, int]:
        """See `Runs`."""
        query = sa.select(runs.c.state, sa.func.count()).group_by(runs.c.state)
        with self._database.session() as session:
            found = {RunState(state): int(count) for state, count in session.execute(query)}
        return {state: found.get(state, 0) for state in RunState}

    def oldest_waiting(self) -> int | None:
        """See `Runs`."""
        query = sa.select(sa.func.min(runs.c.created_at)).where(runs.c.state == RunState.QUEUED.value)
        with self._database.session() as session:
            return session.scalar(query)

    def _write(self, where: Any, **values: Any) -> bool:
        with self._database.session() as session:
            result = session.execute(runs.update().where(where).values(**values))
        return bool(result.rowcount)  # type: ignore[attr-defined]


def _is(tenant: TenantId, run_id: str) -> Any:
    return sa.and_(runs.c.tenant == tenant.value, runs.c.id == run_id)


def _held(tenant: TenantId, lease: Lease) -> Any:
    return sa.and_(_is(tenant, lease.run_id), runs.c.lease_token == lease.token)


def _run(row: Any) -> Run:
    return Run(
        id=row.id,
        tenant=TenantId(row.tenant),
        model=row.model,
        model_revision=row.model_revision,
        created_at=row.created_at,
        idempotency_key=row.idempotency_key or "",
        state=RunState(row.state),
        progress=row.progress,
        step=row.step,
        attempts=row.attempts,
        reason=row.reason,
        problem=row.problem,
        hint=row.hint,
        version=row.version,
        bundle_sha256=row.bundle_sha256,
        evidence=json.loads(row.evidence_json) if row.evidence_json else None,
        gates=json.loads(row.gates_json),
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
