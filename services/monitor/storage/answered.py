"""The log row by row, with ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.label_words import AnsweredRows
from services.monitor.domain.model import Column, NumericColumn, Role, TextColumn
from services.monitor.storage import tables as t
from services.monitor.storage.payload import unpack_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from services.monitor.domain.model import Window
    from services.monitor.storage.prediction_log import ModelIds
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

_BATCHES_A_READ = 64


class SqlAnswered:
    """See `domain.ports.Answered`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def answered(
        self, tenant: TenantId, model: str, window: Window, *, after: int = 0, ids: Collection[str] = ()
    ) -> Iterator[AnsweredRows]:
        """See the port; read in short transactions."""
        last, only = after, set(ids)
        batches = t.batches.c
        low, high = (
            (batches.at_min, batches.at_max) if window.by == "at" else (batches.event_time_min, batches.event_time_max)
        )
        while True:
            with self._database.session() as session:
                model_id = self._ids.find(session, tenant, model)
                if model_id is None:
                    return
                query = (
                    sa.select(batches.id, batches.version, batches.role, batches.level, t.batch_rows.c.payload)
                    .join(t.batch_rows, t.batch_rows.c.batch_id == batches.id)
                    .where(batches.model_id == model_id, high >= window.start, low < window.end, batches.id > last)
                    .order_by(batches.id)
                    .limit(_BATCHES_A_READ)
                )
                if only:
                    query = query.where(
                        batches.id.in_(
                            sa.select(t.predictions.c.batch_id).where(
                                t.predictions.c.model_id == model_id, t.predictions.c.prediction_id.in_(only)
                            )
                        )
                    )
                found = session.execute(query).all()
                named = (
                    sa.select(t.predictions.c.batch_id, t.predictions.c.prediction_id)
                    .where(t.predictions.c.batch_id.in_([row.id for row in found]))
                    .order_by(t.predictions.c.batch_id, t.predictions.c.row)
                )
                names: dict[int, list[str]] = {}
                for number, prediction_id in session.execute(named):
                    names.setdefault(number, []).append(prediction_id)
            for row in found:
                last = row.id
                stored = unpack_rows(row.payload)
                moments = stored.at if window.by == "at" else stored.event_time
                inside = (moments >= window.start) & (moments < window.end)
                if only:
                    inside &= np.fromiter((name in only for name in names[row.id]), bool, len(names[row.id]))
                chosen = np.flatnonzero(inside)
                if len(chosen):
                    yield AnsweredRows(
                        row.id, row.version, Role(row.role), row.level, tuple(names[row.id][place] for place in chosen),
                        stored.at[chosen], stored.event_time[chosen], stored.score[chosen],
                        {name: take(column, chosen) for name, column in stored.columns.items()},
                    )  # fmt: skip
            if len(found) < _BATCHES_A_READ:
                return


def take(column: Column, rows: np.ndarray) -> Column:
    """Some rows of a column."""
    if isinstance(column, TextColumn):
        return TextColumn(column.codes[rows], column.levels)
    return NumericColumn(column.values[rows])
