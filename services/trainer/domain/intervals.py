"""How far a figure might have been off: 95 % bootstrap intervals of the figures of one test.

The rows of the test are drawn again with replacement, and the middle 95 % of the figures that come out is the interval.
The draws are seeded, so the same rows give the same interval. Of a large test a random part is drawn from, and the
deviations are scaled by the root of the part's share, because standard errors go with one over the root of the rows.

Efron, "Bootstrap methods: another look at the jackknife" (1979); Politis and Romano, "Large sample confidence regions
based on subsamples under minimal assumptions" (1994).
"""

from __future__ import annotations

import math

import numpy as np

from services.trainer.domain.judging import binary_metrics, regression_metrics
from services.trainer.domain.ports import Floats
from tenon.core.manifest import Evaluation
from tenon.core.specs.model import Task

RESAMPLES = 400
MOST_ROWS = 10_000
FEWEST_ROWS = 20
_SHARES = (0.025, 0.975)


def with_intervals(task: Task, evaluation: Evaluation, label: Floats, predicted: Floats, *, seed: int) -> Evaluation:
    """The evaluation with the 95 % interval of each metric. Very few rows tell nothing about themselves: no interval."""
    if len(label) < FEWEST_ROWS:
        return evaluation
    draws = np.random.default_rng(seed)
    part = np.arange(len(label))
    if len(part) > MOST_ROWS:
        part = draws.choice(part, MOST_ROWS, replace=False)
    metrics = binary_metrics if task is Task.BINARY else regression_metrics
    centre, shrink = metrics(label[part], predicted[part]), math.sqrt(len(part) / len(label))
    found: dict[str, list[float]] = {name: [] for name in evaluation.metrics}
    for _ in range(RESAMPLES):
        rows = part[draws.integers(0, len(part), len(part))]
        for name, figure in metrics(label[rows], predicted[rows]).items():
            if name in found and name in centre:
                found[name].append(evaluation.metrics[name] + (figure - centre[name]) * shrink)
    # A draw of one class has no ranking; where that happens often, an interval of the rest would be too narrow.
    bounds = {name: np.quantile(some, _SHARES) for name, some in found.items() if len(some) >= 0.95 * RESAMPLES}
    intervals = {name: (float(low), float(high)) for name, (low, high) in bounds.items()}
    return evaluation.model_copy(update={"intervals": intervals})
