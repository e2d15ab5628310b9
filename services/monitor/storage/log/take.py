"""Taking segments into the log: their rows, their windows and the note of their batches in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.storage.log.forgotten import Forgotten
from services.monitor.storage.log.tables import series, taken_batches
from services.monitor.storage.models import ModelIds, insert_into, note_change, now_micros
from services.monitor.storage.segments.payload import pack_segment
from services.monitor.storage.segments.tables import segment_rows, segments, unsketched
from services.monitor.storage.windows.add import add_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session

    from services.monitor.domain.kept.buckets import Counting
    from services.monitor.domain.kept.segment import Segment
    from tenon.kit.sql import Database


class _NotAll(Exception):
    """Ends a transaction in which some rows turned out to be not for keeping; `left` says what is left of a segment."""

    def __init__(self, why: str, left: Callable[[Segment], Segment | None]) -> None:
        super().__init__(why)
        self.left = left


class SqlSegments:
    """See `domain.ports.PredictionStore`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids
        self._forgotten = Forgotten()

    def take(self, countings: Sequence[Counting], count: Callable[[Segment], Counting]) -> list[Segment]:
        """See the port. Everything that takes time is done before the transaction begins."""
        waiting = list(countings)
        payloads = [pack_segment(one.segment) for one in waiting]
        while waiting:
            try:
                self._write(waiting, payloads)
            except _NotAll as found:
                left: list[Counting] = []
                for one in waiting:
                    segment = found.left(one.segment)
                    if segment is not None:
                        left.append(one if segment is one.segment else count(segment))
                waiting, payloads = left, [pack_segment(one.segment) for one in left]
            else:
                return [one.segment for one in waiting]
        return []

    def _write(self, countings: Sequence[Counting], payloads: Sequence[bytes]) -> None:
        # In one order everywhere, so that replicas never wait for each other in a circle.
        ordered = sorted(zip(countings, payloads, strict=True), key=lambda pair: _order(pair[0].segment))
        numbers: dict[tuple[str, str], int] = {}
        with self._database.session() as session:
            _note_batches(session, [one.segment for one in countings])
            self._forgotten.learn(session)
            if any(self._forgotten.theirs(one.segment) is not None for one in countings):
                raise _NotAll("some rows are about somebody who was forgotten", self._unforgotten)
            for one, payload in ordered:
                segment = one.segment
                name = (segment.tenant.value, segment.model)
                if name not in numbers:
                    numbers[name] = self._ids.need(session, segment.tenant, segment.model)
                    note_change(session, numbers[name])
                write_segment(session, numbers[name], one, payload)
        for one in countings:
            segment = one.segment
            self._ids.committed(segment.tenant, segment.model, numbers[segment.tenant.value, segment.model])

    def _unforgotten(self, segment: Segment) -> Segment | None:
        theirs = self._forgotten.theirs(segment)
        return segment if theirs is None else segment.without(theirs)


def write_segment(
    session: Session, model_id: int, counting: Counting, payload: bytes, *, fresh: bool = True
) -> None:  # fmt: skip
    """Keep a segment and count it; the caller holds the model's row. Rows that are not fresh were counted in the series."""
    segment = counting.segment
    order = segment.ids.order
    bounds = {
        "at_min": int(segment.at.min()), "at_max": int(segment.at.max()),
        "event_time_min": int(segment.event_time.min()), "event_time_max": int(segment.event_time.max()),
    }  # fmt: skip
    number = session.execute(
        sa.insert(segments)
        .values(
            model_id=model_id, version=segment.version, role=segment.role.value, level=segment.level, rows=len(segment),
            id_min=int(order.min()), id_max=int(order.max()), taken_at=now_micros(), **bounds,
        )
        .returning(segments.c.id)
    ).scalar_one()  # fmt: skip
    session.execute(sa.insert(segment_rows).values(segment_id=number, payload=payload))
    if not counting.sketched:
        session.execute(sa.insert(unsketched).values(segment_id=number))
    add_parts(session, model_id, segment.version, segment.role.value, segment.level, counting.parts)
    _count(session, model_id, segment, bounds, len(segment) if fresh else 0)


def _order(segment: Segment) -> tuple[str, str, int, str, str]:
    return segment.tenant.value, segment.model, segment.version, segment.role.value, segment.level


def _note_batches(session: Session, taken: Sequence[Segment]) -> None:
    moment = now_micros()
    wanted = sorted({source.batch_id for segment in taken for source in segment.sources})
    note = insert_into(session, taken_batches).on_conflict_do_nothing().returning(taken_batches.c.batch_id)
    rows = [{"batch_id": name, "taken_at": moment} for name in wanted]
    fresh = set(session.execute(note, rows).scalars())
    if len(fresh) < len(wanted):
        # They came again: their consumer was killed before it said that they are done.
        raise _NotAll("some batches are known", lambda segment: _only(segment, fresh))


def _only(segment: Segment, batches: set[str]) -> Segment | None:
    return segment.only({source.batch_id for source in segment.sources} & batches)


def _count(session: Session, model_id: int, segment: Segment, bounds: dict[str, int], rows: int) -> None:
    fresh = insert_into(session, series).values(
        model_id=model_id, version=segment.version, role=segment.role.value, predictions=rows,
        first_at=bounds["at_min"], last_at=bounds["at_max"], first_event=bounds["event_time_min"],
        last_event=bounds["event_time_max"],
    )  # fmt: skip
    old, new = series.c, fresh.excluded
    session.execute(
        fresh.on_conflict_do_update(
            index_elements=["model_id", "version", "role"],
            set_={
                "predictions": old.predictions + new.predictions,
                "first_at": sa.case((old.first_at < new.first_at, old.first_at), else_=new.first_at),
                "last_at": sa.case((old.last_at > new.last_at, old.last_at), else_=new.last_at),
                "first_event": sa.case((old.first_event < new.first_event, old.first_event), else_=new.first_event),
                "last_event": sa.case((old.last_event > new.last_event, old.last_event), else_=new.last_event),
            },
        )
    )
