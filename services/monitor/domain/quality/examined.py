"""Rows of one version as arrays, with what is known of their truth: bounded, every n-th of very many."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from services.monitor.domain.drift.sketch import Sketch
from services.monitor.domain.model import Column, NumericColumn, Role, TextColumn, Window
from tenon.core.levels import BESIDE_THE_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from services.monitor.domain.drift.sketch import Layout
    from services.monitor.domain.label_words import AnsweredRows
    from services.monitor.domain.ports import Answered, PredictionLog
    from tenon.core.tenancy import TenantId

    Floats = npt.NDArray[np.float64]

_NOT_BY_THE_MODEL = {level.value for level in BESIDE_THE_MODEL}
_IDS_AT_ONCE = 5_000
DAY = 86_400_000_000


class LabelLookup(Protocol):
    """True values by prediction."""

    def known(
        self, tenant: TenantId, model: str, prediction_ids: Sequence[str], known_at: int | None
    ) -> Mapping[str, tuple[float, int]]:
        """Of these predictions the newest label that was known at a time (None: now): its value and when it became known."""
        ...


@dataclass
class Examined:
    """Rows in the order they were taken. `value` is NaN and `known` 0 where the truth is not known (yet)."""

    score: Floats
    value: Floats
    known: npt.NDArray[np.int64]
    columns: dict[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.score)

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Rows with a finite answer and a finite truth."""
        found: npt.NDArray[np.bool_] = np.isfinite(self.score) & np.isfinite(self.value)
        return found

    @cached_property
    def numbers(self) -> dict[str, Floats]:
        """The columns of numbers."""
        return {name: column.values for name, column in self.columns.items() if isinstance(column, NumericColumn)}

    @cached_property
    def texts(self) -> dict[str, npt.NDArray[np.str_]]:
        """The columns of texts; what is missing is empty."""
        return {
            name: np.array([*column.levels, ""])[column.codes]
            for name, column in self.columns.items()
            if isinstance(column, TextColumn)
        }

    def sketched(self, layout: Layout, chosen: npt.NDArray[np.bool_]) -> Sketch | None:
        """Some of the rows, counted; None without any."""
        if not chosen.any():
            return None
        sketch = Sketch(layout)
        sketch.add({name: _take(column, chosen) for name, column in self.columns.items()}, self.score[chosen])
        return sketch


@dataclass(frozen=True, slots=True)
class Halves:
    """A version's rows in the window, how many there were of them, and those of the time before it."""

    now: Examined
    before: Examined
    rows: int


class ReadExamined:
    """Reads the log once for a window and the time before it."""

    def __init__(
        self,
        log: PredictionLog,
        answered: Answered,
        labels: LabelLookup,
        *,
        most: int = 50_000,
        most_before: int = 20_000,
    ) -> None:
        self._log, self._answered, self._labels = log, answered, labels
        self._most, self._most_before = most, most_before

    def __call__(
        self, tenant: TenantId, model: str, window: Window, *, version: int = 0, role: Role | None = None,
        known_at: int | None = None,
    ) -> dict[int, Halves]:  # fmt: skip
        """By version. Shadows only where they are asked for."""
        length = window.end - window.start
        earlier = Window(window.start - max(4 * length, 30 * DAY), window.start, window.by)
        whole = Window(earlier.start, window.end, window.by)

        def wanted(number: int, kind: Role) -> bool:
            return version in {0, number} and (kind is role if role else kind is not Role.SHADOW)

        parts: dict[tuple[int, bool], _Part] = {}
        for inside, limit, of_it in ((True, self._most, window), (False, self._most_before, earlier)):
            for (number, kind), count in self._log.traffic(tenant, model, of_it).items():
                if wanted(number, kind):
                    part = parts.setdefault((number, inside), _Part(limit))
                    part.expected += count
        for rows in self._answered.answered(tenant, model, whole):
            if not wanted(rows.version, rows.role) or rows.level in _NOT_BY_THE_MODEL:
                continue
            moments = rows.at if window.by == "at" else rows.event_time
            for inside in (True, False):
                place = parts.get((rows.version, inside))
                if place is not None:
                    place.take(rows, (moments >= window.start) == inside)
        for part in parts.values():
            part.join(lambda ids: self._labels.known(tenant, model, ids, known_at))
        empty = _Part(0)
        return {
            number: Halves(
                parts.get((number, True), empty).made(), parts.get((number, False), empty).made(),
                parts.get((number, True), empty).seen,
            )
            for number in sorted({number for number, inside in parts if inside})
        }  # fmt: skip


class _Part:
    """Rows as they are gathered."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.expected = 0
        self.seen = 0
        self._ids: list[str] = []
        self._scores: list[Floats] = []
        self._columns: list[tuple[int, dict[str, Column]]] = []
        self._value: Floats = np.empty(0)
        self._known: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def take(self, rows: AnsweredRows, inside: npt.NDArray[np.bool_]) -> None:
        """Keep every n-th row that is inside, counted over all batches."""
        places = np.flatnonzero(inside)
        stride = max(1, math.ceil(self.expected / max(self._limit, 1)))
        chosen = places[(np.arange(self.seen, self.seen + len(places)) % stride) == 0]
        self.seen += len(places)
        if len(chosen):
            self._ids += [rows.prediction_ids[place] for place in chosen.tolist()]
            self._scores.append(rows.score[chosen])
            self._columns.append((len(chosen), {name: _take(column, chosen) for name, column in rows.columns.items()}))

    def join(self, known: _Lookup) -> None:
        """Find the labels."""
        self._value, self._known = np.full(len(self._ids), np.nan), np.zeros(len(self._ids), np.int64)
        for begin in range(0, len(self._ids), _IDS_AT_ONCE):
            some = self._ids[begin : begin + _IDS_AT_ONCE]
            found = known(some)
            for place, name in enumerate(some, begin):
                if name in found:
                    self._value[place], self._known[place] = found[name]

    def made(self) -> Examined:
        """The rows."""
        if not self._scores:
            return Examined(np.empty(0), np.empty(0), np.empty(0, np.int64))
        names = dict.fromkeys(name for _, columns in self._columns for name in columns)
        columns = {name: _joined([(rows, part.get(name)) for rows, part in self._columns]) for name in names}
        return Examined(np.concatenate(self._scores), self._value, self._known, columns)


class _Lookup(Protocol):
    def __call__(self, ids: list[str], /) -> Mapping[str, tuple[float, int]]: ...


def _take(column: Column, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Column:
    if isinstance(column, TextColumn):
        return TextColumn(column.codes[chosen], column.levels)
    return NumericColumn(column.values[chosen])


def _joined(parts: Sequence[tuple[int, Column | None]]) -> Column:
    """One column of all batches; rows of a batch that does not have it are missing in it."""
    if not any(isinstance(column, TextColumn) for _, column in parts):
        return NumericColumn(
            np.concatenate(
                [
                    column.values if isinstance(column, NumericColumn) else np.full(rows, np.nan)
                    for rows, column in parts
                ]
            )
        )
    places: dict[str, int] = {}
    codes = []
    for rows, column in parts:
        if isinstance(column, TextColumn):
            mapped = [places.setdefault(level, len(places)) for level in column.levels]
            codes.append(np.array([*mapped, -1], dtype=np.int32)[column.codes])
        else:
            codes.append(np.full(rows, -1, dtype=np.int32))
    return TextColumn(np.concatenate(codes), tuple(places))
