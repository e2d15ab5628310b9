"""The counting kernel and its numpy substitute give the same counts, and refuse the same nonsense."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tenon.histograms import compiled, reference

KERNELS = [reference, *([] if compiled.kernel() is reference else [compiled.kernel()])]
NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 1.0, 2.0])


@settings(max_examples=100)
@given(st.data())
def test_numbers_are_counted_as_defined(data: st.DataObject) -> None:
    """For any values and edges: a value's bin is the number of edges below it; NaN is apart."""
    values = data.draw(arrays.arrays(np.float64, st.integers(0, 40), elements=NUMBERS))
    drawn = data.draw(st.lists(st.floats(allow_nan=False) | st.sampled_from([0.0, 1.0]), max_size=20))
    edges = np.unique(np.asarray(drawn, dtype=np.float64))
    places = (edges[:, None] < values).sum(axis=0)
    expected = [int(((places == place) & ~np.isnan(values)).sum()) for place in range(len(edges) + 1)]
    for kernel in KERNELS:
        counts = np.full(len(edges) + 2, 7, dtype=np.int64)
        kernel.count_numbers(values, edges, counts)
        assert (counts - 7).tolist() == [*expected, int(np.isnan(values).sum())]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 3_000), st.integers(0, 300))
def test_kernels_agree_on_long_columns(seed: int, rows: int, bins: int) -> None:
    """Any length and any number of bins, with ties and missing values."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.lognormal(2, 2, size=rows), int(rng.integers(0, 4)))
    values[rng.random(rows) < 0.1] = np.nan
    edges = np.unique(np.round(rng.lognormal(2, 2, size=bins), 2))
    codes = rng.integers(-1, 9, size=rows).astype(np.int32)
    places = rng.integers(0, 4, size=9).astype(np.int32)
    found = []
    for kernel in KERNELS:
        numbers, levels = np.zeros(len(edges) + 2, dtype=np.int64), np.zeros(5, dtype=np.int64)
        kernel.count_numbers(values, edges, numbers)
        kernel.count_codes(codes, places, levels)
        assert numbers.sum() == levels.sum() == rows
        found.append((numbers.tolist(), levels.tolist()))
    assert found == found[:1] * len(found)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("function", "first", "second", "places"),
    [
        ("count_numbers", np.zeros(3), np.zeros(2), 3),
        ("count_codes", np.array([5], dtype=np.int32), np.zeros(2, dtype=np.int32), 3),
        ("count_codes", np.array([-2], dtype=np.int32), np.zeros(2, dtype=np.int32), 3),
        ("count_codes", np.array([0], dtype=np.int32), np.array([3], dtype=np.int32), 3),
        ("count_codes", np.array([0], dtype=np.int32), np.array([-1], dtype=np.int32), 3),
    ],
)
def test_what_does_not_fit_is_refused(kernel: Any, function: str, first: Any, second: Any, places: int) -> None:
    """Codes and places out of range, and too few counts, are an error and change nothing."""
    counts = np.zeros(places, dtype=np.int64)
    with pytest.raises(ValueError, match=r"range|place"):
        getattr(kernel, function)(first, second, counts)
    assert not counts.any()


@pytest.mark.skipif(len(KERNELS) == 1, reason="the kernel is not built")
def test_the_kernel_takes_its_own_types_only() -> None:
    """Arrays of other types are refused by the kernel, which reads memory as it is told."""
    kernel, counts = KERNELS[-1], np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="another type"):
        kernel.count_numbers(np.zeros(3, dtype=np.float32), np.zeros(1), counts)
    with pytest.raises(ValueError, match="another type"):
        kernel.count_codes(np.zeros(3, dtype=np.int64), np.zeros(1, dtype=np.int32), counts)
    with pytest.raises((ValueError, BufferError)):
        kernel.count_numbers(np.zeros(6)[::2], np.zeros(1), counts)
