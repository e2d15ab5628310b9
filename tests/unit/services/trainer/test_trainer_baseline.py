"""The training baseline that drift is measured against."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.domain.baseline import BEYOND, MAX_BINS, categorical_baseline, numeric_baseline


@given(st.lists(st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")), st.integers(0, 3).map(float)), max_size=600))
def test_bins_hold_every_value_once(drawn: list[float]) -> None:
    """Edges grow strictly, every present value is in exactly the bin its edges say, and only those beyond all values are empty."""
    values = np.array(drawn, dtype=np.float64)
    found = numeric_baseline(values)
    present = values[~np.isnan(values)]
    assert found.rows == len(values)
    assert found.missing == len(values) - len(present)
    assert len(found.counts) == len(found.edges) + 1 <= MAX_BINS + 2 + 2 * BEYOND
    assert sum(found.counts) == len(present)
    assert all(low < high for low, high in zip(found.edges, found.edges[1:], strict=False))
    bounds = [-np.inf, *found.edges, np.inf]
    for index, count in enumerate(found.counts):
        inside = (present > bounds[index]) & (present <= bounds[index + 1])
        assert int(inside.sum()) == count
    if len(present):
        held = np.flatnonzero(found.counts)
        assert len(held) == held[-1] - held[0] + 1
        assert 0 < held[0] <= held[-1] < len(found.counts) - 1


def test_a_tied_column_has_one_bin_for_each_value() -> None:
    """A column of few different values is described exactly; one of a single value has one bin."""
    tied = numeric_baseline(np.array([0.0] * 90 + [1.0] * 9 + [5.0]))
    inner = slice(int(np.searchsorted(tied.edges, 0.0)), None)
    assert (tied.edges[inner][:3], tied.counts[inner][:4]) == ([0.0, 1.0, 5.0], [90, 9, 1, 0])
    assert numeric_baseline(np.full(5, 3.0)).counts == [0, 5, 0]
    assert numeric_baseline(np.full(5, np.nan)).mean is None


def test_values_beyond_training_fall_outside() -> None:
    """A flag that was 0 or 1 and becomes 100, or -1, is counted where training had nothing."""
    flag = numeric_baseline(np.array([0.0, 1.0] * 50))
    assert np.searchsorted(flag.edges, [100.0, -1.0], side="left").tolist() == [len(flag.edges), 0]


def test_tails_are_divided_finely_and_there_is_room_beyond_them() -> None:
    """No bin of a heavy-tailed column is most of its range, and a thousandfold value is told from a tenfold one."""
    values = np.random.default_rng(4).pareto(1.1, size=100_000) * 1e4
    found = numeric_baseline(values)
    within = [edge for edge in found.edges if values.min() <= edge <= values.max()]
    assert len(within) <= MAX_BINS + 2 * 7
    top = np.sort(values)[-400:]
    assert sum(top[0] < edge < top[-1] for edge in within) >= 5
    places = np.searchsorted(found.edges, [values.max() * scale for scale in (1, 10, 100, 1_000)], side="left")
    assert len(set(places.tolist())) == 4
    assert places[-1] < len(found.edges)


def test_rare_levels_are_pooled() -> None:
    """The 200 most frequent levels are kept with their counts, the rest together; missing is counted apart."""
    values = pl.Series(
        "code", [f"c{index:03d}" for index in range(250) for _ in range(3 if index < 200 else 1)] + [None]
    )
    found = categorical_baseline(values)
    assert (len(found.counts), found.other, found.missing, found.rows) == (200, 50, 1, 651)
    assert found.counts["c000"] == 3
    assert "c249" not in found.counts
