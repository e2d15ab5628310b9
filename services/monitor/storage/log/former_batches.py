"""Rows that programs before segments have written, or still write beside this one, become segments: each batch once.

A batch is deleted in the transaction that keeps its rows as a segment. Its values are looked into later, as those of a segment whose
training baseline could not be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.kept.buckets import Counting, parts_of
from services.monitor.domain.kept.prediction_ids import PredictionIds
from services.monitor.domain.kept.segment import Segment, Source, join_segments
from services.monitor.domain.model import Role
from services.monitor.storage.log.forgotten import Forgotten
from services.monitor.storage.log.former_payload import unpack_rows
from services.monitor.storage.log.former_tables import batch_rows, batches, predictions
from services.monitor.storage.log.take import write_segments
from services.monitor.storage.models import note_change
from services.monitor.storage.segments.payload import pack_segment
from services.monitor.storage.tables import models
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tenon.kit.sql import Database

_BATCHES_A_TIME = 64


class FormerBatches:
    """What is left in the tables of former programs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._forgotten = Forgotten()

    def move(self) -> int:
        """Move some batches of one model; gives how many. Called until it gives 0."""
        with self._database.session() as session:
            model_id = session.execute(sa.select(batches.c.model_id).limit(1)).scalar_one_or_none()
            if model_id is None:
                return 0
            self._forgotten.learn(session)
            # Holds the model's row: of two programs that move, the second finds these batches gone.
            note_change(session, model_id)
            oldest = (
                sa.select(batches.c.id)
                .where(batches.c.model_id == model_id)
                .order_by(batches.c.id)
                .limit(_BATCHES_A_TIME)
            )
            numbers = list(session.execute(oldest).scalars())
            owner = session.execute(sa.select(models).where(models.c.id == model_id)).one()
            found = [_segment(session, number, TenantId(owner.tenant), owner.model) for number in numbers]
            for joined in join_segments([one for one in found if one is not None]):
                theirs = self._forgotten.theirs(joined)
                segment = joined if theirs is None else joined.without(theirs)
                if segment is None:
                    continue
                counting = Counting(segment, parts_of(segment, None), False)
                write_segments(session, [(model_id, counting, pack_segment(segment))], fresh=False)
            for table in (predictions, batch_rows):
                session.execute(table.delete().where(table.c.batch_id.in_(numbers)))
            session.execute(batches.delete().where(batches.c.id.in_(numbers)))
        return len(numbers)


def _segment(session: Session, number: int, tenant: TenantId, model: str) -> Segment | None:
    about = session.execute(sa.select(batches).where(batches.c.id == number)).one()
    payload = session.execute(
        sa.select(batch_rows.c.payload).where(batch_rows.c.batch_id == number)
    ).scalar_one_or_none()  # fmt: skip
    if payload is None or not about.rows:
        return None
    stored = unpack_rows(payload)
    named = sa.select(predictions.c.prediction_id).where(predictions.c.batch_id == number)
    names = list(session.execute(named.order_by(predictions.c.row)).scalars())
    return Segment(
        tenant=tenant,
        model=model,
        version=about.version,
        role=Role(about.role),
        level=about.level,
        # Their own ids are not known any more; they differ from each other, which is all that is needed here.
        sources=(Source(f"former-{number}", about.rows, about.replica, about.protocol),),
        ids=PredictionIds.of_texts(names),
        request_ids=np.array([one.encode() for one in stored.request_ids], dtype=np.bytes_),
        at=stored.at,
        event_time=stored.event_time,
        score=stored.score,
        columns=stored.columns,
    )
