"""The kernel's answers in numpy and Python, one request after the other: the substitute where it could not be built."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tenon.core.exact import exact_deviation, exact_sum
from tenon.core.expressions import evaluate_expression
from tenon.core.specs import Function
from tenon.core.specs.feature_view import COUNTS
from tenon.windows.blob import chunks_of, decode_blob, encode_blob, laid_over
from tenon.windows.events import FOREVER, Events, FloatArray, IntArray
from tenon.windows.floats import FLOATS, number_of

_PRESENT, _MISSING, _UNKNOWN, _BEFORE, _IN_PIECES = 1, 2, 3, 4, 5


class Reference:
    """See `tenon.windows.program.Windows`, which hands on what it is asked."""

    def __init__(self, columns: int, features: Sequence[Any]) -> None:
        self._columns, self._features = columns, features
        # `Window` and `Arithmetic` live with what imports this module; an arithmetic one has steps.
        self._windows = [(place, f) for place, f in enumerate(features) if not hasattr(f, "steps")]
        self._arithmetic = [(place, f) for place, f in enumerate(features) if hasattr(f, "steps")]

    def evaluate(
        self, events: Events, order: IntArray, starts: IntArray, at: IntArray, requests: IntArray, firsts: IntArray,
        out: FloatArray,
    ) -> None:  # fmt: skip
        """Fill `out` for requests grouped by entity."""
        out[:] = np.nan
        for place, feature in self._windows:
            if feature.function in COUNTS:
                out[place] = 0.0
        for code in np.flatnonzero(np.diff(firsts)):
            history = events.take(order[starts[code] : starts[code + 1]])
            for request in requests[firsts[code] : firsts[code + 1]]:
                self._answer(history, int(at[request]), out[:, request])
        for row in range(len(at)):
            self._finish(out[:, row])

    def look_up(self, blobs: list[Any], at: IntArray, out: FloatArray, statuses: Any, known: IntArray) -> int:
        """Fill the arrays from blobs, one a row; None: the entity was never seen; empty: a key is missing. Gives how many
        are heads only."""
        heads = 0
        for row, data in enumerate(blobs):
            values, moment = out[:, row], int(at[row])
            known[row], values[:] = np.iinfo(np.int64).min, np.nan
            if data is not None and not data:
                statuses[:, row] = _MISSING
                continue
            if data is not None and chunks_of(data) is not None:
                statuses[:, row] = _IN_PIECES
                heads += 1
                continue
            for place, feature in self._windows:
                if feature.function in COUNTS:
                    values[place] = 0.0
            if data is not None:
                blob = decode_blob(data)
                if len(blob.events.columns) != self._columns:
                    raise ValueError("the bytes are no blob of this view")
                if moment < blob.horizon:
                    values[:], statuses[:, row] = np.nan, _BEFORE
                    continue
                known[row] = self._answer(blob.events, moment, values)
            self._finish(values)
            statuses[:, row] = _UNKNOWN if data is None else np.where(np.isnan(values), _MISSING, _PRESENT)
        return heads

    def look_up_pieces(
        self, pieces: list[Any], at: IntArray, out: FloatArray, statuses: Any, known: IntArray
    ) -> None:  # fmt: skip
        """The same of one row, whose entity has a head and chunks."""
        whole = replace(decode_blob(pieces[0]), chunks=None)
        for data in pieces[1:]:
            whole = laid_over(whole, decode_blob(data)) or whole
        self.look_up([encode_blob(whole)], at, out, statuses, known)

    def _answer(self, events: Events, at: int, values: FloatArray) -> int:
        newest = int(np.iinfo(np.int64).min)
        for place, feature in self._windows:
            found = _counted(
                events, feature.column, None if feature.function is Function.STATIC else at, feature.window
            )
            values[place] = _value(feature, found, at)
            if found and feature.function is not Function.STATIC:
                newest = max(newest, *(known for _, known, _ in found))
        return newest

    def _finish(self, values: FloatArray) -> None:
        for place, feature in self._arithmetic:
            named = {str(index): float(value) for index, value in enumerate(values)}
            values[place] = evaluate_expression(feature.steps, named)


def _counted(events: Events, index: int, at: int | None, window: int) -> list[tuple[int, int, int]]:
    """What counts, as (event time, known, value) in that order. `at` None: all that was not corrected."""
    column = events.columns[index]
    known = events.time if column.known is None else column.known
    until = np.full(len(events), FOREVER) if column.until is None else column.until
    value = np.zeros(len(events), np.int64) if column.value is None else column.value
    mask = np.ones(len(events), np.bool_) if column.valid is None else column.valid
    if at is None:
        mask = mask & (until == FOREVER)
    else:
        mask = mask & (known < at) & (at <= until) & (events.time >= at - window)
    return sorted(zip(events.time[mask].tolist(), known[mask].tolist(), value[mask].tolist(), strict=True))


def _value(feature: Any, found: list[tuple[int, int, int]], at: int) -> float:
    amounts = [amount for _, _, amount in found]
    count, unit = len(amounts), 1.0 if feature.digits == FLOATS else float(10**feature.digits)
    if feature.function is Function.COUNT:
        return float(count)
    if feature.function is Function.DISTINCT:
        return float(len(set(amounts)))
    if not amounts:
        return math.nan
    if feature.digits == FLOATS and feature.function in _EXACT:
        return _EXACT[feature.function]([number_of(key) for key in amounts])
    match feature.function:
        case Function.SUM:
            return float(sum(amounts)) / unit
        case Function.MEAN:
            return float(sum(amounts)) / (float(count) * unit)
        case Function.STD:
            if count < 2:
                return math.nan
            squares = count * sum(amount * amount for amount in amounts) - sum(amounts) ** 2
            return math.sqrt(float(squares) / float(count * (count - 1))) / unit
        case Function.MIN:
            return _in_units(feature, min(amounts))
        case Function.MAX:
            return _in_units(feature, max(amounts))
        case Function.FIRST:
            return _in_units(feature, amounts[0])
        case Function.LAST | Function.STATIC:
            return _in_units(feature, amounts[-1])
        case Function.RATE:
            return float(sum(amount > feature.threshold for amount in amounts)) / float(count)
        case Function.SINCE_LAST:
            return (at - found[-1][0]) / 1e6
        case Function.QUANTILE:
            part, whole = feature.share
            return _in_units(feature, sorted(amounts)[max(-(-count * part // whole), 1) - 1])
    raise AssertionError(feature.function)


def _in_units(feature: Any, amount: int) -> float:
    return number_of(amount) if feature.digits == FLOATS else float(amount) / float(10**feature.digits)


_EXACT: dict[Function, Callable[[list[float]], float]] = {
    Function.SUM: exact_sum,
    Function.MEAN: lambda numbers: exact_sum(numbers) / float(len(numbers)),
    Function.STD: lambda numbers: exact_deviation(numbers) if len(numbers) > 1 else math.nan,
}
