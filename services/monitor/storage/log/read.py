"""The prediction log in SQL: what it has seen, and its rows by window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.kept.buckets import Counting, parts_of
from services.monitor.domain.kept.segment import join_columns, segment_of
from services.monitor.domain.model import Role, Rows, SeenModel, Series, Window
from services.monitor.storage.labels.tables import labels
from services.monitor.storage.log.tables import series
from services.monitor.storage.log.take import SqlSegments
from services.monitor.storage.models import ModelIds
from services.monitor.storage.segments.reads import BY_THE_MODEL, SegmentReads
from services.monitor.storage.segments.tables import segments
from services.monitor.storage.tables import models
from services.monitor.storage.windows.serve import SqlWindows
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.monitor.domain.kept.segment import Segment
    from services.monitor.domain.model import PredictionBatch
    from services.monitor.storage.segments.archive import Archive
    from services.monitor.storage.segments.payload import KeptRows
    from tenon.kit.sql import Database

# Small segments are put together before they are counted.
_ROWS_A_CHUNK = 8_192


class SqlPredictionLog:
    """See `domain.ports.PredictionLog` and `domain.ports.Fleet`."""

    def __init__(self, database: Database, ids: ModelIds, archive: Archive | None = None) -> None:
        self._database, self._ids = database, ids
        self._segments, self._reads = SqlSegments(database, ids), SegmentReads(database, ids, archive)
        self._windows = SqlWindows(database, ids, archive=archive)

    def store(self, tenant: TenantId, batch: PredictionBatch) -> bool:  # noqa: ARG002 - the batch says whose it is
        """Keep a single batch; its values are looked into later."""

        def count(segment: Segment) -> Counting:
            return Counting(segment, parts_of(segment, None), False)

        return bool(self._segments.take([count(segment_of(batch))], count))

    def seen(self, tenant: TenantId) -> list[SeenModel]:
        """All models of the tenant, by name."""
        return self._seen(tenant, None)

    def seen_model(self, tenant: TenantId, model: str) -> SeenModel | None:
        """One of them."""
        return next(iter(self._seen(tenant, model)), None)

    def _seen(self, tenant: TenantId, model: str | None) -> list[SeenModel]:
        with self._database.session() as session:
            wanted = sa.select(models.c.id, models.c.model).where(models.c.tenant == tenant.value)
            if model is not None:
                wanted = wanted.where(models.c.model == model)
            names = dict(session.execute(wanted.order_by(models.c.model)).all())
            counted = sa.select(series).where(series.c.model_id.in_(names)).order_by(series.c.version, series.c.role)
            parts: dict[int, list[Series]] = {number: [] for number in names}
            for row in session.execute(counted):
                parts[row.model_id].append(
                    Series(
                        names[row.model_id], row.version, Role(row.role), row.predictions, row.first_at, row.last_at,
                        row.first_event, row.last_event,
                    )
                )  # fmt: skip
            labelled = (
                sa.select(labels.c.model_id, sa.func.count(sa.distinct(labels.c.prediction_id)))
                .where(labels.c.model_id.in_(names))
                .group_by(labels.c.model_id)
            )
            with_labels: dict[int, int] = dict(session.execute(labelled).all())
        return [SeenModel(name, tuple(parts[number]), with_labels.get(number, 0)) for number, name in names.items()]

    def active(self, since: int) -> list[tuple[TenantId, str, int]]:
        """Models of all tenants that answered at or after `since`, with their change counter."""
        query = (
            sa.select(models.c.tenant, models.c.model, models.c.changes)
            .where(sa.exists().where(series.c.model_id == models.c.id, series.c.last_at >= since))
            .order_by(models.c.tenant, models.c.model)
        )
        with self._database.session() as session:
            return [(TenantId(tenant), model, changes) for tenant, model, changes in session.execute(query)]

    def span(self, tenant: TenantId, model: str, by: Literal["at", "event_time"]) -> tuple[int, int] | None:
        """See the port; from the segments' bounds."""
        first, last = getattr(segments.c, f"{by}_min"), getattr(segments.c, f"{by}_max")
        with self._database.session() as session:
            query = sa.select(sa.func.min(first), sa.func.max(last))
            found = session.execute(query.where(segments.c.model_id == self._ids.find(session, tenant, model))).one()
        return None if found[0] is None else (int(found[0]), int(found[1]))

    def traffic(self, tenant: TenantId, model: str, window: Window) -> dict[tuple[int, Role], int]:
        """From the windows, and from rows where the window's ends cut through one."""
        counted = self._windows.counted(tenant, model, window, sketched=False)
        return {(one.version, one.role): one.rows for one in counted}

    def levels(self, tenant: TenantId, model: str, window: Window) -> dict[str, int]:
        """The same by what the answers rest on, without shadows."""
        totals: dict[str, int] = {}
        for one in self._windows.counted(tenant, model, window, sketched=False):
            for level, rows in one.levels.items() if one.role is not Role.SHADOW else ():
                totals[level] = totals.get(level, 0) + rows
        return totals

    def rows(
        self, tenant: TenantId, model: str, window: Window, version: int, roles: Sequence[Role]
    ) -> Iterator[Rows]:  # fmt: skip
        """The window's rows of one version, in the order they were taken, each read in a short transaction."""
        where = [segments.c.version == version, BY_THE_MODEL]
        if roles:
            where.append(segments.c.role.in_([role.value for role in roles]))
        waiting: list[KeptRows] = []
        count = 0
        for _, rows in self._reads.read(self._reads.find(tenant, model, window, *where), None, window):
            waiting.append(rows)
            count += len(rows)
            if count >= _ROWS_A_CHUNK:
                yield _join(waiting)
                waiting, count = [], 0
        if count:
            yield _join(waiting)


def _join(parts: Sequence[KeptRows]) -> Rows:
    """Put segments together. What a segment does not have was not known there, which is not the same as missing: such a
    column has fewer rows than there are answers."""
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns = {name: join_columns([part.columns[name] for part in parts if name in part.columns]) for name in names}
    return Rows(np.concatenate([part.score for part in parts]), columns)
