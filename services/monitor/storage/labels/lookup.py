"""Labels of single predictions, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.storage.labels.tables import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.storage.models import ModelIds
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

_IDS_A_QUERY = 1_000


class SqlLabelLookup:
    """See `domain.examined.LabelLookup`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def known(
        self, tenant: TenantId, model: str, prediction_ids: Sequence[str], known_at: int | None
    ) -> dict[str, tuple[float, int]]:
        """Of each prediction the newest label that was known."""
        found: dict[str, tuple[float, int]] = {}
        label = labels.c
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            if model_id is None:
                return {}
            for begin in range(0, len(prediction_ids), _IDS_A_QUERY):
                some = prediction_ids[begin : begin + _IDS_A_QUERY]
                query = sa.select(label.prediction_id, label.value, label.known_at).where(
                    label.model_id == model_id, label.prediction_id.in_(some)
                )
                if known_at is not None:
                    query = query.where(label.known_at <= known_at)
                for name, value, moment in session.execute(query.order_by(label.known_at)):
                    found[name] = value, moment
        return found
