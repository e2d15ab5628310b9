"""The FeatureView document: what an entity's history tells, each feature declared once."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from tenon.core.errors import Invalid, did_you_mean
from tenon.core.expressions import Step, names_of, parse_expression
from tenon.core.names import Identifier, ResourceName
from tenon.core.specs.base import Spec, Strict, register
from tenon.core.specs.condition import Condition
from tenon.core.timestamps import parse_duration

ALL = "all"
ALL_MICROS = 1 << 60
"""The window `all`, about 36,000 years in microseconds: longer than time, and it fits beside an int64 instant."""


def _check_duration(value: str) -> str:
    try:
        parse_duration(value)
    except Invalid as err:
        raise ValueError(f"{err.message}; {err.hint}") from None
    return value


def _check_window(value: str) -> str:
    return value if value == ALL else _check_duration(value)


Duration = Annotated[str, AfterValidator(_check_duration)]
"""A whole number and a unit: s, m, h, d, w or y (365 days)."""

Window = Annotated[str, AfterValidator(_check_window)]
"""A duration, or `all` of the history."""

Quantile = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class Function(enum.StrEnum):
    """How the values in a window become one number. A missing value never contributes."""

    COUNT = "count"  # events (or non-missing values, with a column); 0 when there is none
    SUM = "sum"  # exact; missing when there is no value
    MEAN = "mean"  # the exact sum divided once by the count, in float64
    STD = "std"  # of a sample (n - 1); missing for fewer than two values
    MIN = "min"
    MAX = "max"
    FIRST = "first"  # the value of the oldest event, of equally old ones the one known first, then the smallest
    LAST = "last"  # the value of the newest event, of equally new ones the one known last, then the largest
    DISTINCT = "distinct"  # how many different values; 0 when there is none
    QUANTILE = "quantile"  # the smallest value that at least the share q of the values do not exceed
    RATE = "rate"  # share of values above `above` (or that meet `condition`, or are true), in float64
    SINCE_LAST = "since_last"  # seconds since the newest event (or value)
    STATIC = "static"  # declared under `static`: a fact that does not change
    EXPRESSION = "expression"  # declared under `expressions`


DECLARED_ELSEWHERE = frozenset({Function.STATIC, Function.EXPRESSION})
COUNTS = frozenset({Function.COUNT, Function.DISTINCT})
"""What is 0, not missing, where there is nothing."""
ONE_OF_THE_VALUES = frozenset({Function.FIRST, Function.LAST, Function.STATIC})
"""What can be said of texts too: which of them it is, not how large."""
OF_EVENTS = frozenset({Function.COUNT, Function.SINCE_LAST})
"""What can be said of events, without a column."""


class Aggregate(Strict):
    """One column (or the events themselves) under some functions over some windows."""

    column: Identifier | None = Field(default=None, description="The column; left out, events are counted.")
    functions: list[Function] = Field(min_length=1)
    windows: list[Window] = Field(min_length=1, description="Lengths of the windows [t - window, t), or `all`.")
    above: float | None = Field(default=None, description="The threshold of `rate`.")
    condition: Condition | None = Field(default=None, description="What `rate` counts, instead of `above`.")
    quantiles: list[Quantile] | None = Field(
        default=None, min_length=1, description="The shares of `quantile`: 0.5 is the median."
    )
    where: dict[Identifier, Condition] | None = Field(
        default=None, min_length=1, description="Only events whose columns are so; known when all of them are known."
    )
    prefix: Identifier | None = Field(
        default=None, alias="as", description="The names' first part instead of the column; needed with `where`."
    )

    @model_validator(mode="after")
    def _check_functions(self) -> Self:
        if wrong := [function.value for function in self.functions if function in DECLARED_ELSEWHERE]:
            raise ValueError(f"functions: {wrong[0]!r} is not an aggregate; see `static` and `expressions`")
        if self.column is None and not OF_EVENTS.issuperset(self.functions):
            raise ValueError("without a column only `count` and `since_last` make sense; name the `column`")
        if (self.above is not None or self.condition is not None) and Function.RATE not in self.functions:
            raise ValueError("`above` and `condition` go with the function rate")
        if self.above is not None and self.condition is not None:
            raise ValueError("`above` and `condition` are two ways to say one thing; give one")
        if (Function.QUANTILE in self.functions) != (self.quantiles is not None):
            raise ValueError("`quantiles` goes with the function quantile, and quantile needs it")
        if any(quantile_fraction(share).denominator > 10**6 for share in self.quantiles or []):
            raise ValueError("quantiles: at most six digits after the point")
        if self.where and not self.prefix:
            raise ValueError("`where` needs `as`: what the features made of these events are called")
        for listed in (self.functions, self.windows, self.quantiles or []):
            if len(set(listed)) < len(listed):
                raise ValueError("a function or a window is listed twice")
        return self

    def features(self, view: str) -> list[Feature]:
        """Function by function, window by window."""
        prefix = self.prefix or self.column
        made = []
        for function in self.functions:
            for quantile in (self.quantiles or []) if function is Function.QUANTILE else [None]:
                word = function.value if quantile is None else quantile_word(quantile)
                made += [
                    Feature(
                        view=view,
                        name=f"{prefix + '_' if prefix else ''}{word}_{window}",
                        column=self.column,
                        function=function,
                        window=window,
                        above=self.above if function is Function.RATE else None,
                        quantile=quantile,
                        where=self.where,
                        condition=self.condition if function is Function.RATE else None,
                    )
                    for window in self.windows
                ]
        return made


class Latest(Strict):
    """The latest known value of a column that changes slowly."""

    column: Identifier
    ttl: Window = Field(default=ALL, description="How old its event may be; an older value is missing.")


def quantile_fraction(share: float) -> Fraction:
    """The share as the decimal number that it prints as.

    >>> quantile_fraction(0.9)
    Fraction(9, 10)
    """
    return Fraction(Decimal(repr(share)))


def quantile_word(share: float) -> str:
    """What a quantile is called in a feature's name.

    >>> quantile_word(0.5), quantile_word(0.999), quantile_word(1.0)
    ('p50', 'p99_9', 'p100')
    """
    percent = (Decimal(repr(share)) * 100).normalize()
    return "p" + f"{percent:f}".replace(".", "_")


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a view. Its reference is `view.name`; the name says all: `arr_delay_mean_7d`, `count_1d`."""

    view: str
    name: str
    column: str | None
    function: Function
    window: str
    above: float | None
    quantile: float | None = None
    where: Mapping[str, Condition] | None = None
    condition: Condition | None = None
    steps: tuple[Step, ...] = ()

    @property
    def reference(self) -> str:
        """The name under which models and clients know the feature."""
        return f"{self.view}.{self.name}"

    @property
    def window_micros(self) -> int:
        """The window's length in microseconds."""
        return ALL_MICROS if self.window == ALL else min(parse_duration(self.window), ALL_MICROS)


@register
class FeatureViewSpec(Spec):
    """History features of one entity from one data set."""

    KIND: ClassVar[str] = "FeatureView"

    dataset: ResourceName
    entity: list[Identifier] = Field(
        min_length=1, max_length=8, description="The columns whose values identify the entity."
    )
    aggregates: list[Aggregate] = Field(default_factory=list)
    latest: list[Latest] = Field(default_factory=list, description="Latest known values: `<column>_latest`.")
    static: list[Identifier] = Field(
        default_factory=list,
        description="Facts that do not change, whatever the time: a plane's seats. Named as the column.",
    )
    expressions: dict[Identifier, str] = Field(
        default_factory=dict, description="Arithmetic over the features above: `delay_mean_7d / delay_mean_90d`."
    )

    @model_validator(mode="after")
    def _check_features(self) -> Self:
        if not (self.aggregates or self.latest or self.static):
            raise ValueError("aggregates: a view needs `aggregates`, `latest` or `static`")
        names = [feature.name for feature in self.features()]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"the feature {min(twice)!r} is declared twice")
        plain = [feature.name for feature in self.features() if feature.function is not Function.EXPRESSION]
        for name, text in self.expressions.items():
            for read in names_of(parse_expression(text)):
                if read not in plain:
                    near = did_you_mean(read, plain)
                    raise ValueError(
                        f"expressions.{name}: {read!r} is no feature of this view"
                        + (f"; did you mean {near!r}?" if near else "")
                    )
        return self

    def features(self) -> list[Feature]:
        """Every feature of the view, in the order of declaration; expressions come last."""
        made = [feature for aggregate in self.aggregates for feature in aggregate.features(self.name)]
        made += [
            Feature(self.name, f"{latest.column}_latest", latest.column, Function.LAST, latest.ttl, None)
            for latest in self.latest
        ]
        made += [Feature(self.name, column, column, Function.STATIC, ALL, None) for column in self.static]
        made += [
            Feature(self.name, name, None, Function.EXPRESSION, ALL, None, steps=parse_expression(text))
            for name, text in self.expressions.items()
        ]
        return made
