"""The outbox: events written in the same transaction as the facts they tell, published afterwards by a relay."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tenon.kit.events import carried_fields, publish
from tenon.kit.process import Periodic
from tenon.kit.redis import connect, reaching_redis, run_of
from tenon.kit.sql import Database, UtcDateTime

HELD = timedelta(seconds=10)
_LOOK_SECONDS = 2.0


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
        sa.Column("published_at", UtcDateTime),
    )


class Outbox:
    """Adds events to a transaction and, as `relay`, publishes them in order and forgets them.

    An event is published at least once: consumers tell repeats by its `event_id`. While Redis is away the events wait
    in the table. They stay there for `HELD` after they were published: a Redis that is started again, or another one that
    takes over, may not have what its predecessor was given last, and is given it again.
    """

    def __init__(self, database: Database, table: sa.Table, redis_url: str) -> None:
        self._database, self.table = database, table
        self._client = connect(redis_url)
        self._run = ""
        self._looked = -_LOOK_SECONDS
        self.relay = Periodic("outbox", self.publish_pending, 0.5)

    def add(self, session: Session, stream: str, fields: Mapping[str, str]) -> None:
        """Write an event into the caller's transaction; trace and request id of now go along, not those of the relay."""
        event_id = uuid.uuid4().hex
        session.execute(
            self.table.insert().values(
                event_id=event_id,
                stream=stream,
                fields_json=json.dumps({"event_id": event_id, **fields, **carried_fields()}),
                created_at=datetime.now(UTC),
            )
        )

    def publish_pending(self, limit: int = 500) -> int:
        """Publish what waits, oldest first; gives the number published. Raises `Unavailable`."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self.settle()
            self._looked = time.monotonic()
        table = self.table
        waiting = sa.select(table).where(table.c.published_at.is_(None)).order_by(table.c.id).limit(limit)
        with self._database.session() as session:
            rows = session.execute(waiting).all()
        for row in rows:
            publish(self._client, row.stream, json.loads(row.fields_json))
            with self._database.session() as session:
                session.execute(table.update().where(table.c.id == row.id).values(published_at=datetime.now(UTC)))
        return len(rows)

    def settle(self) -> None:
        """Let wait again what Redis may have lost, and forget what it has had for long enough. Raises `Unavailable`."""
        published = self.table.c.published_at
        with reaching_redis("ask whether it was started again"):
            run = run_of(self._client)
        with self._database.session() as session:
            if run == self._run:
                session.execute(self.table.delete().where(published < datetime.now(UTC) - HELD))
            else:
                session.execute(self.table.update().where(published.is_not(None)).values(published_at=None))
        self._run = run
