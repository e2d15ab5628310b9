"""Window aggregates of many entities at many times, vectorised and exact.

A value that is known at k of an event at e counts at t for exactly k < t <= e + w. So it enters at k and leaves at
e + w, and what is in the window is what has entered minus what has left: two prefix sums over integers, one in the
order of k and one in the order of e, with no loop over rows. Values with k >= e + w never count and are left out of
both. Smallest and largest values cannot be subtracted; see `range_max`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.features.domain.finish import finish, thresholds, wanted_stats
from services.features.domain.history import BoolArray, ColumnHistory, FloatArray, History, IntArray, WindowStats
from services.features.domain.plan import Plan
from services.features.domain.range_max import RangeMax
from tenon.core.specs import Function

_HALF = 32
_LOW = (1 << _HALF) - 1


def evaluate(plan: Plan, history: History, entity: IntArray, at: IntArray) -> list[FloatArray]:
    """Each feature of the plan for each request (an entity code and a time), in the plan's order.

    A code of -1 is a missing entity: all its features are missing. A code beyond the history's is an entity that was
    never seen: its counts are 0 and the rest is missing.
    """
    order = np.lexsort((at, entity))
    values = finish(plan, _stats(plan, history, entity[order], at[order]))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return [np.where(entity < 0, np.nan, value[back]) for value in values]


def newest_known(plan: Plan, history: History, entity: IntArray, at: IntArray) -> list[int | None]:
    """For each request, when the newest value that counts in any window was known; None when nothing counts."""
    by_event = _TimeOrder.of(history.entity, history.event_time)
    event_time = history.event_time[by_event.order]
    ends = by_event.before(entity, at)
    nothing = np.iinfo(np.int64).min
    best = np.full(len(at), nothing)
    for index in dict.fromkeys(feature.column for feature in plan.features):
        window = max(feature.window for feature in plan.features if feature.column == index)
        starts = by_event.before(entity, at - window)
        some = starts < ends
        if index is None:
            found = np.full(len(at), nothing)
            found[some] = event_time[ends[some] - 1]
        else:
            column = history.columns[index]
            known = np.where(column.valid, column.known, np.iinfo(np.int64).max)[by_event.order]
            found = RangeMax(values=known, known=known).query(starts, ends, at, some)
        best = np.maximum(best, found)
    return [None if moment == nothing else moment for moment in best.tolist()]


def _stats(plan: Plan, history: History, entity: IntArray, at: IntArray) -> dict[tuple[int | None, int], WindowStats]:
    """The integers behind the features. Requests come sorted, which makes the binary searches cache-friendly."""
    by_event = _TimeOrder.of(history.entity, history.event_time)
    orders: dict[int, _Entered] = {}
    starts: dict[int, IntArray] = {}
    extremes: dict[tuple[int, bool], RangeMax] = {}
    found: dict[tuple[int | None, int], WindowStats] = {}
    ends = by_event.before(entity, at)
    for key, functions in wanted_stats(plan).items():
        index, window = key
        if window not in starts:
            starts[window] = by_event.before(entity, at - window)
        start = starts[window]
        if index is None:
            found[key] = WindowStats(count=ends - start)
            continue
        column = history.columns[index]
        if id(column.known) not in orders:
            order = (
                by_event
                if column.known is history.event_time
                else _TimeOrder.of(history.entity, np.where(column.valid, column.known, history.event_time))
            )
            orders[id(column.known)] = _Entered(order, order.before(entity, at))
        entered = orders[id(column.known)]
        counts = column.valid & (column.known - window < history.event_time)
        stats = found[key] = WindowStats(count=_difference(counts.astype(np.int64), entered, by_event, start))
        if functions & {Function.SUM, Function.MEAN}:
            stats.total = _total(column, counts, entered, by_event, start)
        if Function.RATE in functions:
            stats.above = {
                limit: _difference((counts & (column.value > limit)).astype(np.int64), entered, by_event, start)
                for limit in thresholds(plan, key)
            }
        for function, lowest in ((Function.MAX, False), (Function.MIN, True)):
            if function in functions:
                if (index, lowest) not in extremes:
                    extremes[index, lowest] = _range_max(column, by_event, lowest=lowest)
                best = extremes[index, lowest].query(start, ends, at, stats.count > 0)
                # ~v turns the order of int64 round without overflow, which -v would not.
                if lowest:
                    stats.lowest = ~best
                else:
                    stats.highest = best
    return found


@dataclass(frozen=True, slots=True)
class _TimeOrder:
    """Events in the order of (entity, time), searchable for many (entity, time) at once.

    Entity and time become one int64: the code times the number of distinct times, plus the time's rank.
    """

    order: IntArray
    keys: IntArray
    grid: IntArray
    entities: int

    @classmethod
    def of(cls, entity: IntArray, time: IntArray) -> _TimeOrder:
        grid, rank = np.unique(time, return_inverse=True)
        keys = entity * (len(grid) + 1) + rank
        order = np.argsort(keys, kind="stable")
        return cls(order, keys[order], grid, int(entity.max(initial=-1)) + 1)

    def before(self, entity: IntArray, at: IntArray) -> IntArray:
        """The position behind the entity's last event with a time < at."""
        rank = np.searchsorted(self.grid, at, side="left")
        known = np.clip(entity, 0, self.entities)
        return np.searchsorted(self.keys, known * (len(self.grid) + 1) + rank, side="left").astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Entered:
    """The order in which a column's values became known, and how many were before each request."""

    order: _TimeOrder
    position: IntArray


def _difference(weight: IntArray, entered: _Entered, by_event: _TimeOrder, start: IntArray) -> IntArray:
    """The sum of the weights that have entered and not left.

    Both prefix sums run over all entities; what the earlier entities add is the same in both. int64 wraps around, and
    so the difference is right whenever the true result fits.
    """
    known = np.concatenate([np.zeros(1, np.int64), np.cumsum(weight[entered.order.order])])
    left = known if entered.order is by_event else np.concatenate(
        [np.zeros(1, np.int64), np.cumsum(weight[by_event.order])]
    )  # fmt: skip
    difference: IntArray = known[entered.position] - left[start]
    return difference


def _total(
    column: ColumnHistory, counts: BoolArray, entered: _Entered, by_event: _TimeOrder, start: IntArray
) -> FloatArray:
    weight = np.where(counts, column.value, 0)
    if fits_int64(weight):
        return _difference(weight, entered, by_event, start).astype(np.float64)
    high = _difference(weight >> _HALF, entered, by_event, start)
    low = _difference(weight & _LOW, entered, by_event, start)
    # Beyond int64, Python's integers take over: float() of one rounds exactly as the cast from int64 does.
    return np.array([float((h << _HALF) + s) for h, s in zip(high.tolist(), low.tolist(), strict=True)], np.float64)


def fits_int64(values: IntArray) -> bool:
    """Whether no sum of any of these values can leave int64."""
    if len(values) == 0:
        return True
    largest = max(abs(int(values.max())), abs(int(values.min())))
    return largest * len(values) < 1 << 63


def _range_max(column: ColumnHistory, by_event: _TimeOrder, *, lowest: bool) -> RangeMax:
    order = by_event.order
    value = np.where(column.valid, column.value, 0)[order]
    never = np.iinfo(np.int64).max
    return RangeMax(
        values=~value if lowest else value,
        known=np.where(column.valid, column.known, never)[order],
    )
