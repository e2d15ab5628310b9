"""Adding to windows, inside the transaction that keeps the rows.

The caller holds the model's row, so that nobody else changes its windows meanwhile. Stretches of one version, role and axis never overlap: what falls into a
stretch that exists is added there; a longer one takes in the shorter ones inside it. So every moment belongs to one window, and a reader
knows from the windows alone which rows they have counted.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.drift.sketch import Sketch
from services.monitor.domain.kept.buckets import STEPS, Axis, Part, merged
from services.monitor.storage.windows.tables import windows
from tenon.kit.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

log = get_logger(__name__)

_W = windows.c


@dataclass(slots=True)
class _Stretch:
    """A window in memory. `data` is its stored sketch, `sketch` what is added to it."""

    start: int
    step: int
    first: int = 0
    last: int = 0
    rows: int = 0
    sketched: int = 0
    levels: dict[str, int] = field(default_factory=dict)
    data: bytes | None = None
    sketch: Sketch | None = None
    stored: bool = False
    changed: bool = False

    @property
    def end(self) -> int:
        return self.start + self.step

    def take_in(self, part: Part, level: str, *, only_sketch: bool) -> None:
        self.changed = True
        if not only_sketch:
            self._widen(part.first, part.last)
            self.rows += part.rows
            if level:
                self.levels[level] = self.levels.get(level, 0) + part.rows
        if part.sketch is not None:
            self.sketched += part.rows
            self.sketch = merged(self.sketch, part.sketch)

    def absorb(self, other: _Stretch, found: Sketch | None) -> None:
        self._widen(other.first, other.last)
        self.rows += other.rows
        for level, count in other.levels.items():
            self.levels[level] = self.levels.get(level, 0) + count
        self.sketched += other.sketched
        self.sketch = merged(self.sketch, merged(found, other.sketch))

    def _widen(self, first: int, last: int) -> None:
        if self.rows == 0:
            self.first, self.last = first, last
        self.first, self.last = min(self.first, first), max(self.last, last)


def add_parts(
    session: Session, model_id: int, version: int, role: str, level: str, parts: Iterable[Part], *,
    only_sketch: bool = False,
) -> None:  # fmt: skip
    """Add what a segment of one version, role and level brings. `only_sketch`: its rows were counted before."""
    by_axis: dict[Axis, list[Part]] = {}
    for part in parts:
        by_axis.setdefault(part.axis, []).append(part)
    for axis, some in sorted(by_axis.items()):
        key = (_W.model_id == model_id, _W.axis == axis, _W.version == version, _W.role == role)
        layout = next((part.sketch.layout for part in some if part.sketch is not None), None)
        live = _overlapping(
            session, key, min(part.start for part in some), max(part.start + part.step for part in some)
        )
        absorbed: dict[int, list[_Stretch]] = {}
        for part in some:
            target, inner = _place(live, part)
            target.take_in(part, level, only_sketch=only_sketch)
            if inner:
                absorbed.setdefault(target.start, []).extend(inner)
        gone = [one for inner in absorbed.values() for one in inner if one.stored]
        changed = [one for one in live if one.changed]
        _load(session, key, [*gone, *(one for one in changed if one.stored)])
        if gone:
            session.execute(windows.delete().where(*key, _W.start.in_([one.start for one in gone])))
        for one in changed:
            for inner_one in absorbed.get(one.start, ()):
                one.absorb(inner_one, _opened(inner_one, layout))
            _write(session, key, one, layout, names=(model_id, axis, version, role))


def _overlapping(session: Session, key: Sequence[sa.ColumnElement[bool]], low: int, high: int) -> list[_Stretch]:
    query = (
        sa.select(_W.start, _W.step, _W.first, _W.last, _W.rows, _W.sketched, _W.levels)
        .where(*key, _W.start > low - STEPS[-1], _W.start < high, _W.start + _W.step > low)
        .order_by(_W.start)
    )
    return [
        _Stretch(row.start, row.step, row.first, row.last, row.rows, row.sketched, dict(row.levels), stored=True)
        for row in session.execute(query)
    ]


def _place(live: list[_Stretch], part: Part) -> tuple[_Stretch, list[_Stretch]]:
    """Where a part goes, and the shorter stretches that are to be taken in there; `live` stays in order."""
    at = bisect.bisect_right(live, part.start, key=lambda one: one.start)
    end = part.start + part.step
    if at and live[at - 1].end >= end:
        return live[at - 1], []
    first = at - 1 if at and live[at - 1].start == part.start else at
    last = first
    while last < len(live) and live[last].end <= end:
        last += 1
    fresh, inner = _Stretch(part.start, part.step), live[first:last]
    live[first:last] = [fresh]
    return fresh, inner


def _load(session: Session, key: Sequence[sa.ColumnElement[bool]], wanted: Sequence[_Stretch]) -> None:
    for begin in range(0, len(wanted), 500):
        some = {one.start: one for one in wanted[begin : begin + 500]}
        for start, data in session.execute(sa.select(_W.start, _W.sketch).where(*key, _W.start.in_(some))):
            some[start].data = data


def _opened(one: _Stretch, layout: object) -> Sketch | None:
    """The stored sketch, when bins to read it with are known."""
    if one.data is None or layout is None:
        return None
    try:
        return Sketch.from_bytes(layout, one.data)  # type: ignore[arg-type]
    except ValueError as err:
        # Its rows are read from the log instead, as those of a window that was never sketched.
        log.warning("a window's sketch cannot be read", error=str(err))
        one.sketched = 0
        return None


def _write(
    session: Session, key: Sequence[sa.ColumnElement[bool]], one: _Stretch, layout: object,
    names: tuple[int, str, int, str],
) -> None:  # fmt: skip
    values = {
        "step": one.step, "first": one.first, "last": one.last, "rows": one.rows, "sketched": one.sketched,
        "levels": one.levels,
    }  # fmt: skip
    if layout is not None:
        whole = merged(_opened(one, layout), one.sketch)
        values |= {
            "sketch": None if whole is None else whole.to_bytes(),
            "sketched": 0 if whole is None else whole.rows,
        }
    if one.stored:
        session.execute(windows.update().where(*key, _W.start == one.start).values(values))
        return
    if layout is None:
        # Without bins the sketches of what it took in cannot be put together; its rows are read from the log.
        values |= {"sketch": None, "sketched": 0}
    model_id, axis, version, role = names
    named = {"model_id": model_id, "axis": axis, "version": version, "role": role, "start": one.start}
    session.execute(windows.insert().values(named | values))
