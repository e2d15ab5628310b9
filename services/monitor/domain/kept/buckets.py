"""The stretches of time that are counted apart: hours, days, four weeks, 52 weeks, each a multiple of the one before.

Rows are counted twice, by the time of the answer and by the time of the event. Live traffic falls into one hour and a day or two; a
replay may spread some thousand rows over ten years. So that taking rows never costs more than a few windows' worth of work, they are counted
into the finest stretches of which they touch no more than a hundred or so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from services.monitor.domain.drift.sketch import Sketch
from tenon.core.levels import BESIDE_THE_MODEL
from tenon.core.timestamps import MICROS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from services.monitor.domain.drift.sketch import Layout
    from services.monitor.domain.kept.segment import Segment

HOUR = 3_600 * MICROS_PER_SECOND
DAY = 24 * HOUR
STEPS = (HOUR, DAY, 28 * DAY, 364 * DAY)
MOST = 160
Axis = Literal["at", "event_time"]
FINEST: dict[Axis, int] = {"at": HOUR, "event_time": DAY}
_BESIDE = frozenset(level.value for level in BESIDE_THE_MODEL)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a segment that fall into one stretch of one axis. Without a sketch they are counted and not looked into."""

    axis: Axis
    start: int
    step: int
    rows: int
    sketch: Sketch | None
    first: int = 0
    last: int = 0
    """The least and the greatest time of these rows."""


@dataclass(frozen=True, slots=True)
class Counting:
    """A segment with what it adds to the windows. `sketched` is false while its version's bins are not known."""

    segment: Segment
    parts: Sequence[Part]
    sketched: bool


def parts_of(segment: Segment, layout: Layout | None) -> list[Part]:
    """What a segment adds to the windows of its version and role, on both axes. Its values are looked at once.

    What a rung beside the model answered is counted and never sketched.
    """
    wanted = layout if segment.level not in _BESIDE else None
    starts: dict[Axis, tuple[npt.NDArray[np.int64], int]] = {
        "at": _starts(segment.at, FINEST["at"]), "event_time": _starts(segment.event_time, FINEST["event_time"]),
    }  # fmt: skip
    totals: dict[tuple[Axis, int], Part] = {}
    for rows, cell in _cells([starts["at"][0], starts["event_time"][0]], len(segment)):
        sketch = None
        if wanted is not None:
            sketch = Sketch(wanted)
            some = segment if isinstance(rows, slice) else segment.take(rows)
            sketch.add(some.columns, some.score)
        for axis, start in zip(starts, cell, strict=True):
            times = (segment.at if axis == "at" else segment.event_time)[rows]
            first, last = int(times.min()), int(times.max())
            before = totals.get((axis, start))
            if before is None:
                # Both axes keep the same sketch until one of them grows.
                totals[axis, start] = Part(axis, start, starts[axis][1], len(times), sketch, first, last)
            else:
                totals[axis, start] = Part(
                    axis, start, before.step, before.rows + len(times), merged(before.sketch, sketch),
                    min(before.first, first), max(before.last, last),
                )  # fmt: skip
    return list(totals.values())


def merged(one: Sketch | None, other: Sketch | None) -> Sketch | None:
    """Both together, as a sketch of its own; None where there is neither."""
    if one is None or other is None:
        return one or other
    both = Sketch(one.layout)
    both.merge(one)
    both.merge(other)
    return both


def by_the_model(levels: dict[str, int], rows: int) -> int:
    """How many of a window's rows the version's own model answered: those that a sketch looks into."""
    return rows - sum(count for level, count in levels.items() if level in _BESIDE)


def _starts(times: npt.NDArray[np.int64], finest: int) -> tuple[npt.NDArray[np.int64], int]:
    """For each row the start of its stretch (one number when it is the same for all), and how long stretches are."""
    least, most = int(times.min()), int(times.max())
    steps = [step for step in STEPS if step >= finest]
    for step in steps:
        first, last = least // step, most // step
        if first == last:
            return np.array([first * step], dtype=np.int64), step
        if last - first < MOST or step == steps[-1]:
            break
        starts = times // step * step
        if len(np.unique(starts)) <= MOST:
            return starts, step
    return times // step * step, step


def _cells(
    starts: Sequence[npt.NDArray[np.int64]], rows: int
) -> Iterator[tuple[npt.NDArray[np.int64] | slice, list[int]]]:
    """Rows that fall into the same stretch on every axis, and the starts of these stretches."""
    if all(len(one) == 1 for one in starts) and rows:
        yield slice(None), [int(one[0]) for one in starts]
        return
    table = np.stack([np.broadcast_to(one, rows) for one in starts], axis=1)
    cells, inverse = np.unique(table, axis=0, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(inverse.ravel(), minlength=len(cells)))
    for cell, chosen in zip(cells.tolist(), np.split(order, ends[:-1]), strict=True):
        yield chosen, cell
