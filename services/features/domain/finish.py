"""From exact integers to a feature's float64: the one place where anything is rounded, offline and online."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.features.domain.history import FloatArray, IntArray, WindowStats
from services.features.domain.plan import Plan, PlannedFeature
from tenon.core.specs import Function

StatsKey = tuple[int | None, int]
"""A column's index (None: the events themselves) and a window."""


def wanted_stats(plan: Plan) -> dict[StatsKey, set[Function]]:
    """What has to be computed: the functions asked of each column and window, in the order of the features."""
    wanted: dict[StatsKey, set[Function]] = {}
    for feature in plan.features:
        wanted.setdefault((feature.column, feature.window), set()).add(feature.function)
    return wanted


def thresholds(plan: Plan, key: StatsKey) -> list[int]:
    """The thresholds of the rates over a column and window."""
    return sorted({f.threshold for f in plan.features if (f.column, f.window) == key and f.threshold is not None})


def finish(plan: Plan, stats: Mapping[StatsKey, WindowStats]) -> list[FloatArray]:
    """The values of the plan's features, in their order; NaN is missing."""
    return [_value(plan, feature, stats[feature.column, feature.window]) for feature in plan.features]


def _value(plan: Plan, feature: PlannedFeature, stats: WindowStats) -> FloatArray:
    count = stats.count.astype(np.float64)
    if feature.function is Function.COUNT:
        return count
    unit = np.float64(10 ** (plan.columns[feature.column].scale if feature.column is not None else 0))
    numerator: FloatArray | IntArray | None
    denominator: FloatArray | np.float64 = unit
    match feature.function:
        case Function.SUM:
            numerator = stats.total
        case Function.MEAN:
            numerator, denominator = stats.total, count * unit
        case Function.MIN:
            numerator = stats.lowest
        case Function.MAX:
            numerator = stats.highest
        case Function.RATE:
            numerator = (stats.above or {}).get(feature.threshold) if feature.threshold is not None else None
            denominator = count
    if numerator is None:
        raise AssertionError(f"{feature.reference}: its integers were not computed")
    value = np.full(len(count), np.nan)
    np.divide(numerator.astype(np.float64), denominator, out=value, where=stats.count > 0)
    return value
