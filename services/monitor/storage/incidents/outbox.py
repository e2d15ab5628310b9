"""Messages to webhooks, on their way, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.incidents.history import of_delivery
from services.monitor.domain.incidents.ports import Delivery, Outcome
from services.monitor.storage.incidents.history import add_history
from services.monitor.storage.incidents.tables import messages

if TYPE_CHECKING:
    from tenon.kit.sql import Database


class SqlOutbox:
    """See `domain.incident_ports.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, now: int, lease: int, limit: int) -> list[Delivery]:
        """See the port. A message is due again when its lease is over: a replica that dies loses none."""
        due = (
            sa.select(messages).where(messages.c.due_at <= now).order_by(messages.c.due_at, messages.c.id).limit(limit)
        )
        with self._database.session() as session:
            found = []
            for row in session.execute(due).all():
                taken = session.execute(
                    messages.update()
                    .where(messages.c.id == row.id, messages.c.due_at == row.due_at)
                    .values(due_at=now + lease, attempts=row.attempts + 1)
                    .returning(messages.c.id)
                ).first()
                if taken is not None:
                    found.append(
                        Delivery(row.id, row.tenant, row.webhook, tuple(row.items), row.created_at, row.attempts + 1)
                    )
            return found

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """See the port."""
        with self._database.session() as session:
            session.execute(
                messages.update()
                .where(messages.c.id == delivery.id)
                .values(
                    due_at=outcome.again_at, sent_at=outcome.at if outcome.sent else None, problem=outcome.problem[:500]
                )
            )
            add_history(session, of_delivery(delivery, outcome))
