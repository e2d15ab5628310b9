"""The log row by row, with ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.kept.prediction_ids import IdLookup, PredictionIds
from services.monitor.domain.label_words import AnsweredRows
from services.monitor.storage.segments.reads import SegmentReads, take_kept
from services.monitor.storage.segments.tables import segments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from services.monitor.domain.model import Window
    from services.monitor.storage.models import ModelIds
    from services.monitor.storage.segments.archive import Archive
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database


class SqlAnswered:
    """See `domain.ports.Answered`."""

    def __init__(self, database: Database, ids: ModelIds, archive: Archive | None = None) -> None:
        self._reads = SegmentReads(database, ids, archive)

    def answered(
        self, tenant: TenantId, model: str, window: Window, *, after: int = 0, ids: Collection[str] = ()
    ) -> Iterator[AnsweredRows]:
        """See the port; a batch is a segment, read in short transactions."""
        where = [segments.c.id > after]
        lookup = None
        if ids:
            only = PredictionIds.of_texts(sorted(ids))
            lookup, order = IdLookup(only), only.order
            where += [segments.c.id_max >= int(order.min()), segments.c.id_min <= int(order.max())]
        for one, rows in self._reads.read(self._reads.find(tenant, model, window, *where), None, window):
            chosen = rows
            if lookup is not None:
                wanted = np.flatnonzero(lookup.places(rows.ids) >= 0)
                if not len(wanted):
                    continue
                chosen = take_kept(rows, wanted)
            yield AnsweredRows(
                one.id, one.version, one.role, one.level, tuple(chosen.ids.texts()),
                chosen.at, chosen.event_time, chosen.score, chosen.columns,
            )  # fmt: skip
