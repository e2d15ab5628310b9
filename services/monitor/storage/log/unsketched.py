"""Segments that wait for their version's bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.kept.segment import Segment
from services.monitor.storage.models import ModelIds, note_change
from services.monitor.storage.segments.reads import SegmentReads
from services.monitor.storage.segments.tables import segments, unsketched
from services.monitor.storage.tables import models
from services.monitor.storage.windows.add import Addition, add_parts
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.domain.kept.buckets import Part
    from services.monitor.storage.segments.archive import Archive
    from tenon.kit.sql import Database


class SqlUnsketched:
    """See `domain.ports.Unsketched`."""

    def __init__(self, database: Database, ids: ModelIds, archive: Archive | None = None) -> None:
        self._database, self._ids = database, ids
        self._reads = SegmentReads(database, ids, archive)

    def versions(self) -> list[tuple[TenantId, str, int]]:
        """Of which versions segments wait."""
        query = (
            sa.select(models.c.tenant, models.c.model, segments.c.version)
            .distinct()
            .join(segments, segments.c.model_id == models.c.id)
            .join(unsketched, unsketched.c.segment_id == segments.c.id)
        )
        with self._database.session() as session:
            return [(TenantId(tenant), model, version) for tenant, model, version in session.execute(query)]

    def segments(
        self, tenant: TenantId, model: str, version: int, after: int, limit: int
    ) -> list[tuple[int, Segment]]:  # fmt: skip
        """Some of them, in the order they were taken."""
        waiting = sa.select(unsketched.c.segment_id).where(unsketched.c.segment_id > after)
        found = self._reads.find(
            tenant, model, None, segments.c.version == version, segments.c.id.in_(waiting), limit=limit
        )
        return [
            (
                one.id,
                Segment(
                    tenant, model, version, one.role, one.level, (), rows.ids, rows.request_ids, rows.at,
                    rows.event_time, rows.score, rows.columns,
                ),
            )
            for one, rows in self._reads.read(found)
        ]  # fmt: skip

    def add(self, tenant: TenantId, number: int, segment: Segment, parts: Sequence[Part]) -> bool:
        """Add its sketches to the windows; False when another replica has done it."""
        with self._database.session() as session:
            model_id = self._ids.need(session, tenant, segment.model)
            note_change(session, model_id)
            waits = sa.delete(unsketched).where(unsketched.c.segment_id == number).returning(unsketched.c.segment_id)
            if session.execute(waits).scalar_one_or_none() is None:
                return False
            addition = Addition(model_id, segment.version, segment.role.value, segment.level, parts)
            add_parts(session, addition, only_sketch=True)
        return True
