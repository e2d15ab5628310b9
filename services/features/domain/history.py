"""Events in columns, as the engines take them. All numbers are int64: nothing here is rounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ColumnHistory:
    """One column of the events. Where `valid` is false, `known` and `value` mean nothing.

    `known` is never before the event time, and is the very array of event times where the column has no knownAt.
    """

    known: IntArray
    value: IntArray
    valid: BoolArray


@dataclass(frozen=True, slots=True)
class History:
    """Events of many entities in any order; `entity` holds a code per event, 0 … n - 1 (events without an entity are
    not here). Times are microseconds."""

    entity: IntArray
    event_time: IntArray
    columns: tuple[ColumnHistory, ...]

    def __len__(self) -> int:
        return len(self.event_time)


@dataclass(slots=True)
class WindowStats:
    """The exact integers that a column's features over one window are made of, one for each request.

    `total` is the exact sum already turned into float64, by one correct rounding. `lowest` and `highest` mean nothing
    where `count` is 0. What no feature asks for is None.
    """

    count: IntArray
    total: FloatArray | None = None
    lowest: IntArray | None = None
    highest: IntArray | None = None
    above: dict[int, IntArray] | None = None
