"""How uncertain a figure is said to be."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.domain.intervals import MOST_ROWS, with_intervals
from services.trainer.domain.judging import evaluate
from tenon.core.manifest import Evaluation
from tenon.core.specs.model import Task


def judged(rows: int, seed: int, *, positives: float = 0.3) -> Evaluation:
    """A model that tells the classes apart a little: the true ROC AUC is 0.714 (d' = 0.8)."""
    draws = np.random.default_rng(seed)
    label = (draws.random(rows) < positives).astype(np.float64)
    score = 1 / (1 + np.exp(-(draws.normal(size=rows) + 0.8 * label)))
    return with_intervals(Task.BINARY, evaluate(Task.BINARY, label, score), label, score, seed=0)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of 60 tests of 300 rows, the 95 % interval of ROC AUC holds the true 0.714 in at least 52."""
    bounds = [judged(300, seed).intervals["roc_auc"] for seed in range(60)]
    assert sum(low <= 0.7142 <= high for low, high in bounds) >= 52


def test_more_rows_are_surer_also_beyond_the_rows_that_are_drawn() -> None:
    """Four times the rows halve the interval, where all rows are drawn from and where only a part is."""
    widths = [np.subtract(*judged(rows, 1).intervals["roc_auc"][::-1]) for rows in (2_000, 8_000, 4 * MOST_ROWS)]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.25)
    assert widths[1] / widths[2] == pytest.approx(np.sqrt(4 * MOST_ROWS / 8_000), rel=0.25)


def test_the_same_rows_give_the_same_interval_around_the_figure() -> None:
    """Every metric has an interval, it holds the figure, and asking again gives the same bits."""
    found = judged(500, 3)
    assert found.intervals.keys() == found.metrics.keys()
    assert all(low < found.metrics[name] < high for name, (low, high) in found.intervals.items())
    assert found == judged(500, 3)


def test_no_interval_is_invented() -> None:
    """Five rows say nothing about themselves; with two positives in fifty rows many draws have no ranking to judge."""
    assert judged(5, 0).intervals == {}
    label, score = np.zeros(50), np.linspace(0.1, 0.9, 50)
    label[[10, 40]] = 1
    found = with_intervals(Task.BINARY, evaluate(Task.BINARY, label, score), label, score, seed=0)
    assert set(found.intervals) == {"log_loss", "brier"}


def test_regression_has_intervals_too() -> None:
    """MAE, RMSE and R² of noise of deviation 1 are told with an interval around them."""
    draws = np.random.default_rng(4)
    label = draws.normal(size=400) * 3
    predicted = label + draws.normal(size=400)
    found = with_intervals(Task.REGRESSION, evaluate(Task.REGRESSION, label, predicted), label, predicted, seed=0)
    low, high = found.intervals["rmse"]
    assert low < 1 < high
    assert set(found.intervals) == {"mae", "rmse", "r2"}
