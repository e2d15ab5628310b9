"""Preprocessing as plain data, applied in float64 exactly as scikit-learn does it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tenon.bundle.archive import canonical_json
from tenon.core.errors import Invalid

FloatArray = npt.NDArray[np.float64]
Columns = Mapping[str, npt.NDArray[Any] | list[Any]]


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number: missing replaced by `impute` (SimpleImputer), then (x - mean) / scale (StandardScaler); each step only
    if given. With `indicator` a column follows that is 1 where the value was missing, else 0 (never scaled)."""

    column: str
    impute: float | None = None
    mean: float | None = None
    scale: float | None = None
    indicator: bool = False

    @property
    def width(self) -> int:
        """How many columns it makes."""
        return 2 if self.indicator else 1


@dataclass(frozen=True, slots=True)
class OneHot:
    """A string as one 0/1 column for each category (OneHotEncoder, handle_unknown="ignore"): an unknown one is all
    zeros; a missing one counts as `impute`, or is all zeros too."""

    column: str
    categories: tuple[str, ...]
    impute: str | None = None

    @property
    def width(self) -> int:
        """How many columns it makes."""
        return len(self.categories)


@dataclass(frozen=True, slots=True)
class Ordinal:
    """A string as its category's number (OrdinalEncoder, handle_unknown="use_encoded_value"); None stands for NaN."""

    column: str
    categories: tuple[str, ...]
    unknown: float | None = None
    missing: float | None = None

    @property
    def width(self) -> int:
        """How many columns it makes."""
        return 1


Transform = Numeric | OneHot | Ordinal


@dataclass(frozen=True)
class Pipeline:
    """An ordered list of column transforms. `transform` is thread-safe: nothing changes after construction."""

    transforms: tuple[Transform, ...]
    width: int = field(init=False)
    _numbers: tuple[tuple[int, str], ...] = field(init=False, repr=False)
    _indicators: tuple[tuple[int, str], ...] = field(init=False, repr=False)
    _strings: tuple[tuple[int, Transform, dict[Any, int], float], ...] = field(init=False, repr=False)
    _impute: FloatArray = field(init=False, repr=False)
    _mean: FloatArray = field(init=False, repr=False)
    _scale: FloatArray = field(init=False, repr=False)
    _imputes: bool = field(init=False, repr=False)
    _scales: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        numbers, indicators, strings, start = [], [], [], 0
        width = sum(transform.width for transform in self.transforms)
        impute, mean, scale = np.full(width, np.nan), np.zeros(width), np.ones(width)
        for step in self.transforms:
            if isinstance(step, Numeric):
                numbers.append((start, step.column))
                impute[start] = np.nan if step.impute is None else step.impute
                mean[start] = 0.0 if step.mean is None else step.mean
                scale[start] = 1.0 if step.scale is None else step.scale
                if step.indicator:
                    indicators.append((start + 1, step.column))
            else:
                index: dict[Any, int] = {category: i for i, category in enumerate(step.categories)}
                if len(index) != len(step.categories):
                    raise Invalid("PIPELINE_INVALID", f"column {step.column!r} lists a category twice")
                if isinstance(step, OneHot) and step.impute is not None and step.impute in index:
                    index[None] = index[step.impute]
                unknown = getattr(step, "unknown", None)
                strings.append((start, step, index, math.nan if unknown is None else float(unknown)))
            start += step.width
        both = {name for _, name in numbers} & {step.column for _, step, _, _ in strings}
        if both:
            raise Invalid("PIPELINE_INVALID", f"column {min(both)!r} is read as a number and as text")
        put = object.__setattr__
        put(self, "width", width)
        put(self, "_numbers", tuple(numbers))
        put(self, "_indicators", tuple(indicators))
        put(self, "_strings", tuple(strings))
        put(self, "_impute", impute)
        put(self, "_mean", mean)
        put(self, "_scale", scale)
        put(self, "_imputes", bool(np.any(~np.isnan(impute))))
        put(self, "_scales", bool(np.any(mean != 0) or np.any(scale != 1)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, each once, in order."""
        return tuple(dict.fromkeys(step.column for step in self.transforms))

    @property
    def lookups(self) -> tuple[dict[Any, int], ...]:
        """For each transform of a text column, in order: its categories' numbers (None is there when it counts as one)."""
        return tuple(index for _, _, index, _ in self._strings)

    def transform(self, columns: Columns) -> FloatArray:
        """The model's matrix, float64 (rows, width).

        Numbers and booleans are float64 with NaN for missing; strings are object arrays of str or None.
        """
        rows = len(columns[self.transforms[0].column]) if self.transforms else 0
        for name in self.columns:
            if len(columns[name]) != rows:
                raise ValueError(f"column {name!r} has {len(columns[name])} rows, not {rows}")
        out = np.zeros((rows, self.width))
        for start, name in self._numbers:
            out[:, start] = np.asarray(columns[name], np.float64)
        if self._imputes:
            np.copyto(out, self._impute, where=np.isnan(out))
        if self._scales:
            out -= self._mean
            out /= self._scale
        for start, name in self._indicators:
            out[:, start] = np.isnan(np.asarray(columns[name], np.float64))
        for start, step, index, unknown in self._strings:
            values = columns[step.column]
            if isinstance(step, OneHot):
                for row, value in enumerate(values):
                    place = index.get(value)
                    if place is not None:
                        out[row, start + place] = 1.0
            elif isinstance(step, Ordinal):
                missing = math.nan if step.missing is None else step.missing
                for row, value in enumerate(values):
                    out[row, start] = missing if value is None else index.get(value, unknown)
        return out

    def to_json(self) -> bytes:
        """The pipeline as `pipeline.json`; equal pipelines give equal bytes."""
        steps: list[dict[str, Any]] = []
        for step in self.transforms:
            body: dict[str, Any]
            if isinstance(step, Numeric):
                body = {"kind": "numeric", "impute": step.impute, "mean": step.mean, "scale": step.scale}
                steps.append({**body, "column": step.column, "indicator": step.indicator})
            elif isinstance(step, OneHot):
                body = {"kind": "onehot", "categories": list(step.categories), "impute": step.impute}
                steps.append({**body, "column": step.column})
            else:
                body = {"kind": "ordinal", "categories": list(step.categories), "unknown": step.unknown}
                steps.append({**body, "column": step.column, "missing": step.missing})
        return canonical_json({"transforms": steps})

    @classmethod
    def from_json(cls, data: bytes | str) -> Pipeline:
        """The pipeline of a `pipeline.json`. Raises `Invalid` (PIPELINE_INVALID)."""
        try:
            return cls(tuple(_step(dict(item)) for item in json.loads(data)["transforms"]))
        except (ValueError, KeyError, TypeError, RecursionError) as err:
            raise Invalid("PIPELINE_INVALID", f"pipeline.json is not valid: {err}") from None


def _step(item: dict[str, Any]) -> Transform:
    kind = item.pop("kind")
    column = item.pop("column")
    if not isinstance(column, str):
        raise TypeError("a column's name is text")
    if kind == "numeric":
        numbers = {key: _number(item.pop(key, None), column) for key in ("impute", "mean", "scale")}
        step: Transform = Numeric(column, **numbers, indicator=bool(item.pop("indicator", False)))
    elif kind == "onehot":
        step = OneHot(column, _categories(item.pop("categories"), column), item.pop("impute", None))
    elif kind == "ordinal":
        unknown, missing = _number(item.pop("unknown", None), column), _number(item.pop("missing", None), column)
        step = Ordinal(column, _categories(item.pop("categories"), column), unknown, missing)
    else:
        raise ValueError(f"unknown kind {kind!r}")
    if item:
        raise ValueError(f"unknown key {min(item)!r} for column {column!r}")
    return step


def _number(value: Any, column: str) -> float | None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    ):
        raise TypeError(f"{value!r} is not a number (column {column!r})")
    return None if value is None else float(value)


def _categories(value: Any, column: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"categories of column {column!r} are a list of text")
    return tuple(value)
