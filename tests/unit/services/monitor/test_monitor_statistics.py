"""The statistics against scipy on raw samples, and how often they cry without reason."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.monitor.domain.drift.statistics import (
    benjamini_hochberg,
    chi_squared,
    coarsen,
    compare_shares,
    kolmogorov_smirnov,
    pool_rare,
    population_stability,
    smallest_ks,
)
from tests.support.monitor_data import counted, numeric_baseline

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tail": lambda rng, n: rng.pareto(1.1, size=n) * 1e4,
    "many zeros": lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)),
    "whole numbers": lambda rng, n: rng.poisson(4, size=n).astype(float),
    "yes and no": lambda rng, n: (rng.random(n) < 0.3).astype(float),
}
SHIFTS = {"none": lambda x: x, "moved": lambda x: x + 0.3 * np.abs(x).mean(), "scaled": lambda x: x * 1.7}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [150, 3_000])
def test_ks_is_near_scipys(shape: str, shift: str, rows: int) -> None:
    """The histogram's statistic is within 0.02 of the exact one, never above it, and the p-value is never bolder."""
    rng = np.random.default_rng(7)
    train = SHAPES[shape](rng, 20_000)
    window = SHIFTS[shift](SHAPES[shape](rng, rows))
    baseline = numeric_baseline(train)
    counts = counted(window, np.array(baseline.edges))
    found = kolmogorov_smirnov(np.array(baseline.counts), counts)
    exact = stats.ks_2samp(train, window, method="asymp")
    assert found.statistic == pytest.approx(exact.statistic, abs=0.02)
    assert found.statistic <= exact.statistic + 1e-12
    # scipy rounds the effective size, we do not; apart from that ours is the same limit at a distance not above.
    assert found.p_value >= exact.pvalue - 0.03


@given(st.data())
def test_chi_squared_is_scipys(data: st.DataObject) -> None:
    """Statistic and p-value equal scipy's two-sample contingency, for any counts."""
    levels = data.draw(st.integers(2, 12))
    counts = st.lists(st.integers(0, 500), min_size=levels, max_size=levels).filter(any)
    baseline, window = np.array(data.draw(counts)), np.array(data.draw(counts))
    found = chi_squared(baseline, window)
    table = np.array([baseline, window])[:, baseline + window > 0]
    if table.shape[1] < 2:
        assert found.p_value == 1.0
        return
    exact = stats.chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(exact.statistic, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(exact.pvalue, rel=1e-6, abs=1e-12)


@given(
    st.integers(1, 2_000), st.integers(1, 2_000), st.floats(0, 1), st.floats(0, 1)
)  # fmt: skip
def test_shares_are_scipys_with_yates(m: int, n: int, then: float, now: float) -> None:
    """The two-proportion test equals scipy's corrected 2 x 2 table."""
    baseline_hits, window_hits = round(m * then), round(n * now)
    found = compare_shares(baseline_hits, m, window_hits, n)
    table = np.array([[baseline_hits, m - baseline_hits], [window_hits, n - window_hits]])
    if (table.sum(axis=0) == 0).any():
        assert found.p_value == 1.0
        return
    exact = stats.chi2_contingency(table, correction=True)
    assert found.p_value == pytest.approx(exact.pvalue, rel=1e-6, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_hochberg_is_scipys(p_values: list[float]) -> None:
    """Adjusted p-values equal scipy's false_discovery_control."""
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values), abs=1e-12)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_psi_is_the_symmetric_entropy_of_the_raw_values(shape: str, shift: str) -> None:
    """The index of the sketch is scipy's relative entropy, there and back, of the raw values cut at training's own deciles, less the
    noise floor: within a fiftieth (heavy tails, ties), as a group's edge lies at a bin's."""
    rng = np.random.default_rng(11)
    train = SHAPES[shape](rng, 20_000)
    window = SHIFTS[shift](SHAPES[shape](rng, 4_000))
    baseline = numeric_baseline(train)
    edges = np.array(baseline.edges)
    groups = coarsen(np.array(baseline.counts), counted(window, edges))
    # The same cuts on the raw values: after each group's last bin.
    cuts = edges[np.searchsorted(np.cumsum(baseline.counts), np.cumsum(groups[0])[:-1])]
    then, now = (
        np.bincount(np.searchsorted(cuts, raw, side="left"), minlength=len(cuts) + 1) for raw in (train, window)
    )
    p, q = (then + 0.5) / (then + 0.5).sum(), (now + 0.5) / (now + 0.5).sum()
    exact = stats.entropy(p, q) + stats.entropy(q, p) - (len(p) - 1) * (1 / len(train) + 1 / len(window))
    assert population_stability(*groups) == pytest.approx(max(exact, 0.0), rel=0.02, abs=0.002)


def test_psi_without_a_shift_is_near_nothing() -> None:
    """Less its noise floor, the index averages about a tenth of the floor or less; the raw one would average the floor."""
    rng = np.random.default_rng(1)
    train = rng.normal(size=20_000)
    baseline = numeric_baseline(train)
    edges = np.array(baseline.edges)
    for rows in (100, 500, 5_000):
        pairs = [coarsen(np.array(baseline.counts), counted(rng.normal(size=rows), edges)) for _ in range(300)]
        floor = 9 * (1 / rows + 1 / 20_000)
        corrected = np.array([population_stability(*pair) for pair in pairs])
        raw = [_raw_psi(*pair) for pair in pairs]
        assert np.mean(raw) == pytest.approx(floor, rel=0.15)
        # Cut off at nothing, so its mean is not nothing, but well below the floor.
        assert corrected.mean() < 0.3 * floor
        assert np.median(corrected) < 0.05 * floor


def _raw_psi(baseline: np.ndarray, window: np.ndarray) -> float:
    then = (baseline + 0.5) / (baseline.sum() + len(baseline) / 2)
    now = (window + 0.5) / (window.sum() + len(window) / 2)
    return float(((now - then) * np.log(now / then)).sum())


def test_rare_levels_are_pooled() -> None:
    """After pooling, every cell expects at least five rows, and no row is lost."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        weights = rng.pareto(1.0, size=40)
        baseline = rng.multinomial(5_000, weights / weights.sum())
        window = rng.multinomial(200, weights / weights.sum())
        then, now = pool_rare(baseline, window)
        assert then.sum() == 5_000
        assert now.sum() == 200
        assert ((then + now) * 200 / 5_200).min() >= 5


def test_coarse_groups_keep_every_row() -> None:
    """Merging bins into about ten groups loses nothing, whatever the ties."""
    rng = np.random.default_rng(3)
    for shape in SHAPES.values():
        baseline = np.array(numeric_baseline(shape(rng, 5_000)).counts)
        window = rng.multinomial(300, baseline / baseline.sum())
        then, now = coarsen(baseline, window)
        assert then.sum() == baseline.sum()
        assert now.sum() == window.sum()
        assert len(then) <= 10


def test_the_smallest_shift_is_the_first_significant_one() -> None:
    """What is said to be the smallest visible shift is significant, and a slightly smaller one is not."""
    for n in (100, 1_000, 50_000):
        edge = smallest_ks(n, 20_000, 0.01)
        size = n * 20_000 / (n + 20_000)
        from scipy import special

        assert (
            special.kolmogorov(np.sqrt(size) * edge * 1.001) < 0.01 < special.kolmogorov(np.sqrt(size) * edge * 0.999)
        )
