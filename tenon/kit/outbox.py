"""The outbox: events written in the same transaction as the facts they tell, published afterwards by a relay."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tenon.kit.events import carried_fields, publish
from tenon.kit.process import Periodic
from tenon.kit.redis import connect
from tenon.kit.sql import Database, UtcDateTime


def outbox_table(metadata: sa.MetaData, name: str = "outbox") -> sa.Table:
    """The table; a service declares it once in its metadata and creates it in its first migration."""
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.String(32), nullable=False),
        sa.Column("stream", sa.String(100), nullable=False),
        sa.Column("fields_json", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )


class Outbox:
    """Adds events to a transaction and, as `relay`, publishes them in order and forgets them.

    An event is published at least once: consumers tell repeats by its `event_id`. While Redis is away the events wait
    in the table.
    """

    def __init__(self, database: Database, table: sa.Table, redis_url: str) -> None:
        self._database, self._table = database, table
        self._client = connect(redis_url)
        self.relay = Periodic("outbox", self.publish_pending, 0.5)

    def add(self, session: Session, stream: str, fields: Mapping[str, str]) -> None:
        """Write an event into the caller's transaction; trace and request id of now go along, not those of the relay."""
        event_id = uuid.uuid4().hex
        session.execute(
            self._table.insert().values(
                event_id=event_id,
                stream=stream,
                fields_json=json.dumps({"event_id": event_id, **fields, **carried_fields()}),
                created_at=datetime.now(UTC),
            )
        )

    def publish_pending(self, limit: int = 500) -> int:
        """Publish what waits, oldest first; gives the number published. Raises `Unavailable`."""
        with self._database.session() as session:
            rows = session.execute(sa.select(self._table).order_by(self._table.c.id).limit(limit)).all()
        for row in rows:
            publish(self._client, row.stream, json.loads(row.fields_json))
            with self._database.session() as session:
                session.execute(self._table.delete().where(self._table.c.id == row.id))
        return len(rows)
