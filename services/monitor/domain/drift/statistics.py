"""Two-sample statistics on histograms: no data frame, no library's defaults, sample sizes always in hand.

The window is compared with the training baseline as one sample with another: the baseline is not taken as exact.
Sources are named at each function; docs/concepts/verdicts.md says in words what they mean together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]

PSI_GROUPS = 10
"""The population stability index is read on about ten groups; its usual thresholds (0.1, 0.25) mean nothing on 256."""

SMALLEST_EXPECTED = 5.0
"""Cochran's rule: χ² needs about five expected in every cell; rarer levels are pooled."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two samples differ: the test's statistic, its p-value, and a size of effect that does not grow with n."""

    statistic: float
    p_value: float
    effect: float


def kolmogorov_smirnov(baseline: Counts, window: Counts) -> Comparison:
    """Two-sample Kolmogorov-Smirnov statistic between two histograms on the same bins.

    The statistic is the largest distance between the two distribution functions at the bins' edges. It cannot exceed
    the exact one, and is below it by at most the share of one bin: with 256 quantile bins, 0.004. The p-value is the
    limiting distribution at the effective size n·m/(n+m); with ties it is conservative.

    Smirnov, N. (1948). Table for estimating the goodness of fit of empirical distributions. Ann. Math. Stat. 19(2).

    >>> kolmogorov_smirnov(np.array([50, 50]), np.array([25, 75])).statistic
    0.25
    """
    n, m = int(window.sum()), int(baseline.sum())
    if n == 0 or m == 0:
        return Comparison(0.0, 1.0, 0.0)
    distance = float(np.abs(np.cumsum(window) / n - np.cumsum(baseline) / m).max())
    p_value = float(special.kolmogorov(math.sqrt(n * m / (n + m)) * distance))
    return Comparison(distance, p_value, distance)


def smallest_ks(n: int, m: int, alpha: float) -> float:
    """The smallest Kolmogorov-Smirnov distance that is significant at `alpha` with samples of n and m (1 if none is).

    >>> round(smallest_ks(1000, 100_000, 0.05), 3)
    0.043
    """
    if n == 0 or m == 0:
        return 1.0
    return min(1.0, float(special.kolmogi(alpha)) / math.sqrt(n * m / (n + m)))


def population_stability(baseline: Counts, window: Counts) -> float:
    """Population stability index less its noise floor, at least 0.

    Without any shift its expected value is about (groups - 1)(1/n + 1/m), which is subtracted. Half a row is added to each
    group, so that an empty one does not make it infinite.

    Yurdakul, B. (2018). Statistical Properties of Population Stability Index. Western Michigan University.
    """
    n, m, groups = int(window.sum()), int(baseline.sum()), len(baseline)
    if n == 0 or m == 0 or groups < 2:
        return 0.0
    now = (window + 0.5) / (n + groups / 2)
    then = (baseline + 0.5) / (m + groups / 2)
    raw = float(((now - then) * np.log(now / then)).sum())
    return max(0.0, raw - (groups - 1) * (1 / n + 1 / m))


def coarsen(baseline: Counts, window: Counts, groups: int = PSI_GROUPS) -> tuple[Counts, Counts]:
    """Merge neighbouring bins into at most `groups` of about equal share of the baseline.

    >>> [part.tolist() for part in coarsen(np.array([1, 1, 1, 1]), np.array([0, 2, 0, 1]), groups=2)]
    [[2, 2], [2, 1]]
    """
    total = int(baseline.sum())
    if total == 0:
        return baseline, window
    # A bin belongs to the group in which its middle lies, so that neighbours stay together.
    middle = (np.cumsum(baseline) - baseline / 2) / total
    group = np.minimum((middle * groups).astype(np.int64), groups - 1)
    _, group = np.unique(group, return_inverse=True)
    size = int(group.max()) + 1
    return (
        np.bincount(group, weights=baseline, minlength=size).astype(np.int64),
        np.bincount(group, weights=window, minlength=size).astype(np.int64),
    )


def pool_rare(baseline: Counts, window: Counts) -> tuple[Counts, Counts]:
    """Pool the levels of which fewer than five are expected in either sample; a pool still too small joins the smallest level."""
    n, m = int(window.sum()), int(baseline.sum())
    together = baseline + window
    expected = together * (min(n, m) / max(n + m, 1))
    rare = expected < SMALLEST_EXPECTED
    if not rare.any():
        return baseline, window
    kept_baseline, kept_window = baseline[~rare].copy(), window[~rare].copy()
    pool_baseline, pool_window = int(baseline[rare].sum()), int(window[rare].sum())
    if float(expected[rare].sum()) < SMALLEST_EXPECTED and len(kept_baseline):
        smallest = int(np.argmin(kept_baseline + kept_window))
        kept_baseline[smallest] += pool_baseline
        kept_window[smallest] += pool_window
        return kept_baseline, kept_window
    return np.append(kept_baseline, pool_baseline), np.append(kept_window, pool_window)


def chi_squared(baseline: Counts, window: Counts) -> Comparison:
    """Two-sample χ² contingency between counts of the same levels (pool rare ones first).

    The effect is the total variation distance: the share of rows that would have to change level.

    Pearson, K. (1911). On the probability that two independent distributions of frequency are really samples from the
    same population. Biometrika 8.
    """
    n, m = int(window.sum()), int(baseline.sum())
    together = baseline + window
    used = together > 0
    if n == 0 or m == 0 or int(used.sum()) < 2:
        return Comparison(0.0, 1.0, 0.0)
    now, then, together = window[used], baseline[used], together[used]
    expected_now, expected_then = together * (n / (n + m)), together * (m / (n + m))
    statistic = float(((now - expected_now) ** 2 / expected_now + (then - expected_then) ** 2 / expected_then).sum())
    p_value = float(special.chdtrc(len(together) - 1, statistic))
    return Comparison(statistic, p_value, float(np.abs(now / n - then / m).sum() / 2))


def smallest_total_variation(n: int, m: int, levels: int, alpha: float) -> float:
    """About the smallest total variation that a χ² test at `alpha` can show with samples of n and m: half the critical distance."""
    if n == 0 or m == 0 or levels < 2:
        return 1.0
    return min(1.0, 0.5 * math.sqrt(float(special.chdtri(levels - 1, alpha)) * (1 / n + 1 / m)))


def compare_shares(baseline_hits: int, baseline_rows: int, window_hits: int, window_rows: int) -> Comparison:
    """Two-proportion test as a 2 × 2 χ² with Yates's correction, which keeps it conservative when counts are small.

    The effect is the difference of the two shares.
    """
    rows = baseline_rows + window_rows
    hits = baseline_hits + window_hits
    if baseline_rows == 0 or window_rows == 0:
        return Comparison(0.0, 1.0, 0.0)
    effect = abs(window_hits / window_rows - baseline_hits / baseline_rows)
    if hits in {0, rows}:
        return Comparison(0.0, 1.0, effect)
    difference = abs(baseline_hits * (window_rows - window_hits) - window_hits * (baseline_rows - baseline_hits))
    corrected = max(0.0, difference - rows / 2)
    statistic = rows * (corrected / baseline_rows) * (corrected / window_rows) / hits / (rows - hits)
    return Comparison(statistic, float(special.chdtrc(1, statistic)), effect)


def more_hits(baseline_hits: int, baseline_rows: int, window_hits: int, window_rows: int) -> float:
    """How likely at least so many of all hits lie in the window, if each lies there with the window's share of rows: exact where
    hits are few, as unseen levels are.

    >>> round(more_hits(0, 900, 2, 100), 4)
    0.01
    """
    if window_hits == 0:
        return 1.0
    hits = baseline_hits + window_hits
    return float(special.betainc(window_hits, hits - window_hits + 1, window_rows / (window_rows + baseline_rows)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: reject those at most q, and at most a share q of the rejected is expected to be false.

    Benjamini, Y., Hochberg, Y. (1995). Controlling the false discovery rate. J. R. Stat. Soc. B 57(1).

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03, 0.5])]
    [0.04, 0.053, 0.053, 0.5]
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda place: p_values[place])
    adjusted = [1.0] * count
    running = 1.0
    for rank in range(count, 0, -1):
        place = order[rank - 1]
        running = min(running, p_values[place] * count / rank)
        adjusted[place] = running
    return adjusted
