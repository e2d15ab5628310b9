"""Values of one view for the rows of a request, from the entities' blobs: the online twin of the kernel.

For a few rows it counts with masks over one entity's events where the kernel uses prefix sums over everybody's; both
hand the same exact integers to `finish`, which is why the values are equal bit for bit.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np

from services.features.domain.blob import EntityBlob
from services.features.domain.finish import StatsKey, finish, thresholds, wanted_stats
from services.features.domain.history import ColumnHistory, History, IntArray, WindowStats
from services.features.domain.kernel import evaluate, fits_int64, newest_known
from services.features.domain.plan import Plan

FEW_ROWS = 100
"""Up to here masks over each row's own events are faster than sorting everybody's."""

_NAN = nan


class Status(enum.Enum):
    """What a value means; the numbers are those of the wire."""

    PRESENT = 1
    MISSING = 2
    UNKNOWN_ENTITY = 3
    BEFORE_HORIZON = 4


@dataclass(frozen=True, slots=True)
class Lookup:
    """One row asked of one view: the entity (None: a key is missing), its blob (None: never seen), the time."""

    entity: str | None
    blob: EntityBlob | None
    at: int


@dataclass(frozen=True, slots=True)
class ViewValues:
    """One row's answer: values and statuses in the order of the plan's features, and when the newest value that
    counts was known (microseconds; None when nothing counts)."""

    values: list[float]
    statuses: list[Status]
    known_until: int | None


def look_up(plan: Plan, rows: Sequence[Lookup]) -> list[ViewValues]:
    """The view's values for each row. Every entity that was ever seen has a blob, so one without was never seen."""
    values, newest = (one_by_one if len(rows) <= FEW_ROWS else all_together)(plan, rows)
    answers = []
    for row, known, *found in zip(rows, newest, *values, strict=True):
        if row.entity is None or (row.blob is not None and row.at < row.blob.horizon):
            status = Status.MISSING if row.entity is None else Status.BEFORE_HORIZON
            answers.append(ViewValues([_NAN] * len(found), [status] * len(found), None))
        elif row.blob is None:
            answers.append(ViewValues(found, [Status.UNKNOWN_ENTITY] * len(found), None))
        else:
            statuses = [Status.MISSING if isnan(value) else Status.PRESENT for value in found]
            answers.append(ViewValues(found, statuses, known))
    return answers


def one_by_one(plan: Plan, rows: Sequence[Lookup]) -> tuple[list[list[float]], list[int | None]]:
    """Each feature's values by row, and when the newest value that counts was known: masks over each row's events."""
    stats = {
        key: WindowStats(
            count=np.zeros(len(rows), np.int64),
            total=np.zeros(len(rows)),
            lowest=np.zeros(len(rows), np.int64),
            highest=np.zeros(len(rows), np.int64),
            above={limit: np.zeros(len(rows), np.int64) for limit in thresholds(plan, key)},
        )
        for key in wanted_stats(plan)
    }
    newest: list[int | None] = [None] * len(rows)
    for position, row in enumerate(rows):
        if row.blob is not None and len(row.blob.event_time):
            newest[position] = _fill(stats, position, row.blob, row.at)
    return [value.tolist() for value in finish(plan, stats)], newest


def all_together(plan: Plan, rows: Sequence[Lookup]) -> tuple[list[list[float]], list[int | None]]:
    """The same through the kernel, which is faster for many rows."""
    blobs = {row.entity: row.blob for row in rows if row.blob is not None}
    codes = {entity: code for code, entity in enumerate(blobs)}
    found = list(blobs.values())
    event_time = _joined([blob.event_time for blob in found], np.int64)
    history = History(
        entity=np.repeat(np.arange(len(found)), [len(blob.event_time) for blob in found]),
        event_time=event_time,
        columns=tuple(
            ColumnHistory(
                known=_joined([blob.columns[index].known for blob in found], np.int64),
                value=_joined([blob.columns[index].value for blob in found], np.int64),
                valid=_joined([blob.columns[index].valid for blob in found], np.bool_),
            )
            for index in range(len(plan.columns))
        ),
    )
    entity = np.array([codes.get(row.entity, len(found)) for row in rows], np.int64)
    at = np.array([row.at for row in rows], np.int64)
    values = evaluate(plan, history, entity, at)
    newest = newest_known(plan, history, entity, at)
    return [value.tolist() for value in values], newest


def _joined(parts: list[Any], dtype: Any) -> Any:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _fill(stats: dict[StatsKey, WindowStats], row: int, blob: EntityBlob, at: int) -> int | None:
    """Put the entity's integers into the row; gives when the newest value that counts was known."""
    newest: int | None = None
    end = int(blob.event_time.searchsorted(at))
    for (index, window), found in stats.items():
        start = int(blob.event_time.searchsorted(at - window))
        if start >= end:
            continue
        if index is None:
            found.count[row] = end - start
            last = int(blob.event_time[end - 1])
        else:
            column = blob.columns[index]
            known = column.known[start:end]
            mask = (known < at) & column.valid[start:end]
            values = column.value[start:end][mask]
            if len(values) == 0:
                continue
            _put(found, row, values)
            last = int(known[mask].max())
        newest = last if newest is None else max(newest, last)
    return newest


def _put(found: WindowStats, row: int, values: IntArray) -> None:
    found.count[row] = len(values)
    if found.total is not None:
        found.total[row] = float(int(values.sum()) if fits_int64(values) else sum(values.tolist()))
    if found.lowest is not None and found.highest is not None:
        found.lowest[row], found.highest[row] = values.min(), values.max()
    for limit, counts in (found.above or {}).items():
        counts[row] = np.count_nonzero(values > limit)
