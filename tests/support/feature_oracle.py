"""A table's features by the definition: every row looked at for every value, nothing kept, nothing clever."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from tenon.core.feature_semantics import FOREVER, Event, Value, expression_at, scaled, text_at, value_at
from tenon.core.specs import Condition, DatasetSpec, Feature, FeatureViewSpec, Function, is_text

Row = Mapping[str, Any]
"""A row's values by column: times in microseconds, decimals as stored integers."""


def value_of(view: FeatureViewSpec, dataset: DatasetSpec, rows: Sequence[Row], entity: tuple[Any, ...], feature: Feature,
             at: int) -> Any:  # fmt: skip
    """One feature of one entity (its key columns' values) at a time, from the table's present rows: a number, or a text or None."""
    if None in entity:
        return None if is_text(feature, dataset) else math.nan
    if feature.function is Function.EXPRESSION:
        others = [other for other in view.features() if other.function is not Function.EXPRESSION]
        return expression_at(feature, {o.name: value_of(view, dataset, rows, entity, o, at) for o in others})
    events = [
        event
        for row in rows
        if tuple(row[name] for name in view.entity) == entity and (event := _event(dataset, feature, row)) is not None
    ]
    scale = 0
    if feature.column is not None and feature.condition is None:
        scale = dataset.columns[feature.column].scale or 0
    # What the filters and conditions leave are events with a value each; a count of events needs no column either.
    return text_at(feature, events, at) if is_text(feature, dataset) else value_at(feature, scale, events, at)


Versions = Mapping[Any, Sequence[tuple[Row, int]]]
"""Of each primary key that is in the table, its row as it was first and after each correction, and when that came in."""


def believed_value(view: FeatureViewSpec, dataset: DatasetSpec, versions: Versions, entity: tuple[Any, ...],
                   feature: Feature, at: int) -> Any:  # fmt: skip
    """The same from rows that were corrected: of each, the last version that was known before the time counts."""
    if feature.function is Function.EXPRESSION and None not in entity:
        others = [other for other in view.features() if other.function is not Function.EXPRESSION]
        return expression_at(feature, {o.name: believed_value(view, dataset, versions, entity, o, at) for o in others})
    rows = []
    for history in versions.values():
        known = [row for row, came_in in history[1:] if _learnt(dataset, feature, row, came_in) < at]
        if feature.function is Function.STATIC:
            known = [row for row, _ in history]
        rows.append(known[-1] if known else history[0][0])
    return value_of(view, dataset, rows, entity, feature, at)


def _learnt(dataset: DatasetSpec, feature: Feature, row: Row, came_in: int) -> int:
    """When a correcting row became known, as far as the feature is concerned."""
    names = ([feature.column] if feature.column else []) + list(feature.where or {})
    moments = [row[known_at] for name in names if (known_at := dataset.columns[name].known_at)]
    return came_in if None in moments else max([row[dataset.event_time], *moments])


def _event(dataset: DatasetSpec, feature: Feature, row: Row) -> Event | None:
    """The row as an event that only this feature sees; None when the feature does not see it."""
    time = row[dataset.event_time]
    names = ([feature.column] if feature.column else []) + list(feature.where or {})
    moments = [time]
    for name in names:
        known_at = dataset.columns[name].known_at
        if known_at is not None:
            if row[known_at] is None:
                return None
            moments.append(row[known_at])
    if not all(holds(dataset, name, condition, row[name]) for name, condition in (feature.where or {}).items()):
        return None
    if feature.column is None:
        # Late knowledge of the filter makes the event late: as a value of an unnamed column would be.
        return Event(time) if max(moments) == time else _late(feature, time, max(moments))
    found = row[feature.column]
    if found is None:
        return None
    if feature.condition is not None:
        amount: Any = int(holds(dataset, feature.column, feature.condition, found))
    else:
        amount = found
    return Event(time, {feature.column: Value(amount, max(moments), FOREVER)})


def _late(feature: Feature, time: int, known: int) -> Event:
    raise NotImplementedError(f"{feature.name}: give the filter's column as the column to count ({time}, {known})")


def holds(dataset: DatasetSpec, name: str, condition: Condition, value: Any) -> bool:
    """Whether a value is what the condition says."""
    if value is None:
        return False
    column = dataset.columns[name]
    exact = column.is_exact
    scale = column.scale or 0
    number = Fraction(value) if exact else value

    def as_stored(bound: Any) -> Any:
        return scaled(float(bound), scale) if exact else bound

    return (
        (condition.above is None or number > as_stored(condition.above))
        and (condition.below is None or number < as_stored(condition.below))
        and (condition.one_of is None or number in [as_stored(wanted) for wanted in condition.one_of])
    )
