"""A view compiled for the kernel, and the two ways to ask it: arrays of events (offline) and blobs (online).

Both run the same compiled code; where it could not be built, `tenon.windows.reference` gives the same bits in numpy.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tenon.core.expressions import Op, Step
from tenon.core.specs import Function
from tenon.native.build import digest_of_sources
from tenon.windows.chunks import Chunks
from tenon.windows.events import BoolArray, Events, FloatArray, IntArray
from tenon.windows.floats import FLOATS
from tenon.windows.held import HeldBlobs
from tenon.windows.reference import Reference

CODES = {
    Function.COUNT: 0, Function.SUM: 1, Function.MEAN: 2, Function.STD: 3, Function.MIN: 4, Function.MAX: 5,
    Function.FIRST: 6, Function.LAST: 7, Function.DISTINCT: 8, Function.QUANTILE: 9, Function.RATE: 10,
    Function.SINCE_LAST: 11, Function.STATIC: 12,
}  # fmt: skip
NOTHING_KNOWN = np.iinfo(np.int64).min
"""In `Answer.known`: nothing counts."""
IN_PIECES = 5
"""In `Answer.statuses`: of this row there is only a head, whose chunks have to be read too (`pieces.look_up`)."""
_WHOLE = {Function.DISTINCT, Function.QUANTILE}
_ADDED = {Function.SUM, Function.MEAN, Function.STD}
_SMALLEST, _LARGEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_log = logging.getLogger("tenon.windows")


@dataclass(frozen=True, slots=True)
class Window:
    """A feature over a column (0: the events themselves). `share`: a quantile as a fraction; `digits`: the
    scale, or `floats.FLOATS`; `texts`: the value is a place in the column's texts."""

    column: int
    function: Function
    window: int
    digits: int = 0
    threshold: int = 0
    share: tuple[int, int] = (1, 1)
    texts: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """An expression; its names are places of windows, as text."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """By feature and row: values (NaN is missing) and statuses; by row: when the newest value that counts was known. `heads`:
    how many rows are `IN_PIECES`."""

    values: FloatArray
    statuses: Any
    known: IntArray
    heads: int = 0


@functools.cache
def compiled_module() -> Any | None:
    """The compiled kernel; None, after a logged warning, where there is none or it was built from other sources."""
    try:
        module = importlib.import_module("tenon.windows.kernel._kernel")
    except ImportError:
        problem = "is not built"
    else:
        if digest_of_sources(Path(__file__).parent / "kernel") == module.SOURCE:
            return module
        problem = "was built from other sources than these"
    _log.warning("the windows' kernel %s: numpy computes, the same numbers but slower; reinstall to build it", problem)
    return None


class Windows:
    """The features of one view. Thread-safe."""

    def __init__(self, columns: int, features: Sequence[Window | Arithmetic], *, compiled: bool = True) -> None:
        self.columns, self.features = columns, tuple(features)
        self._module = compiled_module() if compiled else None
        self._program = None if self._module is None else self._module.Program(*_arrays(columns, self.features))
        self._reference = Reference(columns, self.features) if self._program is None else None
        of_windows = [feature for feature in self.features if isinstance(feature, Window)]
        self.spans = np.array(sorted({f.window for f in of_windows if f.function is not Function.STATIC}), np.int64)
        self.in_pieces = self._program is not None and len(of_windows) > 0 and not any(map(_is_of_events, of_windows))
        """Whether an entity of many events may be cut into pieces: values are then put together from those of parts."""
        self.statics = any(f.function is Function.STATIC for f in of_windows)
        """Whether values that do not depend on the time are among them: for those every chunk tells something."""
        self._adds_floats = any(f.digits == FLOATS and f.function in _ADDED for f in of_windows)
        self.tile_numbers: int = self._program.tile_numbers() if self._program is not None else 0

    def evaluate(self, events: Events, entity: IntArray, asked: IntArray, at: IntArray, entities: int) -> FloatArray:
        """Values by feature and request. `entity` holds a code per event and `asked` one per request, 0 …
        entities - 1; any other code has no history: its counts are 0 and the rest is missing."""
        out = np.empty((len(self.features), len(at)))
        order, starts = self.group(entity, events.time, entities)
        requests, firsts = self.group(asked, at, entities)
        if self._reference is not None:
            self._reference.evaluate(events, order, starts, at, requests, firsts, out)
        else:
            columns = tuple((c.known, c.until, c.value, c.valid) for c in events.columns)
            self._program.evaluate(events.time, columns, order, starts, at, requests, firsts, out)  # type: ignore[union-attr]
        return out

    def look_up(self, blobs: HeldBlobs, rows: IntArray, at: IntArray) -> Answer:
        """Values from blobs; a missing one: the entity was never seen. `rows`: which blob each row is of; -1: a key is missing.

        Raises `ValueError` for bytes that are no blob of this view.
        """
        shape = len(self.features), len(rows)
        values, statuses, known = np.empty(shape), np.empty(shape, np.uint8), np.empty(len(rows), np.int64)
        if self._reference is not None:
            heads = self._reference.look_up(
                [b"" if row < 0 else blobs[row] for row in rows.tolist()], at, values, statuses, known
            )
        else:
            heads = self._program.look_up(blobs.data, blobs.spans, rows, at, values, statuses, known)  # type: ignore[union-attr]
        return Answer(values, statuses, known, heads)

    def look_up_pieces(self, pieces: HeldBlobs, chunks: Chunks, used: BoolArray, at: int) -> Answer:
        """Values of one row, from the head of its entity and some of its chunks, and of others, which are `used`, from what is
        said of them. Without `in_pieces` the pieces are all that counts. Raises `ValueError` as `look_up` does."""
        count, moment = len(self.features), np.array([at])
        answer = Answer(np.empty((count, 1)), np.empty((count, 1), np.uint8), np.empty(1, np.int64))
        rest = answer.values, answer.statuses, answer.known
        if self._reference is not None:
            self._reference.look_up_pieces(list(pieces), moment, *rest)
        else:
            given = (
                np.ascontiguousarray(chunks.tiles).reshape(-1),
                np.ascontiguousarray(chunks.first),
                used.view(np.uint8),
            )
            self._program.look_up_pieces(pieces.data, pieces.spans, *given, moment, *rest)  # type: ignore[union-attr]
        return answer

    def tile(self, data: bytes) -> tuple[bytes, bool]:
        """What all events of a blob add up to, and whether it will do: floats may differ too much in size for a tile. Raises
        `ValueError`, also without `in_pieces`."""
        if self._program is None:
            raise ValueError("only the compiled kernel adds up")
        made: bytes = self._program.tile(data)
        return made, not self._adds_floats or made[0] == 1

    def group(self, codes: IntArray, times: IntArray, groups: int) -> tuple[IntArray, IntArray]:
        """The order of items by code, then time; and where each code begins in it."""
        if self._module is None:
            order = np.lexsort((times, codes)).astype(np.int64)
            order = order[(codes[order] >= 0) & (codes[order] < groups)]
            return order, np.searchsorted(codes[order], np.arange(groups + 1)).astype(np.int64)
        order, starts = np.empty(len(codes), np.int64), np.empty(groups + 1, np.int64)
        self._module.group(codes, times, groups, order, starts)
        return order, starts


def _is_of_events(feature: Window) -> bool:
    """Whether its value cannot be put together from values of parts."""
    return feature.function in _WHOLE or feature.texts


def _arrays(columns: int, features: Sequence[Window | Arithmetic]) -> tuple[Any, ...]:
    windows = sorted({f.window for f in features if isinstance(f, Window) and f.function is not Function.STATIC})
    place = {window: index for index, window in enumerate(windows)}
    rows = [
        (f.column, CODES[f.function], -1 if f.function is Function.STATIC else place[f.window], index, *_parameters(f),
         f.digits)
        for index, f in enumerate(features)
        if isinstance(f, Window)
    ]  # fmt: skip
    rows.sort(key=lambda row: (row[0], row[2]))
    steps: list[tuple[int, int]] = []
    numbers: list[float] = []
    expressions: list[tuple[int, int, int]] = []
    for index, feature in enumerate(features):
        if isinstance(feature, Arithmetic):
            expressions.append((index, len(steps), len(feature.steps)))
            for step in feature.steps:
                steps.append((int(step.op), int(step.name) if step.op is Op.FEATURE else 0))
                numbers.append(step.number)
    return (
        columns,
        len(features),
        np.array(windows, np.int64),
        np.array(rows, np.int64).reshape(-1),
        np.array(steps, np.int64).reshape(-1),
        np.array(numbers, np.float64),
        np.array(expressions, np.int64).reshape(-1),
    )


def _parameters(feature: Window) -> tuple[int, int]:
    if feature.function is Function.QUANTILE:
        return feature.share
    if feature.threshold < _SMALLEST:
        return _SMALLEST, -1
    return min(feature.threshold, _LARGEST), 1
