"""A feature view joined with its data set's columns: everything the engines need, checked once."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from tenon.core.errors import Invalid, Place
from tenon.core.feature_semantics import threshold
from tenon.core.specs import ColumnType, DatasetSpec, FeatureViewSpec, Function, check_feature_view, spec_digest

LAYOUT = 1
"""Counted up when the meaning or the form of stored values changes: it is part of every plan's digest."""

LONGEST_WINDOW = 1 << 60
"""About 36,000 years in microseconds: a longer window means the same and would not fit beside an int64 instant."""


@dataclass(frozen=True, slots=True)
class EntityColumn:
    """A column that identifies the entity."""

    name: str
    type: ColumnType
    scale: int = 0


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A column that is aggregated. A column that is only counted need not hold numbers (`exact` is false then)."""

    name: str
    scale: int
    known_at: str | None
    exact: bool


@dataclass(frozen=True, slots=True)
class PlannedFeature:
    """One feature: over which column (index into the plan's columns; None counts events), how, how far back."""

    reference: str
    function: Function
    column: int | None
    window: int
    threshold: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled feature view. `digest` changes with anything that could change a value or its stored form."""

    view: str
    dataset: str
    spec_digest: str
    digest: str
    entity: tuple[EntityColumn, ...]
    event_time: str
    columns: tuple[ValueColumn, ...]
    features: tuple[PlannedFeature, ...]

    @property
    def longest_window(self) -> int:
        """The longest window of any feature, in microseconds."""
        return max(feature.window for feature in self.features)

    @property
    def source_columns(self) -> list[str]:
        """The columns of the data set that the view reads."""
        names = [column.name for column in self.entity] + [self.event_time]
        for column in self.columns:
            names += [column.name] + ([column.known_at] if column.known_at else [])
        return list(dict.fromkeys(names))


def compile_view(view: FeatureViewSpec, dataset: DatasetSpec) -> Plan:
    """Check a view against its data set and make its plan. Raises `Invalid` naming the field."""
    check_feature_view(view, dataset)
    for index, aggregate in enumerate(view.aggregates):
        if aggregate.above is not None and not math.isfinite(aggregate.above):
            where = f"aggregates.{index}.above"
            raise Invalid("SPEC_INVALID", f"{where}: the threshold must be a finite number", place=Place(field=where))
    names = list(dict.fromkeys(feature.column for feature in view.features() if feature.column is not None))
    columns = tuple(_value_column(name, dataset) for name in names)
    entity = tuple(
        EntityColumn(name, dataset.columns[name].type, dataset.columns[name].scale or 0) for name in view.entity
    )
    features = tuple(
        PlannedFeature(
            reference=feature.reference,
            function=feature.function,
            column=None if feature.column is None else names.index(feature.column),
            window=min(feature.window_micros, LONGEST_WINDOW),
            threshold=None
            if feature.above is None or feature.column is None
            else threshold(feature.above, dataset.columns[feature.column].scale or 0),
        )
        for feature in view.features()
    )
    content: dict[str, Any] = {
        "layout": LAYOUT,
        "dataset": view.dataset,
        "entity": [[column.name, column.type.value, column.scale] for column in entity],
        "event_time": dataset.event_time,
        "columns": [[column.name, column.scale, column.known_at, column.exact] for column in columns],
        "features": [[f.reference, f.function.value, f.column, f.window, f.threshold] for f in features],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return Plan(
        view=view.name,
        dataset=view.dataset,
        spec_digest=spec_digest(view),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        entity=entity,
        event_time=dataset.event_time,
        columns=columns,
        features=features,
    )


def _value_column(name: str, dataset: DatasetSpec) -> ValueColumn:
    column = dataset.columns[name]
    return ValueColumn(name, column.scale or 0, column.known_at, column.is_exact)
