"""Old windows are put together: hours become days, days become four weeks. Sketches add up, so nothing is lost but where in the longer stretch rows were.

On the axis of events days stay for as long as the log has rows of them: a replay of ten years, answered today, is looked at by days.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.drift.sketch import Sketch
from services.monitor.domain.kept.buckets import DAY, STEPS, Axis, Part, by_the_model
from services.monitor.storage.models import note_change
from services.monitor.storage.segments.tables import segments
from services.monitor.storage.tables import models
from services.monitor.storage.windows.add import Addition, add_parts
from services.monitor.storage.windows.tables import windows
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.monitor.domain.log.layouts import Layouts
    from tenon.kit.sql import Database

_W = windows.c
FOUR_WEEKS = STEPS[2]
# Whoever takes the log waits for as long as this many are put together.
_STRETCHES_A_TRANSACTION = 8
_Group = tuple[int, str, int, bool]


def without_rows() -> sa.ColumnElement[bool]:
    """Windows of events of which the log has no rows any more."""
    rows = sa.exists().where(
        segments.c.model_id == _W.model_id, segments.c.event_time_max >= _W.start,
        segments.c.event_time_min < _W.start + _W.step,
    )  # fmt: skip
    return sa.or_(_W.axis == "at", ~rows)


class Compacting:
    """What a background loop calls now and then; several replicas may."""

    def __init__(self, database: Database, layouts: Layouts) -> None:
        self._database, self._layouts = database, layouts

    def __call__(self, hours_before: int, days_before: int) -> int:
        """Put together hours that ended before a time, and days that ended before another; gives how many longer ones there are."""
        with self._database.session() as session:
            query = sa.select(models.c.id, models.c.tenant, models.c.model).order_by(models.c.id)
            found = session.execute(query).all()
        steps: list[tuple[Axis, int, int]] = [
            ("at", DAY, hours_before), ("at", FOUR_WEEKS, days_before), ("event_time", FOUR_WEEKS, days_before),
        ]  # fmt: skip
        return sum(
            self._compact(number, TenantId(tenant), model, axis, step, before)
            for number, tenant, model in found
            for axis, step, before in steps
        )

    def _compact(self, number: int, tenant: TenantId, model: str, axis: Axis, step: int, before: int) -> int:
        done = 0
        for (version, role), some in groupby(self._groups(number, axis, step, before), key=lambda one: one[:2]):
            layout = self._layouts.of(tenant, model, version)
            # Without the version's bins what was counted into them cannot be put together; another day it can.
            starts = [start for _, _, start, sketched in some if layout is not None or not sketched]
            for begin in range(0, len(starts), _STRETCHES_A_TRANSACTION):
                parts = [
                    # No row of its own: it takes in what is there.
                    Part(axis, start, step, 0, None if layout is None else Sketch(layout))
                    for start in starts[begin : begin + _STRETCHES_A_TRANSACTION]
                ]
                with self._database.session() as session:
                    note_change(session, number)
                    add_parts(session, Addition(number, version, role, "", parts))
            done += len(starts)
        return done

    def _groups(self, number: int, axis: Axis, step: int, before: int) -> Iterator[_Group]:
        """Stretches of a length that can be made: version, role, start, and whether something in them is sketched."""
        query = (
            sa.select(_W.version, _W.role, _W.start, _W.rows, _W.sketched, _W.levels)
            .where(_W.model_id == number, _W.axis == axis, _W.step < step, _W.start < before, without_rows())
            .order_by(_W.version, _W.role, _W.start)
        )
        with self._database.session() as session:
            found = session.execute(query).all()
        for (version, role, start), some in groupby(
            found, key=lambda row: (row.version, row.role, row.start // step * step)
        ):
            inner = list(some)
            states = {
                row.sketched > 0 for row in inner if by_the_model(row.levels, row.rows)
            } | {None for row in inner if 0 < row.sketched < by_the_model(row.levels, row.rows)}  # fmt: skip
            # Of what waits for its bins rows are read one by one: together with it, so would those of its neighbours.
            if len(inner) > 1 and start + step <= before and len(states) <= 1 and None not in states:
                yield version, role, start, True in states
