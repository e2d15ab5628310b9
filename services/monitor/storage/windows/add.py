"""Adding to windows, inside the transaction that keeps the rows.

The caller holds the model's row, so that nobody else changes its windows meanwhile. Stretches of one version, role and axis never overlap: what falls into a
stretch that exists is added there; a longer one takes in the shorter ones inside it. So every moment belongs to one window, and a reader
knows from the windows alone which rows they have counted.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from services.monitor.domain.drift.sketch import Sketch
from services.monitor.domain.kept.buckets import STEPS, Axis, Part, merged
from services.monitor.storage.given import given, rows
from services.monitor.storage.models import dialect_of, insert_for
from services.monitor.storage.windows.tables import windows
from tenon.kit.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session

    from services.monitor.domain.drift.sketch import Layout

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
    inner: list[_Stretch] = field(default_factory=list)
    """Shorter ones, each with its own rows only, that it takes in."""

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


@dataclass(frozen=True, slots=True)
class Addition:
    """What a segment of one version, role and level brings."""

    model_id: int
    version: int
    role: str
    level: str
    parts: Sequence[Part]


_Key = tuple[int, Axis, int, str]
_KEY = ("model_id", "axis", "version", "role")


def add_parts(session: Session, addition: Addition, *, only_sketch: bool = False) -> None:
    """Add what one segment brings."""
    add_all(session, [addition], only_sketch=only_sketch)


def add_all(session: Session, additions: Iterable[Addition], *, only_sketch: bool = False) -> None:
    """Add what segments of some models bring, in as many statements as one model takes. `only_sketch`: their rows were counted before."""
    brought: dict[_Key, list[tuple[Part, str]]] = {}
    for addition in additions:
        for part in addition.parts:
            key = addition.model_id, part.axis, addition.version, addition.role
            brought.setdefault(key, []).append((part, addition.level))
    if not brought:
        return
    live = _overlapping(session, brought)
    for key, some in brought.items():
        for part, level in some:
            _place(live[key], part).take_in(part, level, only_sketch=only_sketch)
    changed = [(key, one) for key, stretches in live.items() for one in stretches if one.changed]
    _load(session, [(key, one) for key, whole in changed for one in (whole, *whole.inner)])
    gone = [_named(key, one) for key, whole in changed for one in whole.inner if one.stored]
    if gone:
        session.execute(_DELETE, [{f"{name}_": value for name, value in named.items()} for named in gone])
    layouts = {
        key: next((part.sketch.layout for part, _ in some if part.sketch is not None), None)
        for key, some in brought.items()
    }
    for key, whole in changed:
        for inner in whole.inner:
            whole.absorb(inner, _opened(inner, layouts[key]))
    written = [_named(key, whole) | _values(whole, layouts[key]) for key, whole in changed]
    session.execute(_write(dialect_of(session)), written)


def _named(key: _Key, one: _Stretch) -> dict[str, object]:
    return {**dict(zip(_KEY, key, strict=True)), "start": one.start}


def _overlapping(session: Session, brought: Mapping[_Key, Sequence[tuple[Part, str]]]) -> dict[_Key, list[_Stretch]]:
    """What is stored where something is brought, in order."""
    asked: list[dict[str, object]] = []
    for key, some in brought.items():
        low, high = min(part.start for part, _ in some), max(part.start + part.step for part, _ in some)
        named = dict(zip(_KEY, key, strict=True))
        asked.append({**named, "since": low - STEPS[-1], "low": low, "high": high})
    live: dict[_Key, list[_Stretch]] = {key: [] for key in brought}
    for row in session.execute(_overlap(dialect_of(session)), rows(asked)):
        live[row.model_id, row.axis, row.version, row.role].append(
            _Stretch(row.start, row.step, row.first, row.last, row.rows, row.sketched, dict(row.levels), stored=True)
        )
    for stretches in live.values():
        stretches.sort(key=lambda one: one.start)
    return live


def _place(live: list[_Stretch], part: Part) -> _Stretch:
    """Where a part goes. A longer one takes the shorter stretches there in; `live` stays in order."""
    at = bisect.bisect_right(live, part.start, key=lambda one: one.start)
    end = part.start + part.step
    if at and live[at - 1].end >= end:
        return live[at - 1]
    first = at - 1 if at and live[at - 1].start == part.start else at
    last = first
    while last < len(live) and live[last].end <= end:
        last += 1
    fresh = _Stretch(part.start, part.step)
    # What was taken in before by one that is taken in now comes along.
    fresh.inner = [one for shorter in live[first:last] for one in (shorter, *shorter.inner)]
    live[first:last] = [fresh]
    return fresh


def _load(session: Session, wanted: Sequence[tuple[_Key, _Stretch]]) -> None:
    """Read the stored sketches of stretches."""
    stored = {(*key, one.start): one for key, one in wanted if one.stored}
    if stored:
        asked = rows([dict(zip((*_KEY, "start"), names, strict=True)) for names in stored])
        for row in session.execute(_sketches(dialect_of(session)), asked):
            stored[row.model_id, row.axis, row.version, row.role, row.start].data = row.sketch


def _opened(one: _Stretch, layout: Layout | None) -> Sketch | None:
    """The stored sketch, when bins to read it with are known."""
    if one.data is None or layout is None:
        return None
    try:
        return Sketch.from_bytes(layout, one.data)
    except ValueError as err:
        # Its rows are read from the log instead, as those of a window that was never sketched.
        log.warning("a window's sketch cannot be read", error=str(err))
        one.sketched = 0
        return None


def _values(one: _Stretch, layout: Layout | None) -> dict[str, object]:
    values: dict[str, object] = {
        "step": one.step, "first": one.first, "last": one.last, "rows": one.rows, "sketched": one.sketched,
        "levels": one.levels, "sketch": one.data,
    }  # fmt: skip
    if layout is not None:
        whole = merged(_opened(one, layout), one.sketch)
        values |= {
            "sketch": None if whole is None else whole.to_bytes(),
            "sketched": 0 if whole is None else whole.rows,
        }
    elif not one.stored:
        # Without bins the sketches of what it took in cannot be put together; its rows are read from the log.
        values |= {"sketch": None, "sketched": 0}
    return values


_DELETE = sa.delete(windows).where(*(_W[name] == sa.bindparam(f"{name}_") for name in (*_KEY, "start")))


@cache
def _overlap(dialect: str) -> sa.Select[Any]:
    asked = given(
        dialect, model_id=sa.BigInteger(), axis=sa.String(), version=sa.Integer(), role=sa.String(),
        since=sa.BigInteger(), low=sa.BigInteger(), high=sa.BigInteger(),
    )  # fmt: skip
    within = (_W.start > asked.c.since, _W.start < asked.c.high, _W.start + _W.step > asked.c.low)
    same = (_W[name] == asked.c[name] for name in _KEY)
    wanted = (*(_W[name] for name in _KEY), _W.start, _W.step, _W.first, _W.last, _W.rows, _W.sketched, _W.levels)
    return sa.select(*wanted).select_from(sa.join(asked, windows, sa.and_(*same, *within)))


@cache
def _sketches(dialect: str) -> sa.Select[Any]:
    asked = given(
        dialect,
        model_id=sa.BigInteger(),
        axis=sa.String(),
        version=sa.Integer(),
        role=sa.String(),
        start=sa.BigInteger(),
    )
    names = (*_KEY, "start")
    same = (_W[name] == asked.c[name] for name in names)
    return sa.select(*(_W[name] for name in names), _W.sketch).select_from(sa.join(asked, windows, sa.and_(*same)))


@cache
def _write(dialect: str) -> Any:
    fresh = insert_for(dialect, windows)
    changing = ("step", "first", "last", "rows", "sketched", "levels", "sketch")
    return fresh.on_conflict_do_update(
        index_elements=[*_KEY, "start"], set_={name: fresh.excluded[name] for name in changing}
    )
