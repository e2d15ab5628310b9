"""Events in columns, as the kernel takes them. All numbers are int64: nothing here is rounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

FOREVER = np.iinfo(np.int64).max
"""The `until` of what was never corrected."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the events.

    `known` is never before the event time; None: known at the event time. `until` is when a correction became known;
    None: never corrected. `value` None: all zeros (what is only counted). `valid` None: no value is missing; where it
    is false, the other three mean nothing. `texts`: the values are places in these, which ascend.
    """

    known: IntArray | None = None
    until: IntArray | None = None
    value: IntArray | None = None
    valid: BoolArray | None = None
    texts: tuple[str, ...] | None = None

    def take(self, order: IntArray | slice) -> Column:
        """The column of some of the events."""
        return Column(
            None if self.known is None else self.known[order],
            None if self.until is None else self.until[order],
            None if self.value is None else self.value[order],
            None if self.valid is None else self.valid[order],
            self.texts,
        )


@dataclass(frozen=True, slots=True)
class Events:
    """Event times, and columns: the first is the events themselves, of which only `until` is used."""

    time: IntArray
    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, order: IntArray | slice) -> Events:
        """Some of the events, in another order."""
        return Events(self.time[order], tuple(column.take(order) for column in self.columns))
