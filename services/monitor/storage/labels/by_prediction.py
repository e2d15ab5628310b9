"""Labels in SQL, and the join that finds the predictions they belong to: arrays of ids, segment by segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.kept.prediction_ids import IdLookup, PredictionIds
from services.monitor.domain.model import LabelledRows
from services.monitor.storage.labels import tables as t
from services.monitor.storage.models import ModelIds, insert_into, note_change, now_micros
from services.monitor.storage.segments.reads import BY_THE_MODEL, Found, SegmentReads
from services.monitor.storage.segments.tables import segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from services.monitor.domain.model import Label, Role, Window
    from services.monitor.storage.segments.archive import Archive
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

_LABELS_A_READ = 100_000


class SqlLabels:
    """See `domain.ports.Labels`."""

    def __init__(self, database: Database, ids: ModelIds, archive: Archive | None = None) -> None:
        self._database, self._ids = database, ids
        self._reads = SegmentReads(database, ids, archive)

    def record(self, tenant: TenantId, model: str, labels: Sequence[Label]) -> int:
        """Keep labels; the same label again changes nothing."""
        with self._database.session() as session:
            model_id = self._ids.need(session, tenant, model)
            insert = insert_into(session, t.labels)
            moment = now_micros()
            session.execute(
                insert.on_conflict_do_update(
                    index_elements=["model_id", "prediction_id", "known_at"],
                    set_={"value": insert.excluded.value, "recorded_at": insert.excluded.recorded_at},
                ),
                [
                    {
                        "model_id": model_id, "prediction_id": label.prediction_id, "known_at": label.known_at,
                        "value": label.value, "recorded_at": moment,
                    }
                    for label in sorted(labels, key=lambda one: (one.prediction_id, one.known_at))
                ],
            )  # fmt: skip
            note_change(session, model_id)
        self._ids.committed(tenant, model, model_id)
        return self._in_log(tenant, model, sorted({label.prediction_id for label in labels}))

    def withdraw(self, tenant: TenantId, model: str, prediction_id: str, known_at: int) -> None:
        """Take one label away, as if it had never come."""
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            if model_id is None:
                return
            label = t.labels.c
            session.execute(
                t.labels.delete().where(
                    label.model_id == model_id, label.prediction_id == prediction_id, label.known_at == known_at
                )
            )
            note_change(session, model_id)

    def _in_log(self, tenant: TenantId, model: str, names: Sequence[str]) -> int:
        """How many of these predictions are in the log."""
        ids = PredictionIds.of_texts(names)
        lookup, order = IdLookup(ids), np.sort(ids.order)
        if not len(order):
            return 0
        near = self._reads.find(
            tenant, model, None, segments.c.id_max >= int(order[0]), segments.c.id_min <= int(order[-1])
        )
        seen = np.zeros(len(ids), bool)
        for _, rows in self._reads.read(_with_any(near, order), ()):
            places = lookup.places(rows.ids)
            seen[places[places >= 0]] = True
            if seen.all():
                break
        return int(np.count_nonzero(seen))

    def labelled(
        self, tenant: TenantId, model: str, window: Window, known_at: int | None
    ) -> dict[tuple[int, Role], LabelledRows]:
        """Join by prediction id; of a label's values the newest known one holds."""
        found = self._reads.find(tenant, model, window, BY_THE_MODEL)
        if not found:
            return {}
        names, value, known = self._newest(tenant, model, known_at)
        if not names:
            return {}
        ids = PredictionIds.of_texts(names)
        lookup, order = IdLookup(ids), np.sort(ids.order)
        parts: dict[tuple[int, Role], list[tuple[npt.NDArray[Any], ...]]] = {}
        for one, rows in self._reads.read(_with_any(found, order), (), window):
            places = lookup.places(rows.ids)
            matched = np.flatnonzero(places >= 0)
            if len(matched):
                at = places[matched]
                moment = (rows.at if window.by == "at" else rows.event_time)[matched]
                part = rows.score[matched], value[at], known[at] - rows.event_time[matched], moment, at
                parts.setdefault((one.version, one.role), []).append(part)
        return {
            key: LabelledRows(*(np.concatenate(arrays) for arrays in zip(*some, strict=True)))
            for key, some in parts.items()
        }

    def _newest(
        self, tenant: TenantId, model: str, known_at: int | None
    ) -> tuple[list[str], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Of each prediction the newest label that was known: ids, values, and when they became known."""
        names: list[str] = []
        values: list[float] = []
        moments: list[int] = []
        for prediction_id, moment, value in self._all(tenant, model, known_at):
            if names and names[-1] == prediction_id:
                values[-1], moments[-1] = value, moment
            else:
                names.append(prediction_id)
                values.append(value)
                moments.append(moment)
        return names, np.array(values, dtype=np.float64), np.array(moments, dtype=np.int64)

    def _all(self, tenant: TenantId, model: str, known_at: int | None) -> Iterator[tuple[str, int, float]]:
        """Labels by prediction and time, some at a time."""
        label = t.labels.c
        after: tuple[str, int] | None = None
        while True:
            with self._database.session() as session:
                model_id = self._ids.find(session, tenant, model)
                query = sa.select(label.prediction_id, label.known_at, label.value).where(label.model_id == model_id)
                if known_at is not None:
                    query = query.where(label.known_at <= known_at)
                if after is not None:
                    place = sa.tuple_(label.prediction_id, label.known_at)
                    query = query.where(place > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])))
                some = session.execute(
                    query.order_by(label.prediction_id, label.known_at).limit(_LABELS_A_READ)
                ).all()  # fmt: skip
            yield from some
            if len(some) < _LABELS_A_READ:
                return
            after = (some[-1][0], some[-1][1])


def _with_any(found: Sequence[Found], order: npt.NDArray[np.int64]) -> list[Found]:
    """The segments whose bounds hold at least one of the ids (given by their sorted order)."""
    if not found:
        return []
    low = np.searchsorted(order, np.array([one.id_min for one in found], dtype=np.int64), side="left")
    high = np.searchsorted(order, np.array([one.id_max for one in found], dtype=np.int64), side="right")
    return [one for one, any_inside in zip(found, (high > low).tolist(), strict=True) if any_inside]
