"""What the training data looked like, column by column, so that drift can be measured against it later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from services.trainer.domain.ports import Floats
from tenon.core.manifest import CategoricalBaseline, NumericBaseline, TrainingBaseline
from tenon.core.specs import ColumnType
from tenon.core.specs.checks import Input

MAX_BINS = 256
MAX_LEVELS = 200


def training_baseline(train: pl.DataFrame, inputs: Sequence[Input], score: Floats) -> TrainingBaseline:
    """Every model input as the model is given it (before preprocessing), and the model's own out-of-sample scores."""
    return TrainingBaseline(
        columns={
            item.name: categorical_baseline(train[item.name])
            if item.type is ColumnType.STRING
            else numeric_baseline(train[item.name].cast(pl.Float64).to_numpy())
            for item in inputs
        },
        score=numeric_baseline(score),
    )


def numeric_baseline(values: Floats) -> NumericBaseline:
    """Bins with about equally many values each, at most `MAX_BINS`.

    A column with fewer different values than that gets one bin for each; ties never share an edge, so a heavily tied
    column has fewer bins. `counts[i]` are the values in (edges[i-1], edges[i]], open at both ends. The outermost bins
    are empty: what falls there later lies outside everything that training saw.

    >>> import numpy as np
    >>> found = numeric_baseline(np.array([1.0, 1.0, 2.0, 3.0, np.nan]))
    >>> found.edges[1:], found.counts, found.missing
    ([1.0, 2.0, 3.0], [0, 2, 1, 1, 0], 1)
    """
    present = values[~np.isnan(values)]
    missing = len(values) - len(present)
    if not len(present):
        return NumericBaseline(rows=len(values), missing=missing, edges=[], counts=[0], mean=None, iqr=None)
    distinct = np.unique(present)
    if len(distinct) > MAX_BINS:
        shares = np.arange(1, MAX_BINS) / MAX_BINS
        distinct = np.unique(np.append(np.quantile(present, shares, method="inverted_cdf"), distinct[-1]))
    edges = np.concatenate([[np.nextafter(present.min(), -np.inf)], distinct])
    counts = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    lower, upper = np.quantile(present, [0.25, 0.75])
    return NumericBaseline(
        rows=len(values),
        missing=missing,
        edges=edges.tolist(),
        counts=counts.tolist(),
        mean=float(present.mean()),
        iqr=float(upper - lower),
    )


def categorical_baseline(values: pl.Series) -> CategoricalBaseline:
    """The most frequent levels with their counts (ties by name), the rest together as `other`."""
    counts = values.drop_nulls().value_counts(name="rows").sort(["rows", values.name], descending=[True, False]).rows()
    return CategoricalBaseline(
        rows=len(values),
        missing=values.null_count(),
        counts={str(level): int(rows) for level, rows in counts[:MAX_LEVELS]},
        other=sum(int(rows) for _, rows in counts[MAX_LEVELS:]),
    )
