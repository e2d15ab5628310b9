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
SMALLEST_TAIL = 4
"""Values that the outermost bins of a tail hold at least."""
BEYOND, NEAREST = 15, 16
"""Empty bins on either side of all values, each as wide as all before it, the nearest a sixteenth of the distance from the
median to the last value; the last ends about a thousand such distances away."""


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
    """Bins with about equally many values each, at most `MAX_BINS`, finer in both tails, and empty ones beyond them.

    A column with fewer different values than that gets one bin for each; ties never share an edge, so a heavily tied
    column has fewer bins. `counts[i]` are the values in (edges[i-1], edges[i]], open at both ends. The outermost bins
    are empty: what falls there later lies outside everything that training saw. There are several of them, so that
    it can be told how far outside.

    >>> import numpy as np
    >>> found = numeric_baseline(np.array([0.0, 0.0, 1.0, np.nan]))
    >>> found.edges[1:], found.counts, found.missing
    ([0.0, 1.0], [0, 2, 1, 0], 1)
    """
    present = values[~np.isnan(values)]
    missing = len(values) - len(present)
    if not len(present):
        return NumericBaseline(rows=len(values), missing=missing, edges=[], counts=[0], mean=None, iqr=None)
    edges = distinct = np.unique(present)
    if len(distinct) > MAX_BINS:
        edges = np.unique(np.append(np.quantile(present, _shares(len(present)), method="inverted_cdf"), distinct[-1]))
    edges = np.concatenate([[np.nextafter(distinct[0], -np.inf)], edges])
    lower, upper = (float(value) for value in np.quantile(present, [0.25, 0.75]))
    if len(distinct) > 2:
        below, above = _beyond(distinct, float(np.median(present)))
        edges = np.concatenate([below, edges, above])
    counts = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    return NumericBaseline(
        rows=len(values),
        missing=missing,
        edges=edges.tolist(),
        counts=counts.tolist(),
        mean=float(present.mean()),
        iqr=upper - lower,
    )


def _shares(rows: int) -> Floats:
    """Where bins end: even shares, of which the first and the last are halved again and again while they hold values enough.

    The last of 256 bins of a heavy-tailed column would otherwise be most of its range.
    """
    halvings = max(0, int(np.log2(rows / MAX_BINS / SMALLEST_TAIL)))
    tail = 1 / MAX_BINS / 2.0 ** np.arange(halvings, 0, -1)
    return np.concatenate([tail, np.arange(1, MAX_BINS) / MAX_BINS, 1 - tail[::-1]])


def _beyond(distinct: Floats, median: float) -> tuple[Floats, Floats]:
    """Edges below and above everything that training saw; a change of unit by a thousand still falls between them."""
    least, greatest = float(distinct[0]), float(distinct[-1])
    below = least - _steps(least, median, greatest)
    above = greatest + _steps(greatest, median, least)
    # Towards zero a unit changes by ever smaller steps.
    if least > 0:
        below = np.append(0.0, least / 2.0 ** np.arange(1, BEYOND))
    elif greatest < 0:
        above = np.append(0.0, greatest / 2.0 ** np.arange(1, BEYOND))
    # Where the range is that of all floating-point numbers, or of a few last bits, there is less room.
    below = below[np.isfinite(below) & (below < np.nextafter(least, -np.inf))]
    return np.unique(below), np.unique(above[np.isfinite(above) & (above > greatest)])


def _steps(end: float, median: float, other_end: float) -> Floats:
    return float(abs(end - median) or abs(end - other_end)) * 2.0 ** np.arange(BEYOND) / NEAREST


def categorical_baseline(values: pl.Series) -> CategoricalBaseline:
    """The most frequent levels with their counts (ties by name), the rest together as `other`."""
    counts = values.drop_nulls().value_counts(name="rows").sort(["rows", values.name], descending=[True, False]).rows()
    return CategoricalBaseline(
        rows=len(values),
        missing=values.null_count(),
        counts={str(level): int(rows) for level, rows in counts[:MAX_LEVELS]},
        other=sum(int(rows) for _, rows in counts[MAX_LEVELS:]),
    )
