"""A feature view joined with its data set's columns: everything the engines need, checked once."""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tenon.core.errors import Invalid, Place
from tenon.core.expressions import Op, Step
from tenon.core.feature_semantics import threshold
from tenon.core.specs import (
    ColumnType,
    Condition,
    DatasetSpec,
    Feature,
    FeatureViewSpec,
    Function,
    check_feature_view,
    is_text,
    spec_digest,
)
from tenon.core.specs.feature_view import quantile_fraction
from tenon.windows.floats import FLOATS, key_of
from tenon.windows.program import Arithmetic, Window, Windows

LAYOUT = 7
"""Counted up when the meaning or the form of stored values changes: it is part of every plan's digest."""


class Content(enum.Enum):
    """What a column's integers are."""

    NOTHING = "nothing"  # the events, or values that are only counted
    FLOAT = "float"  # the float's key: an integer of the same order
    AMOUNT = "amount"  # the number times ten to the power of the scale; true is 1
    TEXT = "text"  # the place among the texts of the column
    CODE = "code"  # equal for equal values: a string's hash, a day, an instant
    CONDITION = "condition"  # whether the condition holds


@dataclass(frozen=True, slots=True)
class EntityColumn:
    """A column that identifies the entity."""

    name: str
    type: ColumnType
    scale: int = 0


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A column of the events as the kernel gets it; `name` None: the events themselves.

    `known_at`: known when the latest of these columns says so. `where`: only events for which all of it holds.
    """

    name: str | None
    content: Content
    scale: int
    known_at: tuple[str, ...]
    where: tuple[tuple[str, Condition], ...] = ()
    condition: Condition | None = None

    def canonical(self) -> list[Any]:
        """As JSON data."""
        where = [[name, condition.model_dump(mode="json")] for name, condition in self.where]
        condition = None if self.condition is None else self.condition.model_dump(mode="json")
        return [self.name, self.content.value, self.scale, list(self.known_at), where, condition]

    @property
    def key(self) -> str:
        """Equal for equal columns."""
        return json.dumps(self.canonical())


@dataclass(frozen=True, slots=True)
class PlannedFeature:
    """One feature, and how the kernel computes it."""

    reference: str
    function: Function
    compiled: Window | Arithmetic

    @property
    def is_text(self) -> bool:
        """Whether its values are texts; all others are numbers."""
        return isinstance(self.compiled, Window) and self.compiled.texts


@dataclass(frozen=True)
class Plan:
    """A compiled feature view. `digest` changes with anything that could change a value or its stored form.

    `columns` are the kernel's from 1 on; its column 0 is the events themselves.
    """

    view: str
    dataset: str
    spec_digest: str
    digest: str
    entity: tuple[EntityColumn, ...]
    event_time: str
    columns: tuple[ValueColumn, ...]
    types: Mapping[str, tuple[ColumnType, int]]
    features: tuple[PlannedFeature, ...]
    program: Windows = field(compare=False, repr=False)

    @property
    def longest_window(self) -> int:
        """The longest window of any feature, in microseconds."""
        return max(f.compiled.window for f in self.features if isinstance(f.compiled, Window))

    @cached_property
    def text_features(self) -> list[tuple[int, int]]:
        """Of the features whose values are texts, the place and the column."""
        return [
            (place, f.compiled.column)
            for place, f in enumerate(self.features)
            if isinstance(f.compiled, Window) and f.compiled.texts
        ]

    @property
    def source_columns(self) -> list[str]:
        """The columns of the data set that the view reads."""
        names = [column.name for column in self.entity] + [self.event_time]
        for column in self.columns:
            names += ([column.name] if column.name else []) + [name for name, _ in column.where] + [*column.known_at]
        return list(dict.fromkeys(names))


def compile_view(view: FeatureViewSpec, dataset: DatasetSpec) -> Plan:
    """Check a view against its data set and make its plan. Raises `Invalid` naming the field."""
    check_feature_view(view, dataset)
    for index, aggregate in enumerate(view.aggregates):
        if aggregate.above is not None and not math.isfinite(aggregate.above):
            where = f"aggregates.{index}.above"
            raise Invalid("SPEC_INVALID", f"{where}: the threshold must be a finite number", place=Place(field=where))
    columns: dict[str, tuple[int, ValueColumn]] = {}
    names = [feature.name for feature in view.features()]
    features = []
    for feature in view.features():
        if feature.function is Function.EXPRESSION:
            steps = tuple(
                Step(step.op, str(names.index(step.name))) if step.op is Op.FEATURE else step for step in feature.steps
            )
            features.append(PlannedFeature(feature.reference, feature.function, Arithmetic(steps)))
            continue
        place, scale = 0, 0
        if feature.column is not None or feature.where:
            column = _value_column(feature, dataset)
            place, _ = columns.setdefault(column.key, (len(columns) + 1, column))
            scale = column.scale
        compiled = _window(feature, place, scale, texts=is_text(feature, dataset))
        features.append(PlannedFeature(feature.reference, feature.function, compiled))
    entity = tuple(
        EntityColumn(name, dataset.columns[name].type, dataset.columns[name].scale or 0) for name in view.entity
    )
    used = tuple(column for _, column in columns.values())
    content: dict[str, Any] = {
        "layout": LAYOUT,
        "dataset": view.dataset,
        "entity": [[column.name, column.type.value, column.scale] for column in entity],
        "event_time": dataset.event_time,
        "columns": [column.canonical() for column in used],
        "features": [[f.reference, _canonical(f.compiled)] for f in features],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return Plan(
        view=view.name,
        dataset=view.dataset,
        spec_digest=spec_digest(view),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        entity=entity,
        event_time=dataset.event_time,
        columns=used,
        types={name: (column.type, column.scale or 0) for name, column in dataset.columns.items()},
        features=tuple(features),
        program=Windows(len(used) + 1, [feature.compiled for feature in features]),
    )


def _window(feature: Feature, place: int, scale: int, *, texts: bool) -> Window:
    share = quantile_fraction(feature.quantile or 1.0)
    return Window(
        column=place,
        function=feature.function,
        window=feature.window_micros,
        digits=scale,
        threshold=_threshold(feature, scale),
        share=(share.numerator, share.denominator),
        texts=texts,
    )


def _threshold(feature: Feature, scale: int) -> int:
    if feature.above is None:
        return 0
    return key_of(feature.above) if scale == FLOATS else threshold(feature.above, scale)


def _value_column(feature: Feature, dataset: DatasetSpec) -> ValueColumn:
    where = tuple(sorted((feature.where or {}).items(), key=lambda item: item[0]))
    names = ([feature.column] if feature.column else []) + [name for name, _ in where]
    known_at = dict.fromkeys(known for name in names if (known := dataset.columns[name].known_at))
    content, scale = Content.NOTHING, 0
    if feature.condition is not None:
        content = Content.CONDITION
    elif feature.column is not None:
        column = dataset.columns[feature.column]
        scale = column.scale or 0
        if column.type in (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.BOOLEAN):
            content = Content.AMOUNT
        elif column.type is ColumnType.FLOAT:
            content, scale = Content.FLOAT, FLOATS
        elif is_text(feature, dataset):
            content = Content.TEXT
        elif feature.function is Function.DISTINCT:
            content = Content.CODE
    return ValueColumn(feature.column, content, scale, tuple(known_at), where, feature.condition)


def _canonical(compiled: Window | Arithmetic) -> list[Any]:
    if isinstance(compiled, Arithmetic):
        return [[int(step.op), step.name, repr(step.number)] for step in compiled.steps]
    return [
        compiled.column,
        compiled.function.value,
        compiled.window,
        compiled.digits,
        compiled.threshold,
        *compiled.share,
    ]
