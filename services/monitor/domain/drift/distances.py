"""How far apart two histograms are, and what became of the median: sizes, beside the tests of `statistics`.

Numbers are taken to lie evenly in their bin, except where ties hold it: of a bin with more than its share of training the rest
lies at its upper edge, where ties always are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.monitor.domain.drift.statistics import Counts

    Floats = npt.NDArray[np.float64]

EVEN_SHARE = 1 / 256
"""Of training, what a bin without ties holds at most."""


def jensen_shannon(baseline: Counts, window: Counts) -> float:
    """Jensen-Shannon distance (base 2, from 0 to 1) less its noise floor.

    Its square is the divergence, of which about (groups - 1)(1/n + 1/m) / (8 ln 2) is expected without any shift, and
    subtracted. Read it on few groups, as the stability index.

    Lin, J. (1991). Divergence measures based on the Shannon entropy. IEEE Trans. Inf. Theory 37(1).

    >>> jensen_shannon(np.array([10**6, 0]), np.array([0, 10**6])) > 0.999
    True
    """
    n, m = int(window.sum()), int(baseline.sum())
    if n == 0 or m == 0:
        return 0.0
    floor = (len(baseline) - 1) * (1 / n + 1 / m) / (8 * math.log(2))
    return math.sqrt(max(0.0, jensen_shannon_divergence(baseline, window) - floor))


def jensen_shannon_divergence(baseline: Counts, window: Counts) -> float:
    """The divergence as it is, noise included; both histograms hold something."""
    then, now = baseline / baseline.sum(), window / window.sum()
    middle = (then + now) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(part > 0, part * np.log2(part / middle), 0.0).sum() for part in (then, now)]
    return max(0.0, float(sum(parts)) / 2)


def wasserstein(baseline: Counts, window: Counts, edges: Floats, even_share: float = EVEN_SHARE) -> float:
    """Wasserstein-1 distance (how far the average value moved, if all move as little as possible), in the column's unit.

    What lies beyond the first or the last edge counts as lying at it, so that a distance with values there is a lower bound.

    Vallender, S. (1974). Calculation of the Wasserstein distance between probability distributions on the line. Theory
    Probab. Appl. 18(4).

    >>> wasserstein(np.array([0, 10, 0, 0]), np.array([0, 0, 10, 0]), np.array([0.0, 1.0, 2.0]), even_share=1)
    1.0
    """
    n, m = int(window.sum()), int(baseline.sum())
    if n == 0 or m == 0 or len(edges) < 2:
        return 0.0
    gap = (np.cumsum(window) / n - np.cumsum(baseline) / m)[:-1]
    spread = 1 - _tied(baseline, even_share)[1:-1]
    left = gap[:-1]
    right = left + spread * (gap[1:] - left)
    # |a + (b - a) t| over t in [0, 1]: the trapezoid, or two triangles where the sign changes.
    away = np.abs(left) + np.abs(right)
    crossing = left * right < 0
    area = np.where(crossing, (left**2 + right**2) / np.where(crossing, 2 * away, 1), away / 2)
    return float((area * np.diff(edges)).sum())


def quantile(counts: Counts, edges: Floats, share: float, tied: Floats | None = None) -> float | None:
    """The value below which a share of the rows lies; the nearest edge where that is beyond all, None where nothing was counted.

    >>> quantile(np.array([0, 10, 10, 0]), np.array([0.0, 1.0, 2.0]), 0.75)
    1.5
    """
    total = int(counts.sum())
    if total == 0 or len(edges) < 2:
        return None
    below = np.cumsum(counts) / total
    place = int(np.searchsorted(below, share - 1e-12, side="left"))
    if place == 0 or place >= len(edges):
        return float(edges[min(place, len(edges) - 1)])
    inside = (share - float(below[place - 1])) / float(below[place] - below[place - 1])
    even = 1.0 if tied is None else 1.0 - float(tied[place])
    low, high = float(edges[place - 1]), float(edges[place])
    return high if even <= inside else low + (high - low) * inside / even


def median_ratio(baseline: Counts, window: Counts, edges: Floats) -> float | None:
    """The window's median over training's; None where that says nothing (a median of 0, other signs). A median beyond all
    edges counts as lying at the last, about a thousandfold.

    A change of unit, milligrams to grams, is a ratio of a thousandth whatever else is as it was.
    """
    tied = _tied(baseline, EVEN_SHARE)
    now, then = quantile(window, edges, 0.5, tied), quantile(baseline, edges, 0.5, tied)
    if now is None or then is None or then == 0 or now / then <= 0:
        return None
    return now / then


def scale_of(baseline: Counts, edges: Floats, iqr: float | None) -> float | None:
    """What distances of a column are divided by: the width of its middle half, or where that is nothing, of its range."""
    if iqr:
        return iqr
    held = np.flatnonzero(baseline)
    if not len(held) or len(edges) < 2:
        return None
    low, high = edges[max(int(held[0]) - 1, 0)], edges[min(int(held[-1]), len(edges) - 1)]
    return float(high - low) or None


def _tied(baseline: Counts, even_share: float) -> Floats:
    """For each bin, the share of its rows that lies at its upper edge."""
    share = baseline / max(int(baseline.sum()), 1)
    # Half as much again is chance: the shares of quantile bins are not quite even.
    return np.where(share > 1.5 * even_share, 1 - even_share / np.maximum(share, even_share), 0.0)
