"""The largest known value of a range, on sizes that reach the upper levels of the tree."""

from __future__ import annotations

import numpy as np
import pytest

from services.features.domain.range_max import RangeMax


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 1000])
def test_it_equals_a_plain_search(size: int) -> None:
    """Ranges of every length over random and tied moments of knowing give what looking at each value gives."""
    rng = np.random.default_rng(size)
    values, known = rng.integers(-9, 9, size), rng.integers(0, 50, size)
    start = rng.integers(0, size + 1, 500)
    end = np.minimum(start + rng.integers(0, size + 1, 500), size)
    at, wanted = rng.integers(-1, 52, 500), rng.random(500) < 0.9
    found = RangeMax(values, known).query(start, end, at, wanted)
    for i in range(500):
        inside = values[start[i] : end[i]][known[start[i] : end[i]] < at[i]]
        expected = inside.max() if len(inside) and wanted[i] else np.iinfo(np.int64).min
        assert found[i] == expected


def test_nothing_at_all() -> None:
    """No values and no queries are fine."""
    none = np.zeros(0, np.int64)
    assert RangeMax(none, none).query(none, none, none, np.zeros(0, bool)).tolist() == []
