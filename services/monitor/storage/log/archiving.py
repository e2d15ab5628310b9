"""Moving segments from the database into the archive, each exactly once, and forgetting what is older than is kept.

A round writes some segments of a model in one commit of its lake table, then says so in the database. Killed in between, the next
round finds their rows in the table and only says so. Small segments of one kind become one there, so that the database keeps few rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.kept.buckets import DAY, HOUR
from services.monitor.storage.log.tables import forgotten, taken_batches
from services.monitor.storage.models import note_change
from services.monitor.storage.segments.archive import archived_frame
from services.monitor.storage.segments.payload import unpack_segment
from services.monitor.storage.segments.tables import segment_rows, segments, unsketched
from services.monitor.storage.tables import models
from services.monitor.storage.windows.compact import without_rows
from services.monitor.storage.windows.tables import windows
from tenon.core.tenancy import TenantId
from tenon.kit.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

    from services.monitor.domain.model import Column
    from services.monitor.storage.segments.archive import Archive
    from tenon.kit.sql import Database

log = get_logger(__name__)

_S = segments.c
_ROWS_A_COMMIT, _SEGMENTS_A_COMMIT = 250_000, 2_000
LAKE = "lake"
# What waits for its version's bins is looked into first.
_SKETCHED = _S.id.not_in(sa.select(unsketched.c.segment_id))


@dataclass(frozen=True, slots=True)
class _Moved:
    """A segment as it is in the archive: its rows belong to `into` there."""

    row: sa.Row[tuple[object, ...]]
    into: int


class Archiving:
    """What a background loop calls now and then; several replicas may."""

    def __init__(self, database: Database, archive: Archive | None) -> None:
        self._database, self._archive = database, archive

    def move(self, before: int) -> int:
        """Move segments that were taken before a time; gives their rows."""
        moved = 0
        if self._archive is None:
            return 0
        for number, tenant, model in self._models(_S.place == "", _S.taken_at < before, _SKETCHED):
            while True:
                rows = self._move_some(self._archive, number, tenant, model, before)
                if not rows:
                    break
                moved += rows
        return moved

    def sweep(self) -> int:
        """Take out of the archive what the database does not know, and files that no state of a table names; gives the rows.

        Both are left behind by programs that were killed, and by an erasure in the instant of a move.
        """
        gone = 0
        if self._archive is None:
            return 0
        for number, tenant, model in self._models():
            there = self._archive.segments(tenant, model)
            known: set[int] = set()
            with self._database.session() as session:
                query = sa.select(_S.id).where(_S.model_id == number)
                for some in chunks(sorted({number for pair in there for number in pair})):
                    known |= set(session.execute(query.where(_S.id.in_(some))).scalars())
            # What is on its way into the archive is known by its part still.
            stray = sorted({part for segment, part in there if segment not in known and part not in known})
            for some in chunks(stray):
                gone += self._archive.delete(tenant, model, f"part IN ({', '.join(map(str, some))})")
            self._archive.tidy(tenant, model)
        return gone

    def oldest(self) -> int | None:
        """When the oldest segment that is not archived was taken."""
        with self._database.session() as session:
            return session.execute(sa.select(sa.func.min(_S.taken_at)).where(_S.place == "")).scalar_one_or_none()

    def forget(self, rows_before: int, windows_before: int, batches_before: int) -> int:
        """Forget rows answered, windows ended and ids of batches taken before these times; gives the rows."""
        gone = 0
        for number, tenant, model in self._models(_S.at_max < rows_before):
            with self._database.session() as session:
                query = sa.select(_S.id, _S.rows, _S.place).where(_S.model_id == number, _S.at_max < rows_before)
                old = session.execute(query).all()
            # The archive first: killed in between, the next round knows from the database what is still to be done.
            if self._archive is not None:
                for some in chunks([one.id for one in old if one.place == LAKE]):
                    self._archive.delete(tenant, model, f"segment IN ({', '.join(map(str, some))})")
            with self._database.session() as session:
                note_change(session, number)
                for some in chunks([one.id for one in old]):
                    _drop(session, some)
            gone += sum(one.rows for one in old)
        with self._database.session() as session:
            ended = windows.c.start + windows.c.step < windows_before
            # Events of long ago that were answered lately, as in a replay, are kept as long as their rows.
            session.execute(windows.delete().where(ended, without_rows()))
            session.execute(taken_batches.delete().where(taken_batches.c.taken_at < batches_before))
            # What comes about them now is older than is kept, and goes with the next round.
            session.execute(forgotten.delete().where(forgotten.c.forgotten_at < rows_before))
        return gone

    def _models(self, *where: sa.ColumnElement[bool]) -> list[tuple[int, TenantId, str]]:
        query = sa.select(models).where(sa.exists().where(_S.model_id == models.c.id, *where))
        with self._database.session() as session:
            return [(row.id, TenantId(row.tenant), row.model) for row in session.execute(query)]

    def _move_some(self, archive: Archive, number: int, tenant: TenantId, model: str, before: int) -> int:
        with self._database.session() as session:
            query = (
                sa.select(segments, segment_rows.c.payload)
                .join(segment_rows, segment_rows.c.segment_id == _S.id)
                .where(_S.model_id == number, _S.place == "", _S.taken_at < before, _SKETCHED)
                .order_by(_S.id)
                .limit(_SEGMENTS_A_COMMIT)
            )
            found, rows = [], 0
            for row in session.execute(query):
                found.append(row)
                rows += row.rows
                if rows >= _ROWS_A_COMMIT:
                    break
        if not found:
            return 0
        known = archive.known(tenant, model, [row.id for row in found])
        there = known.parts
        if there:
            # A round before was killed after its commit: only what it wrote is finished now.
            moved = [
                _Moved(row, there[row.id][0]) for row in found if there.get(row.id, ())[1:] == (row.rows, row.taken_at)
            ]
            ids = {one.row.id for one in moved}
            moved = [one for one in moved if one.into in ids]
            wrong = sorted(set(there) - {one.row.id for one in moved})
            if wrong:
                # Of a database that was set back to an earlier state, or from before an erasure.
                log.warning("rows in the archive do not fit and are taken out", model=model, segments=len(wrong))
                for some in chunks(wrong):
                    archive.delete(tenant, model, f"part IN ({', '.join(map(str, some))})")
            return self._say(number, moved) if moved else 1
        kinds: dict[tuple[object, ...], int] = {}
        unpacked = [(row, unpack_segment(row.payload)) for row in found]
        for row, kept in unpacked:
            kinds[_kind(row, kept.columns)] = row.id
        moved = [_Moved(row, kinds[_kind(row, kept.columns)]) for row, kept in unpacked]
        frames = [
            archived_frame(
                kept,
                segment=one.into,
                part=row.id,
                taken_at=row.taken_at,
                version=row.version,
                role=row.role,
                level=row.level,
            )
            for one, (row, kept) in zip(moved, unpacked, strict=True)
        ]
        archive.append(model, known, frames, found[-1].id)
        return self._say(number, moved)

    def _say(self, number: int, moved: Sequence[_Moved]) -> int:
        """Note in the database what the archive has; gives the rows."""
        groups: dict[int, list[_Moved]] = {}
        for one in moved:
            groups.setdefault(one.into, []).append(one)
        with self._database.session() as session:
            note_change(session, number)
            now: dict[int, int] = {}
            for some in chunks([one.row.id for one in moved]):
                now |= dict(session.execute(sa.select(_S.id, _S.rows).where(_S.id.in_(some), _S.place == "")).all())
            if any(now.get(one.row.id) != one.row.rows for one in moved):
                # Erased, or said by another replica, meanwhile: the next round sees what is so.
                return 0
            for some in chunks([one.row.id for one in moved]):
                session.execute(segment_rows.delete().where(segment_rows.c.segment_id.in_(some)))
            for some in chunks([one.row.id for one in moved if one.row.id != one.into]):
                _drop(session, some)
            for into, group in groups.items():
                rows = [one.row for one in group]
                bounds = {
                    name: min(getattr(row, name) for row in rows) for name in ("at_min", "event_time_min", "id_min")
                }
                bounds |= {
                    name: max(getattr(row, name) for row in rows) for name in ("at_max", "event_time_max", "id_max")
                }
                values = {"place": LAKE, "rows": sum(row.rows for row in rows), **bounds}
                session.execute(segments.update().where(_S.id == into).values(values))
        return sum(one.row.rows for one in moved)


def chunks(numbers: Sequence[int], size: int = 500) -> Iterator[list[int]]:
    """Some at a time, as many as one statement takes."""
    for begin in range(0, len(numbers), size):
        yield list(numbers[begin : begin + size])


def _drop(session: Session, numbers: Sequence[int]) -> None:
    for table in (segment_rows, unsketched):
        session.execute(table.delete().where(table.c.segment_id.in_(numbers)))
    session.execute(segments.delete().where(_S.id.in_(numbers)))


def _kind(row: sa.Row[tuple[object, ...]], columns: Mapping[str, Column]) -> tuple[object, ...]:
    """What segments share that become one. None reaches over much more than an hour, so that windows read little besides."""
    named = tuple((name, type(column).__name__) for name, column in columns.items())
    return row.version, row.role, row.level, row.at_min // HOUR, row.event_time_min // DAY, named
