"""The FeatureView document: aggregates of an entity's history, each declared once."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from tenon.core.errors import Invalid
from tenon.core.names import Identifier, ResourceName
from tenon.core.specs.base import Spec, Strict, register
from tenon.core.timestamps import parse_duration


def _check_duration(value: str) -> str:
    try:
        parse_duration(value)
    except Invalid as err:
        raise ValueError(f"{err.message}; {err.hint}") from None
    return value


Duration = Annotated[str, AfterValidator(_check_duration)]
"""A whole number and a unit: s, m, h, d, w or y (365 days)."""


class Function(enum.StrEnum):
    """How the values in a window become one number. A missing value never contributes."""

    COUNT = "count"  # events (or non-missing values, with a column); 0 when there is none
    SUM = "sum"  # exact; missing when there is no value
    MEAN = "mean"  # the exact sum divided once by the count, in float64
    MIN = "min"
    MAX = "max"
    RATE = "rate"  # share of values above `above`, in float64


class Aggregate(Strict):
    """One column (or the events themselves) under some functions over some windows."""

    column: Identifier | None = Field(
        default=None, description="Integer or decimal column; left out, events are counted."
    )
    functions: list[Function] = Field(min_length=1)
    windows: list[Duration] = Field(min_length=1, description="Lengths of the windows [t - window, t).")
    above: float | None = Field(default=None, description="The threshold of `rate`.")

    @model_validator(mode="after")
    def _check_functions(self) -> Self:
        if self.column is None and set(self.functions) != {Function.COUNT}:
            raise ValueError("without a column only `count` makes sense; name the `column`")
        if (Function.RATE in self.functions) != (self.above is not None):
            raise ValueError("`above` goes with the function rate, and rate needs it")
        if len(set(self.functions)) < len(self.functions) or len(set(self.windows)) < len(self.windows):
            raise ValueError("a function or a window is listed twice")
        return self


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a view. Its reference is `view.name`; the name says all: `arr_delay_mean_7d`, `count_1d`."""

    view: str
    name: str
    column: str | None
    function: Function
    window: str
    above: float | None

    @property
    def reference(self) -> str:
        """The name under which models and clients know the feature."""
        return f"{self.view}.{self.name}"

    @property
    def window_micros(self) -> int:
        """The window's length in microseconds."""
        return parse_duration(self.window)


@register
class FeatureViewSpec(Spec):
    """History features of one entity from one data set."""

    KIND: ClassVar[str] = "FeatureView"

    dataset: ResourceName
    entity: list[Identifier] = Field(
        min_length=1, max_length=8, description="The columns whose values identify the entity."
    )
    aggregates: list[Aggregate] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_unique(self) -> Self:
        names = [feature.name for feature in self.features()]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"the feature {min(twice)!r} is declared twice")
        return self

    def features(self) -> list[Feature]:
        """Every feature of the view, in the order of declaration."""
        return [
            Feature(
                view=self.name,
                name=f"{aggregate.column + '_' if aggregate.column else ''}{function.value}_{window}",
                column=aggregate.column,
                function=function,
                window=window,
                above=aggregate.above if function is Function.RATE else None,
            )
            for aggregate in self.aggregates
            for function in aggregate.functions
            for window in aggregate.windows
        ]
