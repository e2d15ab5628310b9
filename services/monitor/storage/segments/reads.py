"""Reading segments: found by their bounds, their rows read some at a time, each in a short transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.kept.segment import take_rows
from services.monitor.domain.model import Role, Window
from services.monitor.storage.segments.payload import KeptRows, unpack_segment
from services.monitor.storage.segments.tables import segment_rows, segments
from tenon.core.levels import BESIDE_THE_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from services.monitor.storage.models import ModelIds
    from services.monitor.storage.segments.archive import Archive
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

# Rows held in memory at once, and segments read in one transaction.
_ROWS_A_READ = 100_000
_SEGMENTS_A_READ = 256
_S = segments.c
BY_THE_MODEL = _S.level.not_in([level.value for level in BESIDE_THE_MODEL])


@dataclass(frozen=True, slots=True)
class Found:
    """A segment that may hold what is looked for."""

    tenant: TenantId
    model: str
    id: int
    version: int
    role: Role
    level: str
    rows: int
    id_min: int
    id_max: int
    place: str


class SegmentReads:
    """The log's segments of any model."""

    def __init__(self, database: Database, ids: ModelIds, archive: Archive | None = None) -> None:
        self._database, self._ids, self._archive = database, ids, archive

    def find(
        self, tenant: TenantId, model: str, window: Window | None, *where: sa.ColumnElement[bool],
        limit: int | None = None,
    ) -> list[Found]:  # fmt: skip
        """Segments that may have rows in the window (None: at any time), in the order they were taken."""
        inside: tuple[sa.ColumnElement[bool], ...] = ()
        if window is not None:
            low, high = (_S.at_min, _S.at_max) if window.by == "at" else (_S.event_time_min, _S.event_time_max)
            inside = (high >= window.start, low < window.end)
        with self._database.session() as session:
            number = self._ids.find(session, tenant, model)
            if number is None:
                return []
            query = (
                sa.select(_S.id, _S.version, _S.role, _S.level, _S.rows, _S.id_min, _S.id_max, _S.place)
                .where(_S.model_id == number, *inside, *where)
                .order_by(_S.id)
                .limit(limit)
            )
            return [
                Found(
                    tenant,
                    model,
                    row.id,
                    row.version,
                    Role(row.role),
                    row.level,
                    row.rows,
                    row.id_min,
                    row.id_max,
                    row.place,
                )
                for row in session.execute(query)
            ]

    def read(
        self, found: Iterable[Found], columns: Sequence[str] | None = None, window: Window | None = None
    ) -> Iterator[tuple[Found, KeptRows]]:
        """The rows of segments, cut to the window, with the named columns (None: all)."""
        for some in _pages(found):
            with self._database.session() as session:
                query = sa.select(segment_rows).where(segment_rows.c.segment_id.in_([one.id for one in some]))
                payloads = {row.segment_id: row.payload for row in session.execute(query)}
            archived = self._archived([one for one in some if one.id not in payloads], columns)
            for one in some:
                payload = payloads.pop(one.id, None)
                rows = archived.pop(one.id, None) if payload is None else unpack_segment(payload, columns)
                if rows is None:
                    # Erased, or older than is kept, since it was found.
                    continue
                if window is not None:
                    rows = cut(rows, window)
                if len(rows):
                    yield one, rows

    def _archived(self, found: Sequence[Found], columns: Sequence[str] | None) -> dict[int, KeptRows]:
        """Segments that are in the archive. One that was moved since it was found may belong to a larger one there."""
        if not found or self._archive is None:
            return {}
        one = found[0]
        rows: dict[int, KeptRows] = {}
        for by, wanted in (
            ("segment", [one.id for one in found if one.place]),
            ("part", [one.id for one in found if not one.place]),
        ):
            rows |= self._archive.read(one.tenant, one.model, by, wanted, columns)
        return rows


def cut(rows: KeptRows, window: Window) -> KeptRows:
    """Only the rows inside the window."""
    times = rows.at if window.by == "at" else rows.event_time
    inside = (times >= window.start) & (times < window.end)
    return rows if inside.all() else take_kept(rows, inside)


def take_kept(rows: KeptRows, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> KeptRows:
    """Some of the rows."""
    return KeptRows(
        rows.ids.take(chosen), rows.at[chosen], rows.event_time[chosen], rows.score[chosen],
        {name: take_rows(column, chosen) for name, column in rows.columns.items()}, rows.request_ids[chosen],
    )  # fmt: skip


def _pages(found: Iterable[Found]) -> Iterator[list[Found]]:
    page: list[Found] = []
    rows = 0
    for one in found:
        if page and (rows + one.rows > _ROWS_A_READ or len(page) >= _SEGMENTS_A_READ):
            yield page
            page, rows = [], 0
        page.append(one)
        rows += one.rows
    if page:
        yield page
