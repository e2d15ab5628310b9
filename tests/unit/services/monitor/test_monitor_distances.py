"""Distances of histograms against scipy's on the raw values, within the error that bins bring."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from services.monitor.domain.drift.distances import (
    jensen_shannon,
    jensen_shannon_divergence,
    median_ratio,
    scale_of,
    wasserstein,
)
from services.monitor.domain.drift.statistics import coarsen, kolmogorov_smirnov
from services.trainer.domain.baseline import numeric_baseline
from tests.support.monitor_data import counted

SHAPES = {
    "normal": lambda rng, n: rng.normal(50, 8, size=n),
    "lognormal": lambda rng, n: rng.lognormal(3, 1, size=n),
    "long tail": lambda rng, n: rng.lognormal(3, 2, size=n),
    "two humps": lambda rng, n: np.where(rng.random(n) < 0.3, rng.normal(2, 1, size=n), rng.normal(9, 2, size=n)),
    "many zeros": lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)),
    "whole euros": lambda rng, n: np.round(rng.lognormal(3, 1, size=n)),
    "hours": lambda rng, n: rng.integers(0, 24, size=n).astype(float),
}
CONTINUOUS = ("normal", "lognormal", "two humps")


@settings(max_examples=15)
@given(
    st.sampled_from(sorted(SHAPES)), st.integers(0, 2**32), st.sampled_from([500, 5_000]),
    st.sampled_from(["none", "steeper", "other"]),
)  # fmt: skip
def test_wasserstein_is_near_scipys(shape: str, seed: int, rows: int, shift: str) -> None:
    """For any shape and change of it scipy's on the raw values is no further off than the bins are wide where rows lie; and
    mostly within 8 %, or 0.02 of the middle half's width (0.03 with few rows, where one lies in a wide outer bin)."""
    rng = np.random.default_rng(seed)
    train = SHAPES[shape](rng, 10_000)
    window = SHAPES[shape](rng, rows)
    if shift == "steeper":
        window = rng.permutation(np.concatenate([window, window[window >= np.median(window)]]))
    if shift == "other":
        window[: rows // 5] = np.quantile(train, 0.95)
    baseline = numeric_baseline(train)
    edges, counts = np.array(baseline.edges), np.array(baseline.counts)
    scale = scale_of(counts, edges, baseline.iqr)
    assert scale is not None
    now = counted(window, edges)
    found, exact = wasserstein(counts, now, edges) / scale, stats.wasserstein_distance(train, window) / scale
    share = counts / counts.sum() + now / now.sum()
    assert abs(found - exact) <= float((np.diff(edges) * share[1:-1]).sum()) / scale + 1e-9
    # A handful of values is most of the sum of the long tail.
    assert shape == "long tail" or found == pytest.approx(exact, rel=0.08, abs=0.02 if rows > 500 else 0.03)


@settings(max_examples=10)
@given(st.sampled_from(CONTINUOUS), st.integers(0, 2**32), st.floats(1.05, 3))
def test_values_that_move_are_followed(shape: str, seed: int, times: float) -> None:
    """Scaled values: distance within 8 %, the median's ratio within 6 %, also where they leave training's range."""
    rng = np.random.default_rng(seed)
    train, window = SHAPES[shape](rng, 20_000), SHAPES[shape](rng, 10_000) * times
    baseline = numeric_baseline(train)
    edges, counts = np.array(baseline.edges), np.array(baseline.counts)
    now = counted(window, edges)
    exact = stats.wasserstein_distance(train, window)
    assert wasserstein(counts, now, edges) == pytest.approx(exact, rel=0.08, abs=0.02 * float(baseline.iqr or 1))
    assert median_ratio(counts, now, edges) == pytest.approx(np.median(window) / np.median(train), rel=0.06)


@pytest.mark.parametrize("times", [0.001, 0.1, 10, 100, 1_000])
@pytest.mark.parametrize("shape", ["lognormal", "long tail", "whole euros"])
def test_a_change_of_unit_is_told(shape: str, times: float) -> None:
    """Milligrams taken for grams: the ratio of medians says about how many times."""
    rng = np.random.default_rng(8)
    train = SHAPES[shape](rng, 20_000)
    baseline = numeric_baseline(train)
    edges = np.array(baseline.edges)
    ratio = median_ratio(np.array(baseline.counts), counted(SHAPES[shape](rng, 2_000) * times, edges), edges)
    assert ratio is not None
    assert 0.5 < ratio / times < (40 if shape == "whole euros" and times < 0.1 else 2)


@settings(max_examples=10)
@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 2**32), st.sampled_from([500, 10_000]))
def test_ks_is_within_a_tail_of_a_bin_of_scipys(shape: str, seed: int, rows: int) -> None:
    """Never above scipy's statistic, and below it by less than one bin's share, 1/256."""
    rng = np.random.default_rng(seed)
    train = SHAPES[shape](rng, 20_000)
    window = np.concatenate([SHAPES[shape](rng, rows), train[:rows] * 1.0])
    baseline = numeric_baseline(train)
    found = kolmogorov_smirnov(np.array(baseline.counts), counted(window, np.array(baseline.edges))).statistic
    exact = stats.ks_2samp(train, window, method="asymp").statistic
    assert exact - 1.5 / 256 <= found <= exact + 1e-12


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=12))
def test_jensen_shannon_is_scipys(drawn: list[tuple[int, int]]) -> None:
    """Before the noise floor is taken off it is scipy's; after it, it is never above."""
    baseline, window = np.array(drawn).T
    if not baseline.any() or not window.any():
        assert jensen_shannon(baseline, window) == 0
        return
    exact = distance.jensenshannon(baseline, window, base=2) ** 2
    assert jensen_shannon_divergence(baseline, window) == pytest.approx(0 if np.isnan(exact) else exact, abs=1e-9)
    assert jensen_shannon(baseline, window) ** 2 <= jensen_shannon_divergence(baseline, window) + 1e-12


def test_jensen_shannon_without_a_shift_is_near_nothing() -> None:
    """The floor is what a window without a shift shows on average, so that little is left of it."""
    rng = np.random.default_rng(2)
    baseline = numeric_baseline(rng.normal(size=20_000))
    counts, edges = np.array(baseline.counts), np.array(baseline.edges)
    for rows in (200, 2_000):
        pairs = [coarsen(counts, counted(rng.normal(size=rows), edges)) for _ in range(200)]
        floor = (len(pairs[0][0]) - 1) * (1 / rows + 1 / 20_000) / (8 * np.log(2))
        assert np.mean([jensen_shannon_divergence(*pair) for pair in pairs]) == pytest.approx(floor, rel=0.15)
        assert np.mean([jensen_shannon(*pair) ** 2 for pair in pairs]) < 0.3 * floor
