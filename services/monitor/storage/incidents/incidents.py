"""Incidents, rounds and notes in SQL."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from services.monitor.domain.incidents.history import of_note
from services.monitor.domain.incidents.ports import Round, RoundResult
from services.monitor.domain.incidents.words import Incident, IncidentKind, Member, Moment, Note, Severity, State
from services.monitor.storage.incidents.history import add_history, read_history
from services.monitor.storage.incidents.tables import cursors, incidents, members, messages, notes, rounds, told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

_ONLY = 1
_AT_ONCE = 500
"""Bound values in one statement: SQLite of old takes 999."""


class SqlIncidents:
    """See `domain.incident_ports.Rounds` and `Incidents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- rounds

    def begin(self, closed_since: int) -> Round:
        """See the port."""
        with self._database.session() as session:
            last = session.execute(sa.select(rounds.c.number, rounds.c.at)).first()
            reached = {
                (row.tenant, row.model): row.looked_until
                for row in session.execute(sa.select(cursors.c.tenant, cursors.c.model, cursors.c.looked_until))
            }
            is_open = incidents.c.state == State.OPEN.value
            late = sa.and_(incidents.c.state == State.CLOSED.value, incidents.c.closed_at >= closed_since)
            found = _load(session, sa.select(incidents).where(sa.or_(is_open, late)), None)
            ids = [one.id for one in found if one.state is State.OPEN]
            when = {
                (row.incident_id, row.tenant): row.at
                for part in _parts(ids)
                for row in session.execute(sa.select(told).where(told.c.incident_id.in_(part)))
            }
            kept = [
                _note(row)
                for part in _parts(ids)
                for row in session.execute(sa.select(notes).where(notes.c.incident_id.in_(part)))
            ]
        return Round(last.number if last else 0, last.at if last else None, reached, found, when, kept)

    def commit(self, before: Round, result: RoundResult) -> bool:
        """See the port."""
        try:
            return self._commit(before, result)
        except sa.exc.IntegrityError:
            if before.number:
                raise
            return False  # Another replica kept the very first round at the same moment.

    def _commit(self, before: Round, result: RoundResult) -> bool:
        with self._database.session() as session:
            if not _take_turn(session, before, result.at):
                return False
            _put_cursors(session, before.cursors, result.cursors)
            for one in result.incidents:
                _put(session, one)
            for message in result.messages:
                session.execute(
                    messages.insert().values(
                        tenant=message.tenant, webhook=message.webhook, items=[dict(item) for item in message.items],
                        created_at=result.told_at, due_at=message.due_at, attempts=0, sent_at=None, problem="",
                    )
                )  # fmt: skip
            heard = {(one, message.tenant) for message in result.messages for one in message.incident_ids}
            for incident_id, tenant in sorted(heard):
                key = sa.and_(told.c.incident_id == incident_id, told.c.tenant == tenant)
                session.execute(told.delete().where(key))
                session.execute(told.insert().values(incident_id=incident_id, tenant=tenant, at=result.told_at))
            add_history(session, result.history)
        return True

    # --- looking at them

    def of_tenant(
        self, tenant: TenantId, *, model: str = "", states: Sequence[State] = (), limit: int = 100
    ) -> list[Incident]:  # fmt: skip
        """See the port."""
        mine = sa.select(members.c.incident_id).where(members.c.tenant == tenant.value)
        if model:
            mine = mine.where(members.c.model == model)
        query = sa.select(incidents).where(incidents.c.id.in_(mine))
        with self._database.session() as session:
            return _load(session, _newest(query, states, limit), tenant.value)

    def of_all(self, *, states: Sequence[State] = (), limit: int = 100) -> list[Incident]:
        """See the port."""
        with self._database.session() as session:
            return _load(session, _newest(sa.select(incidents), states, limit), None)

    def get(self, tenant: TenantId | None, incident_id: str) -> Incident | None:
        """See the port."""
        with self._database.session() as session:
            query = sa.select(incidents).where(incidents.c.id == incident_id)
            found = _load(session, query, None if tenant is None else tenant.value)
        return found[0] if found and (tenant is None or found[0].members) else None

    def notes(self, tenant: str, ids: Sequence[str]) -> dict[str, Note]:
        """See the port."""
        with self._database.session() as session:
            return {
                row.incident_id: _note(row)
                for part in _parts(ids)
                for row in session.execute(
                    sa.select(notes).where(notes.c.tenant == tenant, notes.c.incident_id.in_(part))
                )
            }

    def put_note(self, note: Note) -> None:
        """See the port."""
        with self._database.session() as session:
            _drop_note(session, note.tenant, note.incident_id)
            session.execute(notes.insert().values(**dataclasses.asdict(note)))
            add_history(session, [of_note(note)])

    def drop_note(self, note: Note) -> None:
        """See the port."""
        with self._database.session() as session:
            _drop_note(session, note.tenant, note.incident_id)
            add_history(session, [of_note(note, taken_back=True)])

    def history(self, tenant: str, incident_id: str, limit: int) -> list[Moment]:
        """See the port."""
        with self._database.session() as session:
            return read_history(session, tenant, incident_id, limit)


def _take_turn(session: Session, before: Round, at: int) -> bool:
    """Whether nobody kept a round since `before` was read. The row makes a second writer wait, then find itself late."""
    if before.number == 0:
        if session.execute(sa.select(rounds.c.id)).first() is not None:
            return False
        session.execute(rounds.insert().values(id=_ONLY, number=1, at=at))
        return True
    turn = (
        rounds.update()
        .where(rounds.c.id == _ONLY, rounds.c.number == before.number)
        .values(number=before.number + 1, at=at)
        .returning(rounds.c.id)
    )
    return session.execute(turn).first() is not None


def _put_cursors(
    session: Session, known: Mapping[tuple[str, str], int], reached: Mapping[tuple[str, str], int]
) -> None:  # fmt: skip
    fresh = [
        {"tenant": tenant, "model": model, "looked_until": at}
        for (tenant, model), at in reached.items()
        if (tenant, model) not in known
    ]
    moved = [
        {"of_tenant": tenant, "of_model": model, "at": at}
        for (tenant, model), at in reached.items()
        if (tenant, model) in known
    ]
    if fresh:
        session.execute(cursors.insert(), fresh)
    if moved:
        same = sa.and_(cursors.c.tenant == sa.bindparam("of_tenant"), cursors.c.model == sa.bindparam("of_model"))
        session.connection().execute(cursors.update().where(same).values(looked_until=sa.bindparam("at")), moved)


def _put(session: Session, incident: Incident) -> None:
    values: dict[str, Any] = {
        "scope": incident.scope, "kind": incident.kind.value, "state": incident.state.value,
        "severity": incident.severity.value, "since": incident.since, "opened_at": incident.opened_at,
        "updated_at": incident.updated_at, "closed_at": incident.closed_at, "close_reason": incident.close_reason,
        "merged_into": incident.merged_into, "reopened": incident.reopened, "causes": list(incident.causes),
        "tenants_looked_at": incident.tenants_looked_at,
    }  # fmt: skip
    there = session.execute(
        incidents.update().where(incidents.c.id == incident.id).values(**values).returning(incidents.c.id)
    ).first()
    if there is None:
        session.execute(incidents.insert().values(id=incident.id, **values))
    session.execute(members.delete().where(members.c.incident_id == incident.id))
    rows = [
        dataclasses.asdict(one) | {"incident_id": incident.id, "kind": one.kind.value}
        for one in incident.members.values()
    ]
    if rows:
        session.execute(members.insert(), rows)


def _newest(query: sa.Select[Any], states: Sequence[State], limit: int) -> sa.Select[Any]:
    if states:
        query = query.where(incidents.c.state.in_([state.value for state in states]))
    return query.order_by(incidents.c.opened_at.desc(), incidents.c.id).limit(limit)


def _load(session: Session, query: sa.Select[Any], tenant: str | None) -> list[Incident]:
    """Incidents with their members: all of them, or one tenant's."""
    found = {row.id: _incident(row) for row in session.execute(query)}
    for part in _parts(list(found)):
        theirs = sa.select(members).where(members.c.incident_id.in_(part))
        if tenant is not None:
            theirs = theirs.where(members.c.tenant == tenant)
        for row in session.execute(theirs.order_by(members.c.tenant, members.c.model, members.c.feature)):
            member = _member(row)
            found[row.incident_id].members[member.key] = member
    return list(found.values())


def _incident(row: Any) -> Incident:
    return Incident(
        id=row.id, scope=row.scope, kind=IncidentKind(row.kind), since=row.since, opened_at=row.opened_at,
        updated_at=row.updated_at, state=State(row.state), severity=Severity(row.severity), closed_at=row.closed_at,
        close_reason=row.close_reason, merged_into=row.merged_into, reopened=row.reopened, causes=tuple(row.causes),
        tenants_looked_at=row.tenants_looked_at,
    )  # fmt: skip


def _member(row: Any) -> Member:
    return Member(
        tenant=row.tenant, model=row.model, version=row.version, kind=IncidentKind(row.kind), feature=row.feature,
        change=row.change, since=row.since, seen_until=row.seen_until, p_value=row.p_value, effect=row.effect,
        rows=row.rows, sentence=row.sentence, hint=row.hint, quiet=row.quiet, over=row.over,
    )  # fmt: skip


def _note(row: Any) -> Note:
    return Note(row.incident_id, row.tenant, row.who, row.at, row.until, row.text)


def _drop_note(session: Session, tenant: str, incident_id: str) -> None:
    session.execute(notes.delete().where(notes.c.tenant == tenant, notes.c.incident_id == incident_id))


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
