"""Tests that hold however often somebody looks: evidence against a hypothesis, as the log of an e-process.

A process `E` of which nobody expects more than 1 while the hypothesis is true exceeds 1/alpha *ever* with probability alpha
at most (Ville 1939). So a canary may be judged after every request, stopped, and gone on with, and alpha still holds. All
functions take totals, not histories: who restarts, or counts in another order, gets the same figure. They work on arrays.

- `against_shares`: two shares of answers (errors, slow answers, scores below a bound). Exact for any sizes: the mixture of
  likelihoods over a Beta(1/2, 1/2) prior for each version [1, 2], divided by the largest likelihood that the hypothesis
  allows ("universal inference") [3].
- `against_paired`: the same where both versions answered the same requests (a shadow's). Requests on which they agree say nothing of a
  difference. That there is none is asked of the others alone, each of which then is one way or the other by the toss of a coin (`against_share`,
  what McNemar's test [8] is for one look); how large it is, of all three kinds, by a mixture over a Dirichlet(1/2, 1/2, 1/2) prior.
- `against_difference`: an estimated difference with its variance (areas under the ROC curve, mean errors). A one-sided
  normal mixture [2, 4]; on the same rows (a shadow's) the variance is that of paired differences. It holds for sums of many rows (an asymptotic confidence sequence [5]), which is why callers wait
  for some rows of each class.
- `over_stages`: evidence of stretches of time in which the shares of traffic were different. Each is compared within
  itself: a rate that changes over the day would otherwise look like a difference when the canary's share is raised.

1. H. Robbins (1970), Statistical methods related to the law of the iterated logarithm. Ann. Math. Stat. 41.
2. S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence sequences.
   Ann. Stat. 49.
3. L. Wasserman, A. Ramdas, S. Balakrishnan (2020), Universal inference. PNAS 117.
4. R. Johari, P. Koomen, L. Pekelis, D. Walsh (2022), Always valid inference: continuous monitoring of A/B tests. Oper. Res. 70.
5. I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas (2024), Time-uniform central limit theory and asymptotic
   confidence sequences. Ann. Stat. 52.
6. E. DeLong, D. DeLong, D. Clarke-Pearson (1988), Comparing the areas under two or more correlated ROC curves. Biometrics 44.
7. J. Hanley, B. McNeil (1982), The meaning and use of the area under a ROC curve. Radiology 143.
8. Q. McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages. Psychometrika 12.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_PRIOR = 0.5
_PRIOR_LOG_BETA = float(special.betaln(_PRIOR, _PRIOR))
_PRIOR_LOG_DIRICHLET = float(3 * special.gammaln(_PRIOR) - special.gammaln(3 * _PRIOR))
_HALVINGS = 40
_TINY = 1e-300
_LEAST_PAIRED = 0.05
"""On the same rows a difference is known at most as well as on twenty times as many rows of each version's own."""
_USUAL_QUANTILE = float(special.ndtri(0.8))
"""What is found in 80 of 100 runs is found where the estimate is so many standard errors below what is true."""


def against_share(hits: Any, rows: Any, share: Any) -> Floats:
    """Log evidence that the share behind `hits` of `rows` is not `share`."""
    hits, rows = np.asarray(hits, float), np.asarray(rows, float)
    with np.errstate(divide="ignore"):
        likelihood = special.xlogy(hits, share) + special.xlog1py(rows - hits, -np.asarray(share, float))
    found: Floats = special.betaln(hits + _PRIOR, rows - hits + _PRIOR) - _PRIOR_LOG_BETA - likelihood
    return found


def against_shares(
    hits: Any, rows: Any, others_hits: Any, others_rows: Any, *, above: float = 0.0, worse: bool = True
) -> Floats:
    """Log evidence that a share is larger than the other's plus `above` (`worse`), or that it is smaller than that.

    >>> surely = against_shares(30, 100, 100, 1000)  # 30 % and 10 %
    >>> bool(surely > math.log(1 / 0.01))
    True
    >>> bool(against_shares(11, 100, 100, 1000) < 0)
    True
    """
    hits, rows, others_hits, others_rows = np.broadcast_arrays(
        *(np.asarray(item, float) for item in (hits, rows, others_hits, others_rows))
    )
    own, other = hits / np.maximum(rows, 1), others_hits / np.maximum(others_rows, 1)
    seen = own > other + above if worse else own < other + above
    # Inside the hypothesis: the likeliest of its points is what was seen.
    inside = against_share(hits, rows, own) + against_share(others_hits, others_rows, other)
    if above == 0:
        # The likeliest point of the edge is the share of both together.
        both = (hits + others_hits) / np.maximum(rows + others_rows, 1)
        edge = against_share(hits, rows, both) + against_share(others_hits, others_rows, both)
        return np.where((rows > 0) & (others_rows > 0), np.where(seen, edge, inside), 0.0)
    low, high = max(0.0, -above), min(1.0, 1.0 - above)
    ends = np.clip(other, low, high), np.clip(own - above, low, high)
    left, right = np.minimum(*ends), np.maximum(*ends)

    # The least evidence against any point of the hypothesis' edge: it is convex along it, so its slope has one zero.
    misses, others_misses = rows - hits, others_rows - others_hits
    for _ in range(_HALVINGS):
        point = (left + right) / 2
        slope = (
            misses / np.maximum(1 - point - above, _TINY) - hits / np.maximum(point + above, _TINY)
            + others_misses / np.maximum(1 - point, _TINY) - others_hits / np.maximum(point, _TINY)
        )  # fmt: skip
        rises = slope > 0
        right, left = np.where(rises, point, right), np.where(rises, left, point)
    point = (left + right) / 2
    edge = against_share(hits, rows, np.clip(point + above, 0, 1)) + against_share(others_hits, others_rows, point)
    found: Floats = np.where(seen, edge, inside)
    return np.where((rows > 0) & (others_rows > 0), found, 0.0)


def against_paired(ups: Any, downs: Any, rows: Any, *, above: float) -> Floats:
    """Log evidence that on the same rows the share of `ups` is not `above` (or more) larger than that of `downs`.

    >>> bool(against_paired(2, 2, 100, above=0.3) > math.log(1 / 0.05))
    True
    >>> bool(against_paired(40, 5, 100, above=0.3) < 0)
    True
    """
    ups, downs, rows = np.broadcast_arrays(*(np.asarray(item, float) for item in (ups, downs, rows)))
    same = rows - ups - downs
    parts = np.stack([ups, downs, same])
    seen = special.gammaln(parts + _PRIOR).sum(axis=0) - special.gammaln(rows + 3 * _PRIOR) - _PRIOR_LOG_DIRICHLET
    # The likeliest point of the hypothesis: what was seen, if it lies inside, else the one on its edge, where
    # the share of ups is that of downs and `above`. The likelihood is concave along it, so its slope has one zero.
    left, right = np.zeros(rows.shape), np.full(rows.shape, (1 - above) / 2)
    for _ in range(_HALVINGS):
        point = (left + right) / 2
        slope = (
            ups / (point + above) + downs / np.maximum(point, _TINY)
            - 2 * same / np.maximum(1 - above - 2 * point, _TINY)
        )  # fmt: skip
        left, right = np.where(slope > 0, point, left), np.where(slope > 0, right, point)
    point = (left + right) / 2
    edge = np.stack([point + above, point, np.maximum(1 - above - 2 * point, 0)])
    inside = parts / np.maximum(rows, 1)
    likeliest = np.where(ups - downs >= above * rows, inside, edge)
    found: Floats = seen - special.xlogy(parts, likeliest).sum(axis=0)
    return np.where(rows > 0, found, 0.0)


def against_difference(difference: Any, variance: Any, *, scale: Any) -> Floats:
    """Log evidence that a difference is above 0; best where it is about `scale`. Infinite variance: none.

    >>> bool(against_difference(0.1, 0.025**2, scale=0.1) > math.log(1 / 0.02))
    True
    """
    information = 1.0 / np.asarray(variance, float)
    spread = information * np.square(scale)
    pull = information * np.asarray(difference, float) * scale / np.sqrt(1 + spread)
    found: Floats = math.log(2) - 0.5 * np.log1p(spread) + np.square(pull) / 2 + special.log_ndtr(pull)
    return found


def over_stages(evidence: Floats) -> Floats:
    """One figure out of those of stages (along the first axis): a weighted mean of all of them together and of each alone,
    so that an early stage with few requests, which mostly costs, does not hide what a later one shows."""
    if len(evidence) == 1:
        return np.asarray(evidence[0])
    stages = np.arange(1, len(evidence) + 1).reshape((-1,) + (1,) * (evidence.ndim - 1))
    alone = evidence - math.log(2) - np.log(stages * (stages + 1.0))
    both: Floats = special.logsumexp(np.concatenate([alone, evidence.sum(axis=0)[None] - math.log(2)]), axis=0)
    return both


def mean_of(evidence: Floats) -> Floats:
    """One figure out of several looks at the same rows (along the last axis)."""
    found: Floats = special.logsumexp(evidence, axis=-1) - math.log(evidence.shape[-1])
    return found


def area(score: Floats, value: Floats) -> tuple[float, float]:
    """The area under the ROC curve and its variance by DeLong [6], never below Hanley and McNeil's [7]: with few positives
    all of which rank first, the former is 0. NaN and infinity with one class only."""
    positive, negative = np.sort(score[value > 0.5]), np.sort(score[value <= 0.5])
    ups, downs = len(positive), len(negative)
    if min(ups, downs) < 2:
        return math.nan, math.inf
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    above = 2 * ups - np.searchsorted(positive, negative, "left") - np.searchsorted(positive, negative, "right")
    found = float(below.sum()) / (2 * ups * downs)
    delong = float(np.var(below / (2 * downs), ddof=1)) / ups + float(np.var(above / (2 * ups), ddof=1)) / downs
    return found, max(delong, float(area_variance(found, ups, downs)))


def area_difference(score: Floats, other: Floats, value: Floats) -> tuple[float, float, float, float]:
    """How much less one area is than the other's on the same rows, the variance of that by DeLong [6], and both areas.

    What both versions find hard cancels out, so the variance is that of the rows on which they differ. It is never below a share of
    what it would be on rows of their own: few rows may happen to show no difference at all.
    """
    up = value > 0.5
    here, own_ups, own_downs = _placements(score[up], score[~up])
    there, other_ups, other_downs = _placements(other[up], other[~up])
    ups, downs = len(own_ups), len(own_downs)
    if min(ups, downs) < 2:
        return math.nan, math.inf, here, there
    delong = np.var(own_ups - other_ups, ddof=1) / ups + np.var(own_downs - other_downs, ddof=1) / downs
    alone = area_variance(here, ups, downs) + area_variance(there, ups, downs)
    return there - here, max(float(delong), _LEAST_PAIRED * float(alone)), here, there


def mean_difference(errors: Floats, others: Floats) -> tuple[float, float, float, float]:
    """How much larger the errors are on average than the other's on the same rows, the variance of that, and both means."""
    rows, apart = len(errors), errors - others
    alone = float(np.var(errors, ddof=1) + np.var(others, ddof=1)) / rows
    variance = max(float(np.var(apart, ddof=1)) / rows, _LEAST_PAIRED * alone, 1e-300)
    return float(apart.mean()), variance, float(errors.mean()), float(others.mean())


def _placements(ups: Floats, downs: Floats) -> tuple[float, Floats, Floats]:
    """The area, and for each row the share of the other class that it ranks right against (ties count half)."""
    positive, negative = np.sort(ups), np.sort(downs)
    if not len(ups) or not len(downs):
        return math.nan, ups, downs
    below = np.searchsorted(negative, ups, "left") + np.searchsorted(negative, ups, "right")
    under = np.searchsorted(positive, downs, "left") + np.searchsorted(positive, downs, "right")
    placed = below / (2 * len(downs))
    return float(placed.mean()), placed, 1 - under / (2 * len(ups))


def area_variance(auc: Any, positives: Any, negatives: Any) -> Floats:
    """What the variance of an area is likely to be: Hanley and McNeil [7]; between 0.5 and 0.97, beyond which it says too little."""
    auc = np.clip(auc, 0.5, 0.97)
    ups, downs = np.asarray(positives, float), np.asarray(negatives, float)
    both, twice = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    found: Floats = (auc * (1 - auc) + (ups - 1) * (both - auc**2) + (downs - 1) * (twice - auc**2)) / np.maximum(
        ups * downs, 1e-9
    )
    return found


@functools.lru_cache(maxsize=1024)
def information_needed(loss: float, alpha: float) -> float:
    """How much information (1 / variance of the difference) finds a loss in 80 of 100 runs.

    >>> round(information_needed(0.1, 0.02) ** -0.5, 3)
    0.025
    """
    wanted = math.log(1 / alpha)

    def finds(roots: Floats) -> npt.NDArray[np.bool_]:
        return against_difference(loss - _USUAL_QUANTILE / roots, roots**-2, scale=loss) >= wanted

    return least(finds, 1 / loss, 100 / loss) ** 2


def rows_needed(share: float, ratio: float, *, above: float, alpha: float) -> float:
    """How many answers of a canary show in 80 of 100 runs that its share is not above the other's by `above`, when both
    have this share and there are `ratio` answers of the other for each of it."""
    return _rows_needed(float(f"{min(max(share, 1e-6), 1 - 1e-6):.1e}"), float(f"{ratio:.1e}"), above, alpha)


@functools.lru_cache(maxsize=4096)
def _rows_needed(share: float, ratio: float, above: float, alpha: float) -> float:
    wanted = math.log(1 / alpha)

    def shows(rows: Floats) -> npt.NDArray[np.bool_]:
        unlucky = _USUAL_QUANTILE * np.sqrt(rows * share * (1 - share) * (1 + 1 / ratio))
        hits = np.minimum(rows * share + unlucky, rows)
        return against_shares(hits, rows, ratio * rows * share, ratio * rows, above=above, worse=False) >= wanted

    return least(shows, 1.0, 1e8)


def pairs_needed(differ: float, *, above: float, alpha: float) -> float:
    """How many requests that both answered show in 80 of 100 runs that neither share is `above` larger, when they differ on this
    share of them, half of these each way."""
    return _pairs_needed(float(f"{min(max(differ, 1e-6), 1.0):.1e}"), above, alpha)


@functools.lru_cache(maxsize=4096)
def _pairs_needed(differ: float, above: float, alpha: float) -> float:
    wanted = math.log(1 / alpha)

    def shows(rows: Floats) -> npt.NDArray[np.bool_]:
        unlucky = np.minimum(_USUAL_QUANTILE * np.sqrt(rows * differ), rows * differ) / 2
        ups, downs = rows * differ / 2 + unlucky, rows * differ / 2 - unlucky
        return against_paired(ups, downs, rows, above=above) >= wanted

    return least(shows, 1.0, 1e8)


def least(holds: Callable[[Floats], npt.NDArray[np.bool_]], low: float, high: float, steps: int = 50) -> float:
    """The least value from which on something holds, within a hundredth; infinity when it does not hold at the end."""
    for _ in range(2):
        grid = np.geomspace(low, high, steps)
        fails = np.flatnonzero(~holds(grid))
        if not len(fails):
            return low
        if fails[-1] == steps - 1:
            return math.inf
        low, high = float(grid[fails[-1]]), float(grid[fails[-1] + 1])
    return high
