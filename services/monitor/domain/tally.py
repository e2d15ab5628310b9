"""Counting a window against a baseline, batch by batch: memory is by bins and levels, not by rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.model import Column, NumericColumn, TextColumn
from services.monitor.domain.statistics import bin_values
from tenon.core.manifest import CategoricalBaseline, NumericBaseline

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.monitor.domain.statistics import Counts

_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Tallied:
    """One column's counts, baseline and window on the same bins or levels, missing values apart."""

    labels: tuple[str, ...]
    baseline: Counts
    window: Counts
    baseline_missing: int
    window_missing: int
    unseen: int

    @property
    def rows(self) -> int:
        """Rows of the window, missing ones included."""
        return int(self.window.sum()) + self.window_missing

    @property
    def baseline_rows(self) -> int:
        """Rows of the baseline, missing ones included."""
        return int(self.baseline.sum()) + self.baseline_missing


class NumericTally:
    """Counts numbers into the baseline's bins."""

    def __init__(self, baseline: NumericBaseline) -> None:
        self._baseline = baseline
        self._edges = np.asarray(baseline.edges, dtype=np.float64)
        self._counts = np.zeros(len(baseline.edges) + 1, dtype=np.int64)
        self._missing = 0

    def add(self, column: Column) -> None:
        """Count one chunk of rows; text that is no number counts as missing."""
        values = column.values if isinstance(column, NumericColumn) else _numbers(column)
        known = values[~np.isnan(values)]
        self._missing += len(values) - len(known)
        self._counts += bin_values(known, self._edges)

    def result(self) -> Tallied:
        """What was counted."""
        edges = self._baseline.edges
        if edges:
            labels = (
                f"≤ {edges[0]:.6g}",
                *(f"≤ {high:.6g}" for high in edges[1:]),
                f"> {edges[-1]:.6g}",
            )
        else:
            labels = ("all",)
        counts = np.asarray(self._baseline.counts, dtype=np.int64)
        return Tallied(labels, counts, self._counts, self._baseline.missing, self._missing, 0)


class TextTally:
    """Counts levels; what training did not list is counted beside its pool of rare levels."""

    def __init__(self, baseline: CategoricalBaseline) -> None:
        self._baseline = baseline
        self._places = {level: place for place, level in enumerate(baseline.counts)}
        self._numbers = {value: level for level in baseline.counts if (value := _number(level)) is not None}
        # The last place is everything that is not listed.
        self._counts = np.zeros(len(self._places) + 1, dtype=np.int64)
        self._missing = 0

    def add(self, column: Column) -> None:
        """Count one chunk of rows."""
        if isinstance(column, NumericColumn):
            column = self._as_text(column)
        known = column.codes[column.codes >= 0]
        self._missing += len(column.codes) - len(known)
        counts = np.bincount(known, minlength=len(column.levels))
        for level, count in zip(column.levels, counts.tolist(), strict=True):
            self._counts[self._places.get(level, -1)] += count

    def result(self) -> Tallied:
        """What was counted. With a pool of rare levels, only what exceeds the pool's share can be called unseen."""
        baseline = np.asarray([*self._baseline.counts.values(), self._baseline.other], dtype=np.int64)
        total, unlisted = int(self._counts.sum()), int(self._counts[-1])
        expected = total * self._baseline.other / max(int(baseline.sum()), 1)
        unseen = max(0, round(unlisted - expected)) if self._baseline.other else unlisted
        labels = (*self._baseline.counts, "other")
        return Tallied(labels, baseline, self._counts, self._baseline.missing, self._missing, unseen)

    def _as_text(self, column: NumericColumn) -> TextColumn:
        """Numbers and booleans whose baseline is by level are matched by value, however training wrote them."""
        values, codes = np.unique(column.values, return_inverse=True)
        levels = tuple(self._numbers.get(float(value), f"{value:.17g}") for value in values)
        return TextColumn(np.where(np.isnan(column.values), -1, codes).astype(np.int32), levels)


Tally = NumericTally | TextTally


def tally_for(baseline: NumericBaseline | CategoricalBaseline) -> Tally:
    """An empty tally for a column of the baseline."""
    return NumericTally(baseline) if isinstance(baseline, NumericBaseline) else TextTally(baseline)


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
