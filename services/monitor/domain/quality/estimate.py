"""Quality before labels come: what the answers themselves, or a model of the errors, let expect.

All of it assumes that the concept has not changed: the same inputs mean what they meant when the labels came that it was
fitted on. Against a changed concept no estimate from inputs helps; `concept` watches for that once labels are there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from services.monitor.domain.model import Quality
from services.monitor.domain.quality.calibration import fit_logistic, logit
from services.monitor.domain.quality.loss_model import fit_losses
from services.monitor.domain.quality.measure import QualityPolicy, verdict_of
from services.monitor.domain.quality.words import Basis, Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from tenon.core.manifest import Evaluation, PredictionInterval

    Floats = npt.NDArray[np.float64]

_DRAWS = 200
_MOST_DRAWN = 20_000
_TAIL = 0.025
_MORE_IS_BETTER = {"roc_auc": True, "pr_auc": True, "log_loss": False, "brier": False, "mae": False, "rmse": False}


@dataclass(frozen=True, slots=True)
class Known:
    """Labelled rows from before the window: what an estimate is fitted on."""

    score: Floats
    value: Floats
    columns: Mapping[str, Floats]


def estimate_binary(
    version: int, score: Floats, known: Known, expected: Evaluation, policy: QualityPolicy
) -> list[Estimate]:
    """Confidence-based estimation: with calibrated probabilities the expected value of each metric follows from them alone.

    The probabilities are calibrated on the labels that were known before (a line in log odds); without enough of them they
    are taken as they are. The interval holds what chance does to the labels and, by draws, how well the line is known.

    Example: NannyML's CBPE, https://nannyml.readthedocs.io (how it works, confidence-based performance estimation).
    """
    score = score[np.isfinite(score)]
    if len(score) < policy.min_rows:
        return []
    generator = np.random.default_rng(policy.seed)
    odds = logit(score)
    enough = (
        len(known.score) >= policy.min_rows
        and min(known.value.sum(), len(known.value) - known.value.sum()) >= policy.min_class
    )
    basis, lines = Basis.PROBABILITIES, np.tile([1.0, 0.0], (_DRAWS, 1))
    line = (1.0, 0.0)
    if enough:
        line, covariance = fit_logistic(logit(known.score), known.value)
        basis, lines = Basis.LABELS, generator.multivariate_normal(line, covariance, size=_DRAWS)
    chance = special.expit(line[0] * odds + line[1])
    points = expected_metrics(score, chance)
    part = np.arange(len(score))
    if len(score) > _MOST_DRAWN:
        part = np.sort(generator.choice(len(score), _MOST_DRAWN, replace=False))
    shrink = math.sqrt(len(part) / len(score))
    order = part[np.argsort(score[part], kind="stable")]
    ranks = _Ranks(score[order])
    drawn: dict[str, list[float]] = {name: [] for name in points}
    for slope, intercept in lines:
        likely = special.expit(slope * odds[order] + intercept)
        truth = (generator.random(len(order)) < likely).astype(np.float64)
        for name, value in ranks.metrics(score[order], truth).items():
            drawn[name].append(value)
    found = []
    for name, point in points.items():
        samples = np.array(drawn[name])
        samples = point + (samples - np.median(samples)) * shrink
        found.append(_estimate(name, version, len(score), point, samples, expected, basis, len(known.score) if enough else 0, policy))  # fmt: skip
    return found


def estimate_regression(
    version: int, score: Floats, columns: Mapping[str, Floats], known: Known, expected: Evaluation,
    interval: PredictionInterval | None, policy: QualityPolicy,
) -> list[Estimate]:  # fmt: skip
    """Direct loss estimation: a small model of the errors, fitted on the labels that were known before, says how large they
    are for the window's answers and inputs. Without enough labels the widths of the test's intervals say it.

    Example: NannyML's DLE, https://nannyml.readthedocs.io (how it works, direct loss estimation).
    """
    usable = np.isfinite(score)
    score = score[usable]
    rows = len(score)
    if rows < policy.min_rows:
        return []
    generator = np.random.default_rng(policy.seed)
    if len(known.score) >= policy.min_rows:
        now = {name: values[usable] for name, values in columns.items() if name in known.columns}
        before = {name: known.columns[name] for name in now}
        found = []
        for name, losses in (("mae", np.abs(known.score - known.value)), ("rmse", (known.score - known.value) ** 2)):
            model = fit_losses(known.score, before, losses, seed=policy.seed)
            mean = float(model.predict(score, now).mean())
            # Where errors are larger they also vary more, and fewer of the labels are of that kind.
            harder = max(mean / model.base, 1.0) if model.base > 0 else 1.0
            error = model.deviation * harder * math.sqrt(1 / rows + harder / len(losses))
            draws = np.maximum(mean + generator.standard_normal(500) * error, 0)
            point, samples = (mean, draws) if name == "mae" else (math.sqrt(mean), np.sqrt(draws))
            found.append(_estimate(name, version, rows, point, samples, expected, Basis.LABELS, len(losses), policy))
        return found
    if interval is None:
        return []
    place = np.searchsorted(np.asarray(interval.edges), score, side="right")
    half = (np.asarray(interval.high) - np.asarray(interval.low))[place] / 2
    # As if errors were normal: the half width is so many deviations.
    deviation = half / float(special.ndtri(0.5 + interval.coverage / 2))
    mean_error = deviation * math.sqrt(2 / math.pi)
    spread = float(np.sqrt(np.mean(deviation**2 * (1 - 2 / math.pi)) / rows + np.var(mean_error) / rows))
    point = float(mean_error.mean())
    relative = 1 / math.sqrt(2 * max(interval.calibration_rows, 1))
    samples = point + generator.standard_normal(500) * math.hypot(spread, point * relative)
    return [
        _estimate(
            "mae", version, rows, point, samples, expected, Basis.INTERVAL, interval.calibration_rows, policy
        )
    ]  # fmt: skip


def expected_metrics(score: Floats, chance: Floats) -> dict[str, float]:
    """The expected metrics of answers whose truths are 1 with these chances. Of the ranking, pairs of a row with itself are
    left out, as no row is both.

    >>> found = expected_metrics(np.array([0.2, 0.8]), np.array([0.0, 1.0]))
    >>> found["roc_auc"], round(found["brier"], 3)
    (1.0, 0.04)
    """
    clipped = np.clip(score, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    loss = -(chance * np.log(clipped) + (1 - chance) * np.log1p(-clipped))
    brier = chance * (1 - score) ** 2 + (1 - chance) * score**2
    order = np.argsort(score, kind="stable")
    auc, precision = _Ranks(score[order]).ranking(chance[order], own_pairs=True)
    return {"roc_auc": auc, "pr_auc": precision, "log_loss": float(loss.mean()), "brier": float(brier.mean())}


class _Ranks:
    """Steps of equal answers, ascending."""

    def __init__(self, score: Floats) -> None:
        self._steps = np.flatnonzero(np.concatenate([[True], np.diff(score) > 0]))

    def metrics(self, score: Floats, truth: Floats) -> dict[str, float]:
        """On drawn truths."""
        clipped = np.clip(score, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
        auc, precision = self.ranking(truth, own_pairs=False)
        loss = float(-(truth * np.log(clipped) + (1 - truth) * np.log1p(-clipped)).mean())
        return {"roc_auc": auc, "pr_auc": precision, "log_loss": loss, "brier": float(((score - truth) ** 2).mean())}

    def ranking(self, positive: Floats, *, own_pairs: bool) -> tuple[float, float]:
        """(area under the curve, average precision) of weights of positives in ascending order of answers."""
        up = np.add.reduceat(positive, self._steps)
        down = np.add.reduceat(1 - positive, self._steps)
        below = np.cumsum(down) - down / 2
        pairs = float(up.sum() * down.sum())
        right = float(up @ below)
        if own_pairs:
            own = float((positive * (1 - positive)).sum())
            pairs, right = pairs - own, right - own / 2
        found = np.cumsum(up[::-1])
        share = found / np.maximum(found + np.cumsum(down[::-1]), 1e-300)
        total = float(up.sum())
        return right / pairs if pairs > 0 else 0.5, float(share @ up[::-1]) / total if total > 0 else 0.0


def _estimate(
    name: str, version: int, rows: int, point: float, samples: Floats, expected: Evaluation, basis: Basis, basis_rows: int,
    policy: QualityPolicy,
) -> Estimate:  # fmt: skip
    low, high = (float(edge) for edge in np.quantile(samples, [_TAIL, 1 - _TAIL]))
    wanted = expected.metrics.get(name)
    verdict = Quality.NOT_ENOUGH_EVIDENCE
    # Average precision follows the share of positives, which an estimate does not know better than the model.
    if wanted is not None and name != "pr_auc":
        widen = math.sqrt(1 + rows / max(expected.rows, 1))
        limit = float(special.ndtri(1 - (1 - policy.confidence) / 2 / len(_MORE_IS_BETTER)))
        verdict = verdict_of(
            point - wanted,
            uncertainty=limit * float(samples.std(ddof=1)) * widen,
            margin=max(policy.margin * abs(wanted), 1e-9),
            more_is_better=_MORE_IS_BETTER[name],
        )
    return Estimate(name, version, rows, point, low, high, wanted, basis, basis_rows, verdict)
