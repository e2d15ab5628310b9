"""The part of `make bench-engine` that explains: contributions of a forest against XGBoost's `pred_contribs=True`."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

import numpy as np
import xgboost as xgb

from tenon.bundle import Forest
from tenon.bundle.contributions import ForestExplainer, cover_of_booster_json
from tests.bench import frame

PAIRS = 7
MISSING = 0.1


def explaining(model: dict[str, Any], booster: xgb.Booster, matrix: np.ndarray) -> list[frame.Figure]:
    """Time of one row and of many, and the largest difference over all rows, `MISSING` of whose values are missing."""
    random = np.random.default_rng(11)
    values = matrix.astype(np.float32)
    values[random.random(values.shape) < MISSING] = np.nan
    forest = Forest.from_booster_json(model)
    explainer = ForestExplainer(forest, cover_of_booster_json(model))
    figures = []
    for rows in (1, 64):
        label = f"explain {rows} row{'s' * (rows > 1)}: C"
        parts = itertools.cycle([values[at * rows : (at + 1) * rows] for at in range(20)])
        matrices = itertools.cycle([xgb.DMatrix(next(parts), nthread=1) for _ in range(20)])
        calls = 40 if rows == 1 else 2
        ours = lambda n=calls, p=parts: _timed(lambda: explainer.contributions(next(p)), n)  # noqa: E731
        theirs = lambda n=calls, m=matrices: _timed(lambda: booster.predict(next(m), pred_contribs=True), n)  # noqa: E731
        value, yardstick = frame.pairs(PAIRS, ours, theirs)
        figures.append(frame.figure(label, value, "µs", yardstick=("pred_contribs", yardstick), at_most=2000 * rows))
    ours_all = explainer.contributions(values.astype(np.float64))
    booster.set_param({"nthread": 2})
    theirs_all = booster.predict(xgb.DMatrix(values), pred_contribs=True).astype(np.float64)
    booster.set_param({"nthread": 1})
    size = np.abs(theirs_all).sum(axis=1)
    apart = float((np.abs(ours_all - theirs_all).max(axis=1) / size).max())
    figures.append(
        frame.figure("explain: largest difference, relative to a row's contributions", apart, "", at_most=1e-6)
    )
    margin = forest.margin(values.astype(np.float64)).astype(np.float64)
    left = float((np.abs(ours_all.sum(axis=1) - margin) / size).max())
    figures.append(frame.figure("explain: sum against the float32 margin, likewise", left, "", at_most=2e-6))
    figures.append(frame.figure("explain: what it keeps, once asked", explainer.nbytes / 1e6, "MB"))
    return figures


def _timed(work: Any, calls: int) -> float:
    rounds = []
    for _ in range(3):
        started = time.thread_time()
        for _ in range(calls):
            work()
        rounds.append((time.thread_time() - started) / calls * 1e6)
    return statistics.median(rounds)
