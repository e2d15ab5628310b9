"""Labels in SQL, and the join that finds the predictions they belong to: arrays of ids, segment by segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from services.monitor.domain.kept.prediction_ids import IdLookup, PredictionIds
from services.monitor.domain.model import LabelledRows
from services.monitor.storage.labels import tables as t
from services.monitor.storage.labels.remembered import ReadLabels, Remembered
from services.monitor.storage.models import ModelIds, insert_into, note_change, now_micros
from services.monitor.storage.segments.payload import KeptRows
from services.monitor.storage.segments.reads import BY_THE_MODEL, Found, SegmentReads, cut
from services.monitor.storage.segments.tables import segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from services.monitor.domain.model import Label, Role, Window
    from services.monitor.storage.segments.archive import Archive
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database


class SqlLabels:
    """See `domain.ports.Labels`."""

    def __init__(self, database: Database, ids: ModelIds, archive: Archive | None = None) -> None:
        self._database, self._ids = database, ids
        self._reads = SegmentReads(database, ids, archive)
        self._newest = ReadLabels(database)
        self._rows = Remembered[KeptRows]()

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
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
        newest = None if model_id is None else self._newest.newest(model_id, known_at)
        if newest is None or not len(newest):
            return {}
        lookup, order = IdLookup(newest.ids), np.sort(newest.ids.order)
        parts: dict[tuple[int, Role], list[tuple[npt.NDArray[Any], ...]]] = {}
        for one, whole in self._thin(_with_any(found, order)):
            rows = cut(whole, window)
            places = lookup.places(rows.ids)
            matched = np.flatnonzero(places >= 0)
            if len(matched):
                at = places[matched]
                moment = (rows.at if window.by == "at" else rows.event_time)[matched]
                late = newest.known_at[at] - rows.event_time[matched]
                part = rows.score[matched], newest.value[at], late, moment, at
                parts.setdefault((one.version, one.role), []).append(part)
        return {
            key: LabelledRows(*(np.concatenate(arrays) for arrays in zip(*some, strict=True)))
            for key, some in parts.items()
        }

    def _thin(self, found: Sequence[Found]) -> Iterator[tuple[Found, KeptRows]]:
        """Segments without their columns. Their rows never change but by being erased, and with them go their labels, so that what is
        remembered of them joins with nothing."""
        unread = []
        for one in found:
            known = self._rows.get((one.id, one.rows))
            if known is None:
                unread.append(one)
            else:
                yield one, known
        for one, rows in self._reads.read(unread, ()):
            self._rows.put((one.id, one.rows), rows, 40 * len(rows) + 1024)
            yield one, rows


def _with_any(found: Sequence[Found], order: npt.NDArray[np.int64]) -> list[Found]:
    """The segments whose bounds hold at least one of the ids (given by their sorted order)."""
    if not found:
        return []
    low = np.searchsorted(order, np.array([one.id_min for one in found], dtype=np.int64), side="left")
    high = np.searchsorted(order, np.array([one.id_max for one in found], dtype=np.int64), side="right")
    return [one for one, any_inside in zip(found, (high > low).tolist(), strict=True) if any_inside]
