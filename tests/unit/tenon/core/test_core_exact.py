"""Sums of floats that no order changes."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenon.core.exact import exact_deviation, exact_sum

ORDINARY = st.lists(st.floats(-1e15, 1e15), min_size=2, max_size=12)


@settings(max_examples=100, deadline=None)
@given(ORDINARY, st.randoms(use_true_random=False))
def test_the_sum_is_that_of_fsum_in_any_order(numbers: list[float], seed: Any) -> None:
    """The correctly rounded sum: what `math.fsum` gives, however the numbers are shuffled."""
    shuffled = list(numbers)
    seed.shuffle(shuffled)
    assert exact_sum(shuffled) == exact_sum(numbers) == math.fsum(numbers)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=12))
def test_the_deviation_is_that_of_the_textbook(numbers: list[float]) -> None:
    """Of whole numbers it is what `statistics.stdev` gives, up to its last rounding."""
    assert exact_deviation(numbers) == pytest.approx(statistics.stdev(numbers), rel=1e-15, abs=0)


def test_the_ends_of_float64() -> None:
    """A part of a sum may be beyond all float64, the sum may not; what is tiny is not lost."""
    assert exact_sum([1e308, 1e308, -1e308, -1e308, 5e-324]) == 5e-324
    assert math.isnan(exact_sum([1e308, 1e308]))
    assert exact_deviation([1e-200, 3e-200]) == pytest.approx(1.414e-200, rel=1e-3)
    assert math.isnan(exact_deviation([1.7e308, -1.7e308]))
