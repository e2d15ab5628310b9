"""Prediction intervals that hold what they say without believing any distribution: split conformal prediction.

The residuals of rows that the model has not learnt from say how far it is off. Of the test period's earlier half the
quantiles are taken, each side for itself; on the later half it is counted how often the truth lay inside, so that the
nominal coverage stands beside a measured one. Because errors often grow with the answer, answers are put into bins of about
equally many rows (Mondrian conformal prediction), each with quantiles of its own. What the split calls train and test is
kept apart here as well: a label that was not known when the later half begins is not used for calibration.

With exchangeable rows the coverage of the truth is at least the nominal one, whatever the model. Rows in time are never
quite exchangeable, which is why the measured figure is the one to look at.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005); Lei, G'Sell, Rinaldo, Tibshirani and
Wasserman, "Distribution-free predictive inference for regression" (2018); Boström and Johansson, "Mondrian conformal
regressors" (2020).
"""

from __future__ import annotations

import math

import numpy as np

from services.trainer.domain.examples import Labelled
from services.trainer.domain.ports import Floats
from services.trainer.domain.split import Micros, TimeSplit, split_by_time
from tenon.core.manifest import PredictionInterval
from tenon.core.specs import DatasetSpec, ModelSpec
from tenon.core.specs.model import Task
from tenon.core.timestamps import parse_duration, rfc3339

COVERAGE = 0.9
FEWEST_ROWS = 40
"""A bin with fewer rows has no quantiles worth the name."""
LACK = 0.03
"""A run warns when the measured coverage is further than this below the nominal one."""
ROWS_OF_A_BIN = 250
MOST_BINS = 10


def interval_of(
    spec: ModelSpec, spine: DatasetSpec, labelled: Labelled, split: TimeSplit, answer: Floats
) -> PredictionInterval | None:
    """The interval of a regression's answers for its test rows; None for other tasks, and for too few rows."""
    if spec.task is not Task.REGRESSION:
        return None
    column, rows = spine.columns[spec.label.column], split.test
    return calibrate(
        labelled.event_time[rows],
        labelled.known_at[rows],
        labelled.examples.label[rows],
        answer,
        gap=parse_duration(spec.split.gap),
        limits=(column.min, column.max),
    )


def interval_warnings(task: Task, interval: PredictionInterval | None) -> list[str]:
    """What a run says about its interval when it is missing or does not hold."""
    if task is not Task.REGRESSION:
        return []
    if interval is None:
        return ["too few test rows for prediction intervals: answers have none"]
    measured = interval.measured_coverage
    if measured >= interval.coverage - LACK:
        return []
    return [
        f"prediction intervals for {interval.coverage:.0%} held {measured:.1%} of the {interval.measured_rows:,} labels from "
        f"{interval.measured_from} on: the data moves, and the intervals are too narrow for it"
    ]


def calibrate(
    event_time: Micros,
    known_at: Micros,
    label: Floats,
    answer: Floats,
    *,
    gap: int,
    limits: tuple[float | None, float | None] = (None, None),
    coverage: float = COVERAGE,
) -> PredictionInterval | None:
    """The interval of a model's answers on its test rows; None when there are too few of them to say.

    `limits` are the least and the greatest value the label can have by the data set's contract; no interval goes beyond.
    """
    ordered = np.sort(event_time)
    start = int(ordered[len(ordered) // 2])
    halves = split_by_time(event_time, known_at, start=start, gap=gap)
    if len(halves.train) < FEWEST_ROWS or len(halves.test) < FEWEST_ROWS:
        return None
    residual, given = (label - answer)[halves.train], answer[halves.train]
    edges = _edges(given)
    place = np.searchsorted(edges, given, side="right")
    low, high = [], []
    for index in range(len(edges) + 1):
        own = residual[place == index]
        # An interval that leaves out the answer itself would confuse more than it says; widening it costs no coverage.
        low.append(min(0.0, -_quantile(-own, (1 + coverage) / 2)))
        high.append(max(0.0, _quantile(own, (1 + coverage) / 2)))
    later, truth = answer[halves.test], label[halves.test]
    place = np.searchsorted(edges, later, side="right")
    bottom, top = np.clip([later + np.array(low)[place], later + np.array(high)[place]], *limits)
    return PredictionInterval(
        coverage=coverage,
        edges=edges.tolist(),
        low=low,
        high=high,
        least=limits[0],
        greatest=limits[1],
        calibration_rows=len(halves.train),
        measured_coverage=float(np.mean((truth >= bottom) & (truth <= top))),
        measured_rows=len(halves.test),
        measured_from=rfc3339(start),
        mean_width=float(np.mean(top - bottom)),
    )


def _quantile(values: Floats, share: float) -> float:
    """The smallest value that at least so many of these and one more would not exceed.

    >>> import numpy as np
    >>> _quantile(np.arange(1.0, 40.0), 0.95)
    38.0
    """
    rank = math.ceil((len(values) + 1) * share)
    return float(np.sort(values)[min(rank, len(values)) - 1])


def _edges(given: Floats) -> Floats:
    """Where the bins of the answers part; no bin has fewer than `FEWEST_ROWS`. A tree gives the same answer often."""
    bins = max(1, min(MOST_BINS, len(given) // ROWS_OF_A_BIN))
    edges = np.unique(np.quantile(given, np.arange(1, bins) / bins, method="inverted_cdf"))
    while len(edges):
        counts = np.bincount(np.searchsorted(edges, given, side="right"), minlength=len(edges) + 1)
        smallest = int(np.argmin(counts))
        if counts[smallest] >= FEWEST_ROWS:
            break
        edges = np.delete(edges, max(0, smallest - 1))
    return edges.astype(np.float64)
