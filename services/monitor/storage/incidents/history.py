"""Histories of incidents in SQL: lines are added within the transaction of what they tell of, and never changed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.incidents.words import Deed, Moment
from services.monitor.storage.incidents.tables import history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

_PEOPLES = [Deed.ACKNOWLEDGED.value, Deed.SNOOZED.value, Deed.WOKEN.value]


def add_history(session: Session, moments: Sequence[Moment]) -> None:
    """Add lines."""
    if moments:
        session.execute(history.insert(), [dataclasses.asdict(one) for one in moments])


def read_history(session: Session, tenant: str, incident_id: str, limit: int) -> list[Moment]:
    """The newest, the oldest of them first."""
    readable = history.c.tenant == tenant
    if not tenant:
        readable = sa.or_(readable, history.c.event.in_(_PEOPLES))
    newest = (
        sa.select(history)
        .where(history.c.incident_id == incident_id, readable)
        .order_by(history.c.at.desc(), history.c.id.desc())
        .limit(limit)
    )
    rows = session.execute(newest).all()
    return [
        Moment(row.incident_id, row.tenant, row.at, row.event, row.who, row.text, row.until) for row in reversed(rows)
    ]
