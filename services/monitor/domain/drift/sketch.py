"""What a window's values look like, in as many numbers as there are bins and levels, however many rows it has.

A sketch is one row of whole numbers: for each column of the training baseline (and for the model's score) the counts of
its bins or levels and of its missing values. Counts add up, so windows of minutes merge to one of months exactly.

>>> from tenon.core.manifest import NumericBaseline, TrainingBaseline
>>> score = NumericBaseline(rows=4, missing=0, edges=[0.5], counts=[2, 2], mean=0.5, iqr=0.5)
>>> layout = Layout.of(TrainingBaseline(columns={}, score=score))
>>> morning, evening = Sketch(layout), Sketch(layout)
>>> morning.add({}, np.array([0.2, 0.9])), evening.add({}, np.array([0.1, np.nan]))
(None, None)
>>> morning.merge(evening)
>>> morning.rows, morning.tallied()["score"].window.tolist(), morning.tallied()["score"].window_missing
(4, [2, 1], 1)
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from services.monitor.domain.model import SCORE, Column, NumericColumn, TextColumn
from tenon.core.manifest import CategoricalBaseline, NumericBaseline, TrainingBaseline
from tenon.histograms import count_codes, count_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from services.monitor.domain.drift.statistics import Counts

_TRUTH = {"true": 1.0, "false": 0.0}
_HEADER = struct.Struct("<3sB16sQ")
_MAGIC = b"TS1"
_WIDTHS = ("<u1", "<u2", "<u4", "<u8")


@dataclass(frozen=True, slots=True)
class Tallied:
    """One column's counts, baseline and window on the same bins or levels, missing values apart.

    The baseline is the training's, or another window's when two windows are compared.
    """

    labels: tuple[str, ...]
    baseline: Counts
    window: Counts
    baseline_missing: int
    window_missing: int
    unseen: int
    """Rows with a level that training never saw, or outside the range of all its numbers; of two windows, how many more of them."""
    edges: npt.NDArray[np.float64] | None = None
    """Bin i of a number is (edges[i-1], edges[i]], open at both ends; None: levels."""
    iqr: float | None = None
    """The middle half's width in training, in which distances of numbers are told."""

    @property
    def rows(self) -> int:
        """Rows of the window, missing ones included."""
        return int(self.window.sum()) + self.window_missing

    @property
    def baseline_rows(self) -> int:
        """Rows of the baseline, missing ones included."""
        return int(self.baseline.sum()) + self.baseline_missing


class _Numbers:
    """Where a column of numbers is counted."""

    def __init__(self, first: int, baseline: NumericBaseline) -> None:
        self.edges = np.asarray(baseline.edges, dtype=np.float64)
        self.iqr = baseline.iqr
        self.places = slice(first, first + len(self.edges) + 2)
        self.trained = np.asarray([*baseline.counts, baseline.missing], dtype=np.int64)

    def add(self, column: Column, counts: Counts) -> None:
        """Count rows; text that is no number counts as missing."""
        values = column.values if isinstance(column, NumericColumn) else _numbers(column)
        count_numbers(np.ascontiguousarray(values, dtype=np.float64), self.edges, counts)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What the bins are called."""
        edges = self.edges.tolist()
        if not edges:
            return ("all",)
        return (f"≤ {edges[0]:.6g}", *(f"≤ {high:.6g}" for high in edges[1:]), f"> {edges[-1]:.6g}")

    def unseen(self, window: Counts) -> int:
        """Values below the least or above the greatest of training."""
        held = np.flatnonzero(self.trained[:-1])
        return int(window[: held[0]].sum() + window[held[-1] + 1 :].sum()) if len(held) else 0


class _Levels:
    """Where a column of levels is counted; what training did not list is counted beside its pool of rare levels."""

    edges = None
    iqr = None

    def __init__(self, first: int, baseline: CategoricalBaseline) -> None:
        self._place = {level: place for place, level in enumerate(baseline.counts)}
        self._numbers = {value: level for level in baseline.counts if (value := _number(level)) is not None}
        self._other = baseline.other
        self.places = slice(first, first + len(self._place) + 2)
        self.trained = np.asarray([*baseline.counts.values(), baseline.other, baseline.missing], dtype=np.int64)

    def add(self, column: Column, counts: Counts) -> None:
        """Count rows."""
        if isinstance(column, NumericColumn):
            column = self._as_text(column)
        find, rest = self._place.get, len(self._place)
        places = np.asarray([find(level, rest) for level in column.levels], dtype=np.int32)
        count_codes(np.ascontiguousarray(column.codes, dtype=np.int32), places, counts)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What the places are called."""
        return (*self._place, "other")

    def unseen(self, window: Counts) -> int:
        """Rows of unlisted levels; with a pool of rare levels, only what exceeds the pool's share can be called unseen."""
        unlisted = int(window[-1])
        if not self._other:
            return unlisted
        expected = int(window.sum()) * self._other / max(int(self.trained[:-1].sum()), 1)
        return max(0, round(unlisted - expected))

    def _as_text(self, column: NumericColumn) -> TextColumn:
        """Numbers and booleans whose baseline is by level are matched by value, however training wrote them."""
        values, codes = np.unique(column.values, return_inverse=True)
        levels = tuple(self._numbers.get(float(value), f"{value:.17g}") for value in values)
        return TextColumn(np.where(np.isnan(column.values), -1, codes).astype(np.int32), levels)


class Layout:
    """Which number of a sketch counts what: the bins and levels of a training baseline and of its score."""

    def __init__(self, columns: Mapping[str, _Numbers | _Levels], score: _Numbers, digest: str) -> None:
        self.columns, self.score, self.digest = columns, score, digest
        self.size = score.places.stop
        # An input that is called as we call the model's answers is told apart from them.
        self.shown = {name: f"{name} (input)" if name == SCORE else name for name in columns}

    @classmethod
    def of(cls, baseline: TrainingBaseline) -> Self:
        """The layout of a version; versions with the same bins and levels share its digest, and their sketches merge."""
        columns: dict[str, _Numbers | _Levels] = {}
        described: list[object] = []
        first = 0
        for name, column in sorted(baseline.columns.items()):
            columns[name] = _place(first, column)
            described.append([name, _described(column)])
            first = columns[name].places.stop
        described.append(_described(baseline.score))
        digest = hashlib.sha256(json.dumps(described, separators=(",", ":")).encode()).hexdigest()
        return cls(columns, _Numbers(first, baseline.score), digest)


class Sketch:
    """Counts of a window's rows. `rows` are all rows; a column's may be fewer, where it was not known."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rows = 0
        self.counts: Counts = np.zeros(layout.size, dtype=np.int64)

    def add(self, columns: Mapping[str, Column], score: npt.NDArray[np.float64]) -> None:
        """Count one chunk of rows. Columns that training did not have are left out."""
        for name, place in self.layout.columns.items():
            if name in columns:
                place.add(columns[name], self.counts[place.places])
        self.layout.score.add(NumericColumn(score), self.counts[self.layout.score.places])
        self.rows += len(score)

    def merge(self, other: Sketch) -> None:
        """Take in another window of the same layout. Raises `ValueError` for one of another layout."""
        if other.layout is not self.layout and other.layout.digest != self.layout.digest:
            raise ValueError("a sketch of other bins cannot be merged")
        self.counts += other.counts
        self.rows += other.rows

    def seen(self, name: str) -> bool:
        """Whether a column came in any row."""
        return bool(self.counts[self.layout.columns[name].places].any())

    def tallied(self, against: Sketch | None = None) -> dict[str, Tallied]:
        """Each column beside training, or beside `against`, a window of the same layout; the score comes last."""
        if against is not None and against.layout.digest != self.layout.digest:
            raise ValueError("sketches of different bins cannot be compared")
        places = {self.layout.shown[name]: place for name, place in self.layout.columns.items()}
        return {name: self._tallied(place, against) for name, place in {**places, SCORE: self.layout.score}.items()}

    def to_bytes(self) -> bytes:
        """The sketch as it is stored: a header, then the counts at the least width that holds them, deflated."""
        width = next(code for code in range(4) if int(self.counts.max(initial=0)) < 256 ** (1 << code))
        head = _HEADER.pack(_MAGIC, width, bytes.fromhex(self.layout.digest)[:16], self.rows)
        return head + zlib.compress(self.counts.astype(_WIDTHS[width]).tobytes(), 1)

    @classmethod
    def from_bytes(cls, layout: Layout, data: bytes) -> Self:
        """A stored sketch. Raises `ValueError` for one of another layout or form."""
        try:
            magic, width, digest, rows = _HEADER.unpack_from(data)
            if magic != _MAGIC:
                raise ValueError("this is no sketch, or one of a form that is not known")
            if digest != bytes.fromhex(layout.digest)[:16]:
                raise ValueError("the sketch was made with other bins")
            most = layout.size * (1 << width)
            inflate = zlib.decompressobj()
            counts = np.frombuffer(inflate.decompress(data[_HEADER.size :], most + 1), dtype=_WIDTHS[width])
        except (struct.error, zlib.error, IndexError) as err:
            raise ValueError("the stored sketch is damaged") from err
        if len(counts) != layout.size or not inflate.eof:
            raise ValueError("the stored sketch is damaged")
        sketch = cls(layout)
        sketch.rows, sketch.counts = rows, counts.astype(np.int64)
        return sketch

    def _tallied(self, place: _Numbers | _Levels, against: Sketch | None) -> Tallied:
        now = self.counts[place.places]
        then = place.trained if against is None else against.counts[place.places]
        unseen = place.unseen(now[:-1])
        if against is not None:
            # Of two windows it is what came in addition that is new.
            unseen = max(0, unseen - round(place.unseen(then[:-1]) * int(now.sum()) / max(int(then.sum()), 1)))
        return Tallied(
            labels=place.labels,
            baseline=then[:-1],
            window=now[:-1],
            baseline_missing=int(then[-1]),
            window_missing=int(now[-1]),
            unseen=unseen,
            edges=place.edges,
            iqr=place.iqr,
        )


def _place(first: int, baseline: NumericBaseline | CategoricalBaseline) -> _Numbers | _Levels:
    return _Numbers(first, baseline) if isinstance(baseline, NumericBaseline) else _Levels(first, baseline)


def _described(baseline: NumericBaseline | CategoricalBaseline) -> list[object]:
    """What decides which value is counted where."""
    if isinstance(baseline, NumericBaseline):
        return ["numbers", baseline.edges]
    return ["levels", list(baseline.counts)]


def _number(text: str) -> float | None:
    truth = _TRUTH.get(text.lower())
    try:
        return float(text) if truth is None else truth
    except ValueError:
        return None


def _numbers(column: TextColumn) -> npt.NDArray[np.float64]:
    values = [number if (number := _number(level)) is not None else np.nan for level in column.levels]
    # The extra last value is what code -1, missing, points at.
    return np.asarray([*values, np.nan], dtype=np.float64)[column.codes]
