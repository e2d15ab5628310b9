"""Figures on a test set, the naive baseline they must beat, and the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from services.trainer.domain.ports import Floats
from tenon.core.manifest import Evaluation, GateResult
from tenon.core.specs import Gate
from tenon.core.specs.model import METRICS, Task


def evaluate(task: Task, label: Floats, predicted: Floats) -> Evaluation:
    """Every metric of the task that is defined for these rows (ranking needs both classes)."""
    if task is Task.BINARY:
        return Evaluation(
            rows=len(label), positives=int(np.count_nonzero(label == 1)), metrics=binary_metrics(label, predicted)
        )
    return Evaluation(rows=len(label), metrics=regression_metrics(label, predicted))


def naive_baseline(task: Task, train_label: Floats, test_label: Floats) -> Evaluation:
    """The best answer that looks at no feature: the training rate, or the training mean (for `mae` the median).

    Each metric gets its own best constant, so that beating it means something.
    """
    constant = np.full(len(test_label), train_label.mean())
    if task is Task.BINARY:
        return evaluate(task, test_label, constant)
    median = np.full(len(test_label), np.median(train_label))
    figures = {**regression_metrics(test_label, constant), "mae": regression_metrics(test_label, median)["mae"]}
    return Evaluation(rows=len(test_label), metrics=figures)


def binary_metrics(label: Floats, probability: Floats) -> dict[str, float]:
    """ROC AUC, PR AUC (average precision), log loss and Brier score, as scikit-learn defines them.

    >>> import numpy as np
    >>> binary_metrics(np.array([0.0, 1.0]), np.array([0.2, 0.8]))["roc_auc"]
    1.0
    """
    clipped = np.clip(probability, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    figures = {
        "log_loss": float(-np.mean(label * np.log(clipped) + (1 - label) * np.log1p(-clipped))),
        "brier": float(np.mean((probability - label) ** 2)),
    }
    positives = float(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return figures
    order = np.argsort(-probability, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(probability[order])), len(label) - 1)
    true_positives = np.cumsum(label[order])[last_of_tie]
    predicted = last_of_tie + 1.0
    false_positives = predicted - true_positives
    recall_steps = np.diff(true_positives, prepend=0.0) / positives
    roc_heights = (true_positives + np.append(0.0, true_positives[:-1])) / 2 / positives
    roc_steps = np.diff(false_positives, prepend=0.0) / negatives
    return {
        "roc_auc": float(np.sum(roc_heights * roc_steps)),
        "pr_auc": float(np.sum(recall_steps * true_positives / predicted)),
        **figures,
    }


def regression_metrics(label: Floats, predicted: Floats) -> dict[str, float]:
    """Mean absolute error, root mean squared error, and the share of variance explained (undefined for a constant)."""
    errors = predicted - label
    figures = {"mae": float(np.mean(np.abs(errors))), "rmse": float(np.sqrt(np.mean(errors**2)))}
    spread = float(np.sum((label - label.mean()) ** 2))
    if spread > 0:
        figures["r2"] = float(1 - np.sum(errors**2) / spread)
    return figures


def is_better(task: Task, metric: str, one: float, other: float) -> bool:
    """Whether the first figure is better than the second."""
    return one > other if METRICS[task][metric] else one < other


def best_candidate(task: Task, metric: str, candidates: Mapping[str, Mapping[str, float]]) -> str:
    """The estimator with the best figure on the validation rows; the first one wins a tie or when none has a figure."""
    names = list(candidates)
    best = names[0]
    for name in names[1:]:
        figure, leader = candidates[name].get(metric), candidates[best].get(metric)
        if figure is not None and (leader is None or is_better(task, metric, figure, leader)):
            best = name
    return best


def judge_gates(task: Task, gates: Sequence[Gate], model: Evaluation, baseline: Evaluation) -> list[GateResult]:
    """Each gate of the document against the test figures. A figure that is not defined meets no gate."""
    return [_judge(task, gate, model.metrics.get(gate.metric), baseline.metrics.get(gate.metric)) for gate in gates]


def _judge(task: Task, gate: Gate, value: float | None, naive: float | None) -> GateResult:
    wanted, failed = [], []
    if gate.min is not None:
        wanted.append(f"{gate.metric} ≥ {gate.min:g}")
        if value is None or value < gate.min:
            failed.append(wanted[-1])
    if gate.max is not None:
        wanted.append(f"{gate.metric} ≤ {gate.max:g}")
        if value is None or value > gate.max:
            failed.append(wanted[-1])
    if gate.beats_baseline:
        wanted.append(f"{gate.metric} better than the naive baseline")
        if value is None or naive is None or not is_better(task, gate.metric, value, naive):
            failed.append(wanted[-1] + (f" ({naive:.4g})" if naive is not None else ""))
    name = " and ".join(wanted)
    if value is None:
        return GateResult(
            gate=name, passed=False, value=None, message=f"{gate.metric} is not defined on these test rows"
        )
    if failed:
        return GateResult(
            gate=name, passed=False, value=value, message=f"{gate.metric} is {value:.4g}; wanted {' and '.join(failed)}"
        )
    return GateResult(gate=name, passed=True, value=value, message=f"{gate.metric} is {value:.4g}")
