"""The training baseline that drift is measured against."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.domain.baseline import MAX_BINS, categorical_baseline, numeric_baseline


@given(st.lists(st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")), st.integers(0, 3).map(float)), max_size=600))
def test_bins_hold_every_value_once(drawn: list[float]) -> None:
    """Edges grow strictly, every present value is in exactly the bin its edges say, and only the outermost are empty."""
    values = np.array(drawn, dtype=np.float64)
    found = numeric_baseline(values)
    present = values[~np.isnan(values)]
    assert found.rows == len(values)
    assert found.missing == len(values) - len(present)
    assert len(found.counts) == len(found.edges) + 1 <= MAX_BINS + 2
    assert sum(found.counts) == len(present)
    assert all(low < high for low, high in zip(found.edges, found.edges[1:], strict=False))
    bounds = [-np.inf, *found.edges, np.inf]
    for index, count in enumerate(found.counts):
        inside = (present > bounds[index]) & (present <= bounds[index + 1])
        assert int(inside.sum()) == count
    if len(present):
        assert min(found.counts[1:-1]) > 0
        assert (found.counts[0], found.counts[-1]) == (0, 0)


def test_a_tied_column_has_one_bin_for_each_value() -> None:
    """A column of few different values is described exactly; one of a single value has one bin."""
    tied = numeric_baseline(np.array([0.0] * 90 + [1.0] * 9 + [5.0]))
    assert (tied.edges[1:], tied.counts) == ([0.0, 1.0, 5.0], [0, 90, 9, 1, 0])
    assert numeric_baseline(np.full(5, 3.0)).counts == [0, 5, 0]
    assert numeric_baseline(np.full(5, np.nan)).mean is None


def test_values_beyond_training_fall_outside() -> None:
    """A flag that was 0 or 1 and becomes 100, or -1, is counted where training had nothing."""
    flag = numeric_baseline(np.array([0.0, 1.0] * 50))
    assert np.searchsorted(flag.edges, [100.0, -1.0], side="left").tolist() == [len(flag.edges), 0]


def test_rare_levels_are_pooled() -> None:
    """The 200 most frequent levels are kept with their counts, the rest together; missing is counted apart."""
    values = pl.Series(
        "code", [f"c{index:03d}" for index in range(250) for _ in range(3 if index < 200 else 1)] + [None]
    )
    found = categorical_baseline(values)
    assert (len(found.counts), found.other, found.missing, found.rows) == (200, 50, 1, 651)
    assert found.counts["c000"] == 3
    assert "c249" not in found.counts
