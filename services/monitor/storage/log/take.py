"""Taking segments into the log: their rows, their windows and the note of their batches in one transaction."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from services.monitor.storage.log.forgotten import Forgotten
from services.monitor.storage.log.tables import series, taken_batches
from services.monitor.storage.models import ModelIds, dialect_of, insert_for, note_changes, now_micros
from services.monitor.storage.segments.payload import pack_segment
from services.monitor.storage.segments.tables import segment_rows, segments, unsketched
from services.monitor.storage.windows.add import Addition, add_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.orm import Session

    from services.monitor.domain.kept.buckets import Counting
    from services.monitor.domain.kept.segment import Segment
    from tenon.core.tenancy import TenantId
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
        # In one order everywhere, so that replicas never wait for each other in a circle: batches, then new models, then models, each
        # by name. Who holds a model's row is alone with all that belongs to it.
        names = sorted({(one.segment.tenant, one.segment.model) for one in countings}, key=_by_name)
        with self._database.session() as session:
            _note_batches(session, [one.segment for one in countings])
            self._forgotten.learn(session)
            if any(self._forgotten.theirs(one.segment) is not None for one in countings):
                raise _NotAll("some rows are about somebody who was forgotten", self._unforgotten)
            numbers = self._ids.need_all(session, names)
            note_changes(session, [numbers[name] for name in names])
            write_segments(
                session,
                [
                    (numbers[one.segment.tenant, one.segment.model], one, payload)
                    for one, payload in zip(countings, payloads, strict=True)
                ],
            )
        for tenant, model in names:
            self._ids.committed(tenant, model, numbers[tenant, model])

    def _unforgotten(self, segment: Segment) -> Segment | None:
        theirs = self._forgotten.theirs(segment)
        return segment if theirs is None else segment.without(theirs)


def write_segments(
    session: Session, written: Sequence[tuple[int, Counting, bytes]], *, fresh: bool = True
) -> None:  # fmt: skip
    """Keep segments (model, segment and its blob) and count them, in as many statements for hundreds of models as for one.

    The caller holds the models' rows. Rows that are not fresh were counted in the series.
    """
    described = [_described(model_id, one.segment) for model_id, one, _ in written]
    numbers = list(session.execute(_SEGMENT, described).scalars())
    session.execute(
        sa.insert(segment_rows),
        [{"segment_id": number, "payload": blob} for number, (_, _, blob) in zip(numbers, written, strict=True)],
    )
    later = [number for number, (_, one, _) in zip(numbers, written, strict=True) if not one.sketched]
    if later:
        session.execute(sa.insert(unsketched), [{"segment_id": number} for number in later])
    add_all(
        session,
        [
            Addition(model_id, one.segment.version, one.segment.role.value, one.segment.level, one.parts)
            for model_id, one, _ in written
        ],
    )
    _count(session, described, fresh=fresh)


# In the order of what is given, so that each blob finds its segment.
_SEGMENT = sa.insert(segments).returning(segments.c.id, sort_by_parameter_order=True)


def _described(model_id: int, segment: Segment) -> dict[str, Any]:
    order = segment.ids.order
    return {
        "model_id": model_id, "version": segment.version, "role": segment.role.value, "level": segment.level,
        "rows": len(segment), "at_min": int(segment.at.min()), "at_max": int(segment.at.max()),
        "event_time_min": int(segment.event_time.min()), "event_time_max": int(segment.event_time.max()),
        "id_min": int(order.min()), "id_max": int(order.max()), "taken_at": now_micros(),
    }  # fmt: skip


def _by_name(name: tuple[TenantId, str]) -> tuple[str, str]:
    return name[0].value, name[1]


def _note_batches(session: Session, taken: Sequence[Segment]) -> None:
    moment = now_micros()
    wanted = sorted({source.batch_id for segment in taken for source in segment.sources})
    rows = [{"batch_id": name, "taken_at": moment} for name in wanted]
    fresh = set(session.execute(_note(dialect_of(session)), rows).scalars())
    if len(fresh) < len(wanted):
        # They came again: their consumer was killed before it said that they are done.
        raise _NotAll("some batches are known", lambda segment: _only(segment, fresh))


def _only(segment: Segment, batches: set[str]) -> Segment | None:
    return segment.only({source.batch_id for source in segment.sources} & batches)


@cache
def _note(dialect: str) -> Any:
    return insert_for(dialect, taken_batches).on_conflict_do_nothing().returning(taken_batches.c.batch_id)


def _count(session: Session, described: Sequence[Mapping[str, Any]], *, fresh: bool) -> None:
    totals: dict[tuple[int, int, str], dict[str, Any]] = {}
    for one in described:
        key = one["model_id"], one["version"], one["role"]
        bounds = {
            "first_at": one["at_min"], "last_at": one["at_max"], "first_event": one["event_time_min"],
            "last_event": one["event_time_max"],
        }  # fmt: skip
        total = totals.setdefault(key, {**dict(zip(_SERIES, key, strict=True)), "predictions": 0, **bounds})
        total["predictions"] += one["rows"] if fresh else 0
        for name, value in bounds.items():
            total[name] = (min if name.startswith("first") else max)(total[name], value)
    session.execute(_counted(dialect_of(session)), list(totals.values()))


_SERIES = ("model_id", "version", "role")


@cache
def _counted(dialect: str) -> Any:
    fresh = insert_for(dialect, series)
    old, new = series.c, fresh.excluded
    return fresh.on_conflict_do_update(
        index_elements=list(_SERIES),
        set_={
            "predictions": old.predictions + new.predictions,
            "first_at": sa.case((old.first_at < new.first_at, old.first_at), else_=new.first_at),
            "last_at": sa.case((old.last_at > new.last_at, old.last_at), else_=new.last_at),
            "first_event": sa.case((old.first_event < new.first_event, old.first_event), else_=new.first_event),
            "last_event": sa.case((old.last_event > new.last_event, old.last_event), else_=new.last_event),
        },
    )
