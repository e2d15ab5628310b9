"""Requests in which nothing is unusual: every input a number, given and in range; checked together, not column by column.

All functions answer None for anything else: the caller then goes the long way through `columns`, which takes what may be
taken and says exactly what may not. So nothing is refused here, and what is taken here has the bits of the long way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from services.predictor.domain.columns import EXACT, floats
from services.predictor.domain.model import FloatArray, Layout, Values
from services.predictor.domain.rows import LARGEST
from tenon.core.errors import Invalid

Quick = list[float] | FloatArray
"""One row as a list, or several as a matrix, in the order of the layout."""


def of_matrix(layout: Layout, matrix: npt.NDArray[Any], rows: int) -> Quick | None:
    """The rows of a matrix that has every input."""
    kind = matrix.dtype.kind
    if matrix.shape != (rows, len(layout.columns)) or not (kind in "fb" or (kind in "iu" and matrix.itemsize < 8)):
        return None
    # A tensor may begin anywhere in a body; the evaluator takes a matrix only where float64 may lie.
    found: FloatArray = matrix.astype(np.float64, copy=not matrix.flags.aligned)
    if rows == 1:
        row: list[float] = found[0].tolist()
        return row if _fine_row(layout, row) else None
    return found if _fine(layout, found.T) else None


def of_columns(layout: Layout, given: Mapping[str, Values], rows: int) -> Quick | None:
    """The rows of columns, as any door got them."""
    if rows == 1:
        row = _row(layout, given)
        return row if row is not None and _fine_row(layout, row) else None
    columns = np.empty((len(layout.columns), rows))
    for place, column in enumerate(layout.columns):
        values = given.get(column.name)
        if values is None or len(values) != rows:
            return None
        try:
            columns[place] = floats(column, values)
        except (Invalid, OverflowError):
            return None
    return columns.T if _fine(layout, columns) else None


def _row(layout: Layout, given: Mapping[str, Values]) -> list[float] | None:
    row: list[float] = []
    for name, is_boolean in layout.wanted:
        values = given.get(name)
        if values is None or len(values) != 1:
            return None
        value = values[0]
        if type(value) is not float:
            value = _float(values, value, is_boolean)
            if value is None:
                return None
        row.append(value)
    return row


def _float(values: Values, value: Any, is_boolean: bool) -> float | None:
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fbiu":
            return None
        value = values.item()
        return float(value) if values.dtype.kind in "fb" or -EXACT <= value <= EXACT else None
    if value is None:
        return math.nan
    if type(value) is int:
        return float(value) if -EXACT <= value <= EXACT else None
    return float(value) if type(value) is bool and is_boolean else None


def _fine_row(layout: Layout, row: list[float]) -> bool:
    total = sum(row)
    if not math.isnan(total):
        # No NaN is among them, so the two ends speak for all.
        if not (min(row) >= -LARGEST and max(row) <= LARGEST):
            return False
    else:
        for value, column in zip(row, layout.columns, strict=True):
            if not (-LARGEST <= value <= LARGEST or (column.nullable and math.isnan(value))):
                return False
    for place in layout.whole:
        if not (row[place].is_integer() or math.isnan(row[place])):
            return False
    return all(row[place] in (0.0, 1.0) or math.isnan(row[place]) for place in layout.booleans)


def _fine(layout: Layout, columns: FloatArray) -> bool:
    # One NaN among them makes both ends NaN, and then this is not so.
    if not (columns.max() <= LARGEST and columns.min() >= -LARGEST):
        fine = np.abs(columns) <= LARGEST
        nullable = np.array([column.nullable for column in layout.columns])
        if not (fine | (np.isnan(columns) & nullable[:, np.newaxis])).all():
            return False
    for place in (*layout.whole, *layout.booleans):
        values = columns[place]
        right = values == np.rint(values) if place in layout.whole else (values == 0) | (values == 1)
        if not (right | np.isnan(values)).all():
            return False
    return True
