"""Do answers mean what they say? Reliability bins, error against its noise, and lines of truths on answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from services.monitor.domain.quality.words import Calibrated, Calibration, CalibrationBin

if TYPE_CHECKING:
    import numpy.typing as npt

    from tenon.core.manifest import PredictionInterval

    Floats = npt.NDArray[np.float64]

_Z95 = 1.959963984540054
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class CalibrationPolicy:
    """When answers are called miscalibrated: surely, and by enough to matter."""

    bins: int = 10
    min_rows: int = 100
    min_class: int = 20
    confidence: float = 0.95
    # Of the error less its noise: two points of probability, or a twentieth of the truths' deviation.
    floor: float = 0.02
    regression_floor: float = 0.05


def judge_calibration(
    task: Literal["binary", "regression"], version: int, score: Floats, value: Floats, policy: CalibrationPolicy, *,
    interval: PredictionInterval | None = None,
) -> Calibration:  # fmt: skip
    """A version's labelled rows, which are finite (and 0 or 1 for binary tasks), in bins of equal size by answer.

    A verdict needs a bin whose truths differ surely from its answers (Bonferroni over the bins), and an error above its
    noise by the floor.

    Cox, D. (1958). Two further applications of a model for binary regression. Biometrika 45.
    Wilson, E. (1927). Probable inference. J. Am. Stat. Assoc. 22.
    Broecker, J., Smith, L. (2007). Increasing the reliability of reliability diagrams. Weather and Forecasting 22.
    """
    rows = len(score)
    few = rows < policy.min_rows or (task == "binary" and min(value.sum(), rows - value.sum()) < policy.min_class)
    if rows < 2 or (few and rows < policy.bins):
        return _nothing(version, rows, f"{rows:,} labels; at least {policy.min_rows:,} are needed")
    places = _bins(score, policy.bins)
    count = np.bincount(places).astype(np.float64)
    answer, truth = np.bincount(places, score) / count, np.bincount(places, value) / count
    if task == "binary":
        low, high = wilson(truth, count, _Z95)
        spread = np.sqrt(np.maximum(np.bincount(places, score * (1 - score)) / count, 0) / count)
        slope, intercept = logistic_line(score, value)
        floor = policy.floor
    else:
        squares = np.bincount(places, (value - truth[places]) ** 2) / np.maximum(count - 1, 1)
        spread = np.sqrt(squares / count)
        low, high = truth - _Z95 * spread, truth + _Z95 * spread
        slope, intercept = _straight_line(score, value)
        floor = policy.regression_floor * float(value.std())
    error = float(np.average(np.abs(answer - truth), weights=count))
    # The mean of |x| for a normal x is its deviation times this.
    noise = float(np.average(spread, weights=count)) * math.sqrt(2 / math.pi)
    gap = score - value
    large, half = float(gap.mean()), _Z95 * float(gap.std(ddof=1)) / math.sqrt(rows)
    limit = float(special.ndtri(1 - (1 - policy.confidence) / 2 / len(count)))
    away = answer - truth
    surely = np.abs(away) > limit * np.where(spread > 0, spread, np.inf)
    verdict = Calibrated.CALIBRATED
    if few:
        verdict = Calibrated.NOT_ENOUGH_EVIDENCE
    elif surely.any() and error - noise > floor:
        signs = np.sign(away[surely])
        verdict = (
            Calibrated.MISCALIBRATED if len(set(signs.tolist())) > 1
            else Calibrated.TOO_HIGH if signs[0] > 0 else Calibrated.TOO_LOW
        )  # fmt: skip
    coverage = None if interval is None else _coverage(interval, score, value)
    return Calibration(
        version=version, rows=rows, verdict=verdict,
        bins=tuple(
            CalibrationBin(int(n), *map(float, four)) for n, *four in zip(count, answer, truth, low, high, strict=True)
        ),
        error=error, noise=noise, in_the_large=large, in_the_large_low=large - half, in_the_large_high=large + half,
        slope=slope, intercept=intercept, coverage=coverage, nominal=None if interval is None else interval.coverage,
        summary=_summary(verdict, rows, error, noise, large, policy.min_rows),
    )  # fmt: skip


def wilson(share: Floats, rows: Floats, z: float) -> tuple[Floats, Floats]:
    """Wilson's interval of shares."""
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return centre - half, centre + half


def logit(score: Floats) -> Floats:
    """The log odds, within what float64 can tell from certainty."""
    clipped = np.clip(score, _EDGE, 1 - _EDGE)
    return np.log(clipped) - np.log1p(-clipped)


def logistic_line(score: Floats, value: Floats) -> tuple[float, float]:
    """Slope and intercept of the truths' log odds on the answers': 1 and 0 for calibrated answers."""
    (slope, intercept), _ = fit_logistic(logit(score), value)
    return slope, intercept


def fit_logistic(odds: Floats, value: Floats) -> tuple[tuple[float, float], Floats]:
    """(slope, intercept) by Newton's method and their covariance, with a whisper of ridge towards (1, 0) so that separable
    rows have an answer."""
    design = np.stack([odds, np.ones_like(odds)], axis=1)
    prior, ridge = np.array([1.0, 0.0]), 1e-3
    found = prior.copy()
    hessian: Floats = np.eye(2)
    for _ in range(30):
        chance = special.expit(design @ found)
        gradient = design.T @ (value - chance) - ridge * (found - prior)
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + ridge * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        # A step beyond reason (all answers alike) is shortened.
        found = found + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-9:
            break
    covariance = np.asarray(np.linalg.inv(hessian), np.float64)
    return (float(found[0]), float(found[1])), covariance


def _bins(score: Floats, wanted: int) -> npt.NDArray[np.int64]:
    """Which bin each row is in: bins of equal size, none empty, equal answers together."""
    edges = np.unique(np.quantile(score, np.arange(1, wanted) / wanted))
    return np.unique(np.searchsorted(edges, score, side="right"), return_inverse=True)[1].astype(np.int64)


def _straight_line(score: Floats, value: Floats) -> tuple[float, float]:
    centred = score - score.mean()
    spread = float(centred @ centred)
    slope = float(centred @ value) / spread if spread > 0 else 0.0
    return slope, float(value.mean() - slope * score.mean())


def _coverage(interval: PredictionInterval, score: Floats, value: Floats) -> float:
    place = np.searchsorted(np.asarray(interval.edges), score, side="right")
    low, high = score + np.asarray(interval.low)[place], score + np.asarray(interval.high)[place]
    if interval.least is not None:
        low, high = np.maximum(low, interval.least), np.maximum(high, interval.least)
    if interval.greatest is not None:
        low, high = np.minimum(low, interval.greatest), np.minimum(high, interval.greatest)
    return float(np.mean((low <= value) & (value <= high)))


def _nothing(version: int, rows: int, text: str) -> Calibration:
    nan = math.nan
    return Calibration(
        version, rows, Calibrated.NOT_ENOUGH_EVIDENCE, (), nan, nan, nan, nan, nan, nan, nan, None, None, text
    )  # fmt: skip


def _summary(verdict: Calibrated, rows: int, error: float, noise: float, large: float, needed: int) -> str:
    if verdict is Calibrated.NOT_ENOUGH_EVIDENCE:
        return f"{rows:,} labels are too few to say (at least {needed:,}, and 20 of the rarer class)"
    figures = f"mean distance {error:.3g}, of which chance explains {noise:.3g} (n = {rows:,})"
    words = {
        Calibrated.CALIBRATED: "answers mean what they say",
        Calibrated.TOO_HIGH: f"answers are too high, by {large:.3g} on the whole",
        Calibrated.TOO_LOW: f"answers are too low, by {-large:.3g} on the whole",
        Calibrated.MISCALIBRATED: "answers are too high in some places and too low in others",
    }
    return f"{words[verdict]}: {figures}"
