"""Two versions' answers to the same requests, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.kept.prediction_ids import IdLookup, PredictionIds
from services.monitor.domain.model import Role, Window
from services.monitor.storage.segments.reads import BY_THE_MODEL, SegmentReads
from services.monitor.storage.segments.tables import segments

if TYPE_CHECKING:
    import numpy.typing as npt
    import sqlalchemy as sa

    from services.monitor.storage.models import ModelIds
    from services.monitor.storage.segments.archive import Archive
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

    Floats = npt.NDArray[np.float64]

_LATER = 60 * 10**6
"""A shadow is asked after the answer, so its row is a little later than the answer's."""


class SqlSameRequests:
    """See `domain.canary.same_requests.SameRequests`."""

    def __init__(self, database: Database, ids: ModelIds, archive: Archive | None = None) -> None:
        self._reads = SegmentReads(database, ids, archive)

    def scores(
        self, tenant: TenantId, model: str, window: Window, stable: int, shadow: int
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """See the port. The shadow's rows of up to a minute later are read, so that no pair lies across two windows."""
        role = segments.c.role
        asked = Window(window.start, window.end + _LATER, window.by)
        ids, own = self._rows(tenant, model, asked, shadow, role == Role.SHADOW.value)
        if not len(own):
            return own, own
        others, answers = self._rows(tenant, model, window, stable, role != Role.SHADOW.value)
        places = IdLookup(ids).places(others)
        both = np.flatnonzero(places >= 0)
        return answers[both], own[places[both]]

    def _rows(
        self, tenant: TenantId, model: str, window: Window, version: int, role: sa.ColumnElement[bool]
    ) -> tuple[PredictionIds, Floats]:
        found = self._reads.find(tenant, model, window, segments.c.version == version, role, BY_THE_MODEL)
        parts = [(rows.ids, rows.score) for _, rows in self._reads.read(found, (), window)]
        if not parts:
            return PredictionIds.of_texts([]), np.zeros(0)
        return PredictionIds.join([ids for ids, _ in parts]), np.concatenate([score for _, score in parts])
