"""Serving windows: what was counted as rows came in, and rows only where a window's end cuts through a stretch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.drift.sketch import Sketch
from services.monitor.domain.kept.buckets import STEPS, by_the_model
from services.monitor.domain.kept.counted import Counted
from services.monitor.domain.model import Role, Window
from services.monitor.storage.segments.reads import BY_THE_MODEL, SegmentReads
from services.monitor.storage.segments.tables import segments
from services.monitor.storage.windows.tables import windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.monitor.domain.drift.sketch import Layout
    from services.monitor.domain.log.layouts import Layouts
    from services.monitor.storage.models import ModelIds
    from services.monitor.storage.segments.archive import Archive
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

_W = windows.c
_WINDOWS_A_READ = 256


@dataclass(slots=True)
class _Sum:
    """What is put together of one version, role and bucket."""

    start: int
    end: int
    version: int
    role: Role
    rows: int
    levels: dict[str, int]
    sketch: Sketch | None


class SqlWindows:
    """See `domain.ports.Windows`."""

    def __init__(
        self, database: Database, ids: ModelIds, layouts: Layouts | None = None, archive: Archive | None = None
    ) -> None:  # fmt: skip
        self._database, self._ids, self._layouts = database, ids, layouts
        self._reads = SegmentReads(database, ids, archive)

    def counted(
        self, tenant: TenantId, model: str, window: Window, *,
        version: int = 0, roles: Sequence[Role] = (), step: int | None = None, sketched: bool = True,
    ) -> list[Counted]:  # fmt: skip
        """See the port."""
        sums: dict[tuple[int, int, Role], _Sum] = {}
        layouts: dict[int, Layout | None] = {}
        for row in self._stretches(tenant, model, window, version, roles, sketched=sketched):
            role = Role(row.role)
            whole = step is not None or (row.first >= window.start and row.last < window.end)
            if not whole and not self._has_rows(tenant, model, row, window):
                # Nothing says any more where in the stretch rows were: it counts where its middle is, once for windows side by side.
                whole = window.start <= row.start + row.step // 2 < window.end
                if not whole:
                    continue
            if row.version not in layouts:
                layouts[row.version] = None
                if sketched and self._layouts is not None:
                    layouts[row.version] = self._layouts.of(tenant, model, row.version, at_once=True)
            layout = layouts[row.version]
            start, end = _bucket(row.start, row.step, window, step)
            total = sums.get((start, row.version, role))
            if total is None:
                empty = None if layout is None else Sketch(layout)
                total = sums[start, row.version, role] = _Sum(start, end, row.version, role, 0, {}, empty)
            total.end = max(total.end, end)
            modelled = by_the_model(row.levels, row.rows)
            known = _open(layout, row.sketch) if whole and row.sketched == modelled else None
            if whole:
                total.rows += row.rows
                for level, count in row.levels.items():
                    total.levels[level] = total.levels.get(level, 0) + count
            if total.sketch is not None and whole and (known is not None or modelled == 0):
                if known is not None:
                    total.sketch.merge(known)
                continue
            if not whole or total.sketch is not None:
                self._read(tenant, model, _cut(row, window, step), row.version, total, count=not whole)
        return [
            Counted(one.start, one.end, one.version, one.role, one.rows, one.levels, one.sketch)
            for _, one in sorted(sums.items())
            if one.rows
        ]

    def _stretches(
        self, tenant: TenantId, model: str, window: Window, version: int, roles: Sequence[Role], *, sketched: bool
    ) -> Iterator[sa.Row[tuple[object, ...]]]:  # fmt: skip
        after: tuple[int, str, int] | None = None
        columns = [_W.version, _W.role, _W.start, _W.step, _W.first, _W.last, _W.rows, _W.sketched, _W.levels]
        columns.append(_W.sketch if sketched else sa.null().label("sketch"))  # type: ignore[arg-type]
        order = sa.tuple_(_W.version, _W.role, _W.start)
        while True:
            with self._database.session() as session:
                number = self._ids.find(session, tenant, model)
                if number is None:
                    return
                query = sa.select(*columns).where(
                    _W.model_id == number, _W.axis == window.by, _W.start > window.start - STEPS[-1],
                    _W.start < window.end, _W.last >= window.start, _W.first < window.end,
                )  # fmt: skip
                if version:
                    query = query.where(_W.version == version)
                if roles:
                    query = query.where(_W.role.in_([role.value for role in roles]))
                if after is not None:
                    query = query.where(order > sa.tuple_(*(sa.literal(part) for part in after)))
                query = query.order_by(_W.version, _W.role, _W.start).limit(_WINDOWS_A_READ)
                found = session.execute(query).all()
            yield from found
            if len(found) < _WINDOWS_A_READ:
                return
            after = (found[-1].version, found[-1].role, found[-1].start)

    def _has_rows(self, tenant: TenantId, model: str, row: sa.Row[tuple[object, ...]], window: Window) -> bool:
        where = (segments.c.version == row.version, segments.c.role == row.role)
        stretch = Window(row.start, row.start + row.step, window.by)
        return bool(self._reads.find(tenant, model, stretch, *where, limit=1))

    def _read(
        self, tenant: TenantId, model: str, window: Window, version: int, total: _Sum, *, count: bool
    ) -> None:  # fmt: skip
        where = [segments.c.version == version, segments.c.role == total.role.value]
        if not count:
            where.append(BY_THE_MODEL)
        found = self._reads.find(tenant, model, window, *where)
        names = () if total.sketch is None else None
        for one, rows in self._reads.read(found, names, window):
            if count:
                total.rows += len(rows)
                if one.level:
                    total.levels[one.level] = total.levels.get(one.level, 0) + len(rows)
            if total.sketch is not None and by_the_model({one.level: 1}, 1):
                total.sketch.add(rows.columns, rows.score)


def _bucket(start: int, step: int, window: Window, wanted: int | None) -> tuple[int, int]:
    if wanted is None:
        return window.start, window.end
    if step > wanted:
        return start, start + step
    first = start // wanted * wanted
    return first, max(first + wanted, start + step)


def _cut(row: sa.Row[tuple[object, ...]], window: Window, step: int | None) -> Window:
    """The part of a stretch that is read row by row."""
    if step is not None:
        return Window(row.start, row.start + row.step, window.by)
    return Window(max(window.start, row.start), min(window.end, row.start + row.step), window.by)


def _open(layout: Layout | None, data: bytes | None) -> Sketch | None:
    if layout is None or data is None:
        return None
    try:
        return Sketch.from_bytes(layout, data)
    except ValueError:
        return None
