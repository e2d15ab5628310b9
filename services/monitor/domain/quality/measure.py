"""Were the answers as good as promised? The task's metrics on matured labels, with intervals, against the test's figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from services.monitor.domain.model import Quality, QualityFigure
from tenon.core.specs.model import METRICS, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from tenon.core.manifest import Evaluation

    Floats = npt.NDArray[np.float64]

TaskName = Literal["binary", "regression"]

_CHUNK_CELLS = 1_000_000


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """When a figure is called worse or better: outside the uncertainty *and* by more than a relative margin."""

    min_rows: int = 100
    # Of each class, for binary tasks: a rank statistic on three positives says nothing.
    min_class: int = 20
    margin: float = 0.05
    confidence: float = 0.95
    resamples: int = 500
    # Of larger windows so many rows are resampled, and the spread is scaled to all of them.
    resampled_rows: int = 20_000
    seed: int = 0
    # Average precision follows the share of positives; beyond this relative change it is shown and not judged.
    prevalence_tolerance: float = 0.1


def judge_quality(
    task: TaskName,
    version: int,
    score: Floats,
    value: Floats,
    expected: Evaluation,
    policy: QualityPolicy,
) -> tuple[Quality, list[QualityFigure], str]:
    """The verdict on one version's labelled rows, its figures, and why in a few words.

    Each metric is judged at a level that holds for all of the task's metrics together (Bonferroni); the test figure's
    own sampling error is allowed for by its number of rows. One metric that is worse makes the version worse; better it
    is only when its main metric (`roc_auc`, `mae`) is better and none is worse.
    """
    usable = np.isfinite(score) & np.isfinite(value)
    if task == "binary":
        usable &= (value == 0) | (value == 1)
    score, value = score[usable], value[usable]
    rows = len(score)
    if rows < policy.min_rows:
        return Quality.NOT_ENOUGH_EVIDENCE, [], f"{rows:,} labels; at least {policy.min_rows:,} are needed"
    if task == "binary":
        rarer = int(min(value.sum(), rows - value.sum()))
        if rarer < policy.min_class:
            return (
                Quality.NOT_ENOUGH_EVIDENCE,
                [],
                f"{rows:,} labels, but only {rarer:,} of the rarer class; at least {policy.min_class:,} are needed",
            )
    directions = METRICS[Task(task)]
    not_comparable = {"pr_auc"} if _prevalence_moved(value, expected, policy) else set()
    measured = bootstrap(task, score, value, policy)
    widen = math.sqrt(1 + rows / max(expected.rows, 1))
    z = float(special.ndtri(1 - (1 - policy.confidence) / 2 / len(directions)))
    figures = []
    for metric, (point, samples) in measured.items():
        if metric not in expected.metrics:
            continue
        low, high = np.percentile(samples, [100 * (1 - policy.confidence) / 2, 100 * (1 + policy.confidence) / 2])
        figures.append(
            QualityFigure(
                metric=metric,
                version=version,
                rows=rows,
                value=point,
                low=float(low),
                high=float(high),
                expected=expected.metrics[metric],
                verdict=Quality.NOT_ENOUGH_EVIDENCE
                if metric in not_comparable
                else verdict_of(
                    point - expected.metrics[metric],
                    uncertainty=z * float(samples.std(ddof=1)) * widen,
                    margin=max(policy.margin * abs(expected.metrics[metric]), 1e-9),
                    more_is_better=directions[metric],
                ),
            )
        )
    return _together(figures, expected.rows)


def _prevalence_moved(value: Floats, expected: Evaluation, policy: QualityPolicy) -> bool:
    """Whether the share of positives is another than in the test; False where the test does not tell."""
    if not expected.positives or not expected.rows:
        return False
    then = expected.positives / expected.rows
    return abs(float(value.mean()) - then) > policy.prevalence_tolerance * then


def verdict_of(difference: float, *, uncertainty: float, margin: float, more_is_better: bool) -> Quality:
    if abs(difference) <= uncertainty or abs(difference) < margin:
        return Quality.AS_EXPECTED
    return Quality.BETTER if (difference > 0) == more_is_better else Quality.WORSE


def _together(figures: list[QualityFigure], tested: int) -> tuple[Quality, list[QualityFigure], str]:
    """The version's verdict, its figures (worst first), and the figure that decides in words."""
    if not figures:
        return Quality.NOT_ENOUGH_EVIDENCE, [], "the version's test has no figure to compare with"
    rank = {Quality.WORSE: 0, Quality.BETTER: 1, Quality.AS_EXPECTED: 2, Quality.NOT_ENOUGH_EVIDENCE: 3}

    def distance(figure: QualityFigure) -> float:
        return abs(figure.value - figure.expected) / max(abs(figure.expected), 1e-9)

    ordered = sorted(figures, key=lambda figure: (rank[figure.verdict], -distance(figure)))
    main = figures[0]
    decides = ordered[0] if ordered[0].verdict is Quality.WORSE else main
    text = (
        f"{decides.metric} {plain(decides.value)} (95 % interval {plain(decides.low)} to {plain(decides.high)}, "
        f"n = {decides.rows:,}), {plain(decides.expected)} in the version's test"
        + (f" of {tested:,} rows" if tested else "")
    )
    return decides.verdict, ordered, text


def plain(value: float) -> str:
    """A figure as people write it: whole above a thousand, else three digits that count, never in powers of ten.

    >>> plain(1389.6), plain(0.0316), plain(12.345)
    ('1,390', '0.0316', '12.3')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:#.3g}"
    return f"{value:.6f}" if "e" in text else text.rstrip(".")


def bootstrap(task: TaskName, score: Floats, value: Floats, policy: QualityPolicy) -> dict[str, tuple[float, Floats]]:
    """Each metric on the rows, and on resamples of them, as weights so that rows are sorted only once.

    The same rows give the same resamples: the seed is part of the policy. Of a large window a random part is resampled,
    and the deviations shrink with the root of the part's share (standard errors go with one over the root of n).

    Efron, B. (1979). Bootstrap methods: another look at the jackknife. Ann. Stat. 7(1).
    Politis, D., Romano, J. (1994). Large sample confidence regions based on subsamples. Ann. Stat. 22(4).
    """
    # Ascending scores; equal scores form one step of the ranking.
    order = np.lexsort((value, score))
    score, value = score[order], value[order]
    generator = np.random.default_rng(policy.seed)
    points = _on_all(task, score, value)
    if len(score) <= policy.resampled_rows:
        return {name: (points[name], sample) for name, sample in _resample(task, score, value, generator, policy)}
    part = np.sort(generator.choice(len(score), size=policy.resampled_rows, replace=False))
    centre = _on_all(task, score[part], value[part])
    shrink = math.sqrt(len(part) / len(score))
    return {
        name: (points[name], points[name] + (sample - centre[name]) * shrink)
        for name, sample in _resample(task, score[part], value[part], generator, policy)
    }


def _on_all(task: TaskName, score: Floats, value: Floats) -> dict[str, float]:
    """The metrics on rows in ascending order of score, each counted once."""
    return {name: float(metric(np.ones((1, len(score))))[0]) for name, metric in _metrics(task, score, value).items()}


def _metrics(task: TaskName, score: Floats, value: Floats) -> Mapping[str, Callable[[Floats], Floats]]:
    return _binary_metrics(score, value) if task == "binary" else _regression_metrics(score, value)


def _resample(
    task: TaskName, score: Floats, value: Floats, generator: np.random.Generator, policy: QualityPolicy
) -> list[tuple[str, Floats]]:
    """Each metric on `policy.resamples` draws with replacement."""
    metrics = _metrics(task, score, value)
    rows, count = len(score), policy.resamples
    samples: dict[str, list[Floats]] = {name: [] for name in metrics}
    chunk = max(1, _CHUNK_CELLS // rows)
    for begin in range(0, count, chunk):
        some = min(chunk, count - begin)
        drawn = generator.integers(0, rows, size=(some, rows), dtype=np.int64)
        drawn += np.arange(some, dtype=np.int64)[:, None] * rows
        weights = np.bincount(drawn.ravel(), minlength=some * rows).reshape(some, rows).astype(np.float64)
        for name, metric in metrics.items():
            samples[name].append(metric(weights))
    return [(name, np.concatenate(parts)) for name, parts in samples.items()]


def _binary_metrics(score: Floats, value: Floats) -> Mapping[str, Callable[[Floats], Floats]]:
    steps = np.flatnonzero(np.concatenate([[True], np.diff(score) > 0]))
    tiny = float(np.finfo(np.float64).eps)
    clipped = np.clip(score, tiny, 1 - tiny)
    loss = -(value * np.log(clipped) + (1 - value) * np.log1p(-clipped))
    error = (score - value) ** 2

    def classes(weights: Floats) -> tuple[Floats, Floats]:
        positive = weights * value
        if len(steps) == len(score):  # Every score is another.
            return positive, weights - positive
        positive = np.add.reduceat(positive, steps, axis=1)
        return positive, np.add.reduceat(weights, steps, axis=1) - positive

    def roc_auc(weights: Floats) -> Floats:
        positive, negative = classes(weights)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        # A resample of one class has no ranking; it says as little as chance.
        return np.where(pairs > 0, (positive * below).sum(axis=1) / np.maximum(pairs, 1), 0.5)

    def pr_auc(weights: Floats) -> Floats:
        """Average precision: precision at each step, weighted by the recall gained there."""
        positive, negative = (part[:, ::-1] for part in classes(weights))
        found = np.cumsum(positive, axis=1)
        precision = found / np.maximum(found + np.cumsum(negative, axis=1), 1)
        average: Floats = (precision * positive).sum(axis=1) / np.maximum(positive.sum(axis=1), 1)
        return average

    return {"roc_auc": roc_auc, "pr_auc": pr_auc, "log_loss": _mean(loss), "brier": _mean(error)}


def _regression_metrics(score: Floats, value: Floats) -> Mapping[str, Callable[[Floats], Floats]]:
    squared = (score - value) ** 2
    mean_square = _mean(squared)
    # Centred first, so that the variance of large values does not drown in their squares.
    centred = value - value.mean()
    first, second = _mean(centred), _mean(centred**2)

    def rmse(weights: Floats) -> Floats:
        root: Floats = np.sqrt(mean_square(weights))
        return root

    def r2(weights: Floats) -> Floats:
        variance = second(weights) - first(weights) ** 2
        explained: Floats = 1 - mean_square(weights) / np.maximum(variance, 1e-300)
        return np.where(variance > 0, explained, 0.0)

    return {"mae": _mean(np.abs(score - value)), "rmse": rmse, "r2": r2}


def _mean(values: Floats) -> Callable[[Floats], Floats]:
    def mean(weights: Floats) -> Floats:
        result: Floats = (weights @ values) / weights.sum(axis=1)
        return result

    return mean
