"""Preprocessing twice: as a fitted scikit-learn ColumnTransformer, and as the plain data that the evaluator applies.

Both say the same: numbers pass through (trees) or are imputed and scaled (linear models), strings become one 0/1 column
for each level or, when there are many, the rank of the level by frequency. Nothing here looks at the label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tenon.bundle import Numeric, OneHot, Ordinal, Pipeline
from tenon.core.specs import ColumnType
from tenon.core.specs.checks import Input

MAX_ONE_HOT = 32
"""Strings with more levels than this are ranked (trees), or pooled beyond this many (linear models)."""
MISSING = "(missing)"


def preprocess_for_trees(train: pl.DataFrame, inputs: Sequence[Input]) -> tuple[ColumnTransformer, Pipeline]:
    """Missing numbers stay missing, because trees learn where to send them."""
    numbers = [item.name for item in inputs if item.type is not ColumnType.STRING]
    steps: list[tuple[str, Any, list[str]]] = [("numbers", "passthrough", numbers)] if numbers else []
    plain: list[Any] = [Numeric(name) for name in numbers]
    for name in _strings(inputs):
        levels = levels_by_frequency(train[name])
        if not levels:
            continue
        if len(levels) <= MAX_ONE_HOT:
            levels = sorted(levels)
            steps.append((f"string {name}", _one_hot(levels), [name]))
            plain.append(OneHot(name, tuple(levels)))
        else:
            encoder = OrdinalEncoder(
                categories=[np.array(levels, dtype=object)],
                handle_unknown="use_encoded_value",
                unknown_value=np.nan,
                encoded_missing_value=np.nan,
            )
            steps.append((f"string {name}", encoder, [name]))
            plain.append(Ordinal(name, tuple(levels)))
    return _fitted(steps, train), Pipeline(tuple(plain))


def preprocess_for_linear(train: pl.DataFrame, inputs: Sequence[Input]) -> tuple[ColumnTransformer, Pipeline]:
    """Missing numbers become the median, numbers are scaled to mean 0 and variance 1, a missing string is a level."""
    numbers = [item.name for item in inputs if item.type is not ColumnType.STRING]
    scaling = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    steps: list[tuple[str, Any, list[str]]] = [("numbers", scaling, numbers)] if numbers else []
    strings = []
    for name in _strings(inputs):
        levels = sorted({*levels_by_frequency(train[name])[:MAX_ONE_HOT], MISSING})
        encoder = make_pipeline(
            SimpleImputer(missing_values=None, strategy="constant", fill_value=MISSING, keep_empty_features=True),
            _one_hot(levels),
        )
        steps.append((f"string {name}", encoder, [name]))
        strings.append(OneHot(name, tuple(levels), impute=MISSING))
    transformer = _fitted(steps, train)
    plain: list[Any] = []
    if numbers:
        imputer, scaler = (step for _, step in transformer.named_transformers_["numbers"].steps)
        plain = [
            Numeric(name, impute=0.0 if np.isnan(median) else float(median), mean=float(mean), scale=float(scale))
            for name, median, mean, scale in zip(numbers, imputer.statistics_, scaler.mean_, scaler.scale_, strict=True)
        ]
    return transformer, Pipeline((*plain, *strings))


def levels_by_frequency(values: pl.Series) -> list[str]:
    """The different values, the most frequent first, ties by name: an order that does not know the label."""
    counted = values.drop_nulls().value_counts(name="rows").sort(["rows", values.name], descending=[True, False])
    return [str(level) for level in counted[values.name].to_list()]


def feature_names(pipeline: Pipeline) -> list[str]:
    """A readable, unique name for each column of the matrix; XGBoost allows no brackets and no `<`."""
    names: list[str] = []
    for step in pipeline.transforms:
        if isinstance(step, OneHot):
            names += [f"{step.column}={level}" for level in step.categories]
        else:
            names.append(step.column)
    clean = [name.translate(str.maketrans("[]<", "()_")) for name in names]
    return clean if len(set(clean)) == len(clean) else [f"{index}:{name}" for index, name in enumerate(clean)]


def columns_of(frame: pl.DataFrame) -> Mapping[str, npt.NDArray[Any]]:
    """The frame as the evaluator takes rows: float64 with NaN for missing, object arrays of str or None."""
    return {
        series.name: np.array(series.to_list(), dtype=object) if series.dtype == pl.String else series.to_numpy()
        for series in frame
    }


def _strings(inputs: Sequence[Input]) -> list[str]:
    return [item.name for item in inputs if item.type is ColumnType.STRING]


def _one_hot(levels: list[str]) -> OneHotEncoder:
    return OneHotEncoder(
        categories=[np.array(levels, dtype=object)], handle_unknown="ignore", sparse_output=False, dtype=np.float64
    )


def _fitted(steps: list[tuple[str, Any, list[str]]], train: pl.DataFrame) -> ColumnTransformer:
    return ColumnTransformer(steps, remainder="drop", sparse_threshold=0.0).fit(train)
