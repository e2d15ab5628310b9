"""Figures, baselines and gates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from services.trainer.domain.judging import (
    best_candidate,
    binary_metrics,
    evaluate,
    judge_gates,
    naive_baseline,
    regression_metrics,
)
from tenon.core.manifest import Evaluation
from tenon.core.specs import Gate
from tenon.core.specs.model import Task

scored = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=80)


@given(scored)
def test_binary_metrics_are_those_of_scikit_learn(drawn: list[tuple[bool, int]]) -> None:
    """ROC AUC, PR AUC, log loss and Brier agree with scikit-learn, ties and all."""
    label = np.array([float(positive) for positive, _ in drawn])
    probability = np.array([0.01 + score / 21 for _, score in drawn])
    assume(0 < label.sum() < len(label))
    found = binary_metrics(label, probability)
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(label, probability))
    assert found["pr_auc"] == pytest.approx(reference.average_precision_score(label, probability))
    assert found["log_loss"] == pytest.approx(reference.log_loss(label, probability))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(label, probability))


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=50))
def test_regression_metrics_are_those_of_scikit_learn(drawn: list[tuple[float, float]]) -> None:
    """MAE, RMSE and R² agree with scikit-learn."""
    label, predicted = (np.array(values) for values in zip(*drawn, strict=True))
    assume(np.ptp(label) > 1e-3)
    found = regression_metrics(label, predicted)
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(label, predicted))
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(label, predicted))
    assert found["r2"] == pytest.approx(reference.r2_score(label, predicted))


def test_ranking_is_left_out_where_it_is_not_defined() -> None:
    """With one class in the test rows there is no ROC AUC and no PR AUC, and a certain wrong answer costs no infinity."""
    found = evaluate(Task.BINARY, np.ones(3), np.array([0.0, 0.5, 1.0]))
    assert set(found.metrics) == {"log_loss", "brier"}
    assert np.isfinite(found.metrics["log_loss"])
    assert "r2" not in regression_metrics(np.ones(3), np.zeros(3))


def test_each_metric_has_its_own_best_naive_answer() -> None:
    """The rate for yes/no; the median for mae and the mean for rmse, because each is the best constant for its metric."""
    skewed = np.array([0.0, 0.0, 0.0, 0.0, 100.0])
    naive = naive_baseline(Task.REGRESSION, skewed, skewed)
    assert naive.metrics["mae"] == 20.0
    assert naive.metrics["r2"] == pytest.approx(0.0)
    rate = naive_baseline(Task.BINARY, np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.0, 1.0]))
    assert rate.metrics["brier"] == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert rate.metrics["roc_auc"] == 0.5


def test_gates_say_what_was_wanted_and_found() -> None:
    """Minimum, maximum and the baseline are judged together, and a figure that is not defined meets nothing."""
    model = Evaluation(rows=10, metrics={"roc_auc": 0.7, "log_loss": 0.5})
    naive = Evaluation(rows=10, metrics={"roc_auc": 0.5, "log_loss": 0.4})
    gates = [
        Gate(metric="roc_auc", min=0.6, beats_baseline=True),
        Gate(metric="roc_auc", min=0.8),
        Gate(metric="log_loss", max=0.6, beats_baseline=True),
        Gate(metric="pr_auc", min=0.1),
    ]
    good, low, worse, undefined = judge_gates(Task.BINARY, gates, model, naive)
    assert good.passed
    assert (low.passed, low.message) == (False, "roc_auc is 0.7; wanted roc_auc ≥ 0.8")
    assert not worse.passed
    assert "0.4" in worse.message
    assert (undefined.passed, undefined.value) == (False, None)


def test_candidates_are_compared_by_the_metric_in_its_direction() -> None:
    """More is better for roc_auc, less for log_loss; an undefined figure never wins."""
    figures = {"a": {"roc_auc": 0.6, "log_loss": 0.3}, "b": {"roc_auc": 0.7, "log_loss": 0.4}, "c": {}}
    assert best_candidate(Task.BINARY, "roc_auc", figures) == "b"
    assert best_candidate(Task.BINARY, "log_loss", figures) == "a"
    assert best_candidate(Task.BINARY, "roc_auc", {"c": {}, "a": figures["a"]}) == "a"
