"""Taking the rows of a person or a thing out of the log, its archive and the labels. Windows are sums and keep nothing of anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.erase_words import Erased, Subject
from services.monitor.domain.kept.prediction_ids import IdLookup, PredictionIds
from services.monitor.domain.kept.segment import Segment
from services.monitor.domain.model import TextColumn
from services.monitor.storage.labels.tables import labels
from services.monitor.storage.log.archiving import LAKE
from services.monitor.storage.log.forgotten import note_forgotten
from services.monitor.storage.models import ModelIds, note_change, now_micros
from services.monitor.storage.segments.payload import KeptRows, pack_segment, unpack_segment
from services.monitor.storage.segments.reads import Found, SegmentReads, take_kept
from services.monitor.storage.segments.tables import segment_rows, segments, unsketched

if TYPE_CHECKING:
    import numpy.typing as npt
    from sqlalchemy.orm import Session

    from services.monitor.storage.segments.archive import Archive
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database


class SqlErasure:
    """See `domain.ports.Erasure`."""

    def __init__(self, database: Database, ids: ModelIds, archive: Archive | None = None) -> None:
        self._database, self._ids, self._archive = database, ids, archive
        self._reads = SegmentReads(database, ids, archive)

    def remember(self, tenant: TenantId, subject: Subject) -> None:
        """See the port."""
        with self._database.session() as session:
            note_forgotten(session, tenant, subject, now_micros())

    def erase(self, tenant: TenantId, model: str, subject: Subject) -> Erased:
        """See the port."""
        names: list[str] = []
        versions: set[int] = set()
        for one in self._reads.find(tenant, model, None):
            found = self._rewrite(one, subject) if one.place != LAKE else self._archived(one, subject)
            if found:
                names += found
                versions.add(one.version)
        if self._archive is not None:
            self._delete_archived(tenant, model, names)
        labels = self._labels(tenant, model, sorted({*names, *subject.prediction_ids}))
        return Erased(len(names), labels, tuple(sorted(versions)), tuple(names))

    def _rewrite(self, one: Found, subject: Subject) -> list[str]:
        """Keep a segment without the subject's rows; gives their ids."""
        query = sa.select(segment_rows.c.payload).where(segment_rows.c.segment_id == one.id)
        with self._database.session() as session:
            payload = session.execute(query).scalar_one_or_none()
        if payload is not None:
            if not _theirs(unpack_segment(payload, tuple(subject.key)), subject).any():
                return []
            with self._database.session() as session:
                note_change(session, self._ids.need(session, one.tenant, one.model))
                # Holding the model's row, what it is now counts: it may have been changed since.
                payload = session.execute(query).scalar_one_or_none()
                if payload is not None:
                    return _without(session, one, unpack_segment(payload), subject)
        # Archived meanwhile: there it is found by its part.
        return self._archived(one, subject)

    def _archived(self, one: Found, subject: Subject) -> list[str]:
        return [
            name for _, rows in self._reads.read([one]) for name in take_kept(rows, _theirs(rows, subject)).ids.texts()
        ]

    def _delete_archived(self, tenant: TenantId, model: str, names: list[str]) -> None:
        if self._archive is None or not self._archive.columns(tenant, model):
            return
        for begin in range(0, len(names), 500):
            listed = ", ".join("'" + name.replace("'", "''") + "'" for name in names[begin : begin + 500])
            self._archive.delete(tenant, model, f"prediction_id IN ({listed})")

    def _labels(self, tenant: TenantId, model: str, names: list[str]) -> int:
        gone = 0
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            if model_id is None:
                return 0
            note_change(session, model_id)
            for begin in range(0, len(names), 500):
                some = names[begin : begin + 500]
                theirs = labels.delete().where(labels.c.model_id == model_id, labels.c.prediction_id.in_(some))
                gone += len(session.execute(theirs.returning(labels.c.prediction_id)).all())
        return gone


def _without(session: Session, one: Found, rows: KeptRows, subject: Subject) -> list[str]:
    theirs = _theirs(rows, subject)
    if theirs.all():
        for table in (segment_rows, unsketched):
            session.execute(table.delete().where(table.c.segment_id == one.id))
        session.execute(segments.delete().where(segments.c.id == one.id))
    else:
        payload = pack_segment(_segment(one, take_kept(rows, ~theirs)))
        session.execute(segment_rows.update().where(segment_rows.c.segment_id == one.id).values(payload=payload))
        left = int(np.count_nonzero(~theirs))
        session.execute(segments.update().where(segments.c.id == one.id).values(rows=left))
    return take_kept(rows, theirs).ids.texts()


def _theirs(rows: KeptRows, subject: Subject) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(rows), bool)
    if subject.prediction_ids:
        found |= IdLookup(PredictionIds.of_texts(sorted(subject.prediction_ids))).places(rows.ids) >= 0
    for name, text in subject.key.items():
        column = rows.columns.get(name)
        if isinstance(column, TextColumn):
            if text in column.levels:
                found |= column.codes == column.levels.index(text)
        elif column is not None:
            try:
                found |= column.values == float(text)
            except ValueError:
                continue
    return found


def _segment(one: Found, rows: KeptRows) -> Segment:
    return Segment(
        one.tenant, one.model, one.version, one.role, one.level, (), rows.ids, rows.request_ids, rows.at,
        rows.event_time, rows.score, rows.columns,
    )  # fmt: skip
