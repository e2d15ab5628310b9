"""Prediction intervals that hold what they say without believing any distribution: split conformal prediction.

The residuals of rows that the model has not learnt from say how far it is off: the quantiles of the test rows' residuals,
each side for itself, are the interval. Because errors often grow with the answer, answers are put into bins of about equally
many rows (Mondrian conformal prediction), each with quantiles of its own.

With exchangeable rows the truth lies inside at least as often as said, whatever the model. Rows in time are never quite
exchangeable, so it is measured: the test period is cut into blocks of time, each is judged by intervals made from the
others, at a distance of the gap, and the share inside stands beside the nominal one. On hourly PM2.5 in Beijing this foretold
the coverage of the following year within 1.3 points. (Quantiles of the earlier half alone were a bad guide there: they
had not seen a winter. See `make bench-intervals`.)

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005); Lei, G'Sell, Rinaldo, Tibshirani and
Wasserman, "Distribution-free predictive inference for regression" (2018); Boström and Johansson, "Mondrian conformal
regressors" (2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from services.trainer.domain.examples import Labelled
from services.trainer.domain.ports import Floats
from services.trainer.domain.split import Micros, Rows, TimeSplit
from tenon.core.manifest import PredictionInterval
from tenon.core.specs import DatasetSpec, ModelSpec
from tenon.core.specs.model import Task
from tenon.core.timestamps import parse_duration

COVERAGE = 0.9
FEWEST_ROWS = 40
"""A bin with fewer rows has no quantiles worth the name."""
BLOCKS = 4
LACK = 0.03
"""A run warns when the measured coverage is further than this below the nominal one."""
ROWS_OF_A_BIN = 100
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
        f"prediction intervals for {interval.coverage:.0%} would have held {measured:.1%} of the {interval.measured_rows:,} test "
        f"labels, {min(interval.measured_blocks):.1%} in the worst part of the period: the data moves, and they are too narrow for it"
    ]


def calibrate(
    event_time: Micros,
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
    inside: list[npt.NDArray[np.bool_]] = []
    widths: list[Floats] = []
    for block, others in _blocks(event_time, gap):
        if not len(block):
            continue
        if len(others) < FEWEST_ROWS:
            return None
        bins = _Bins(answer[others], label[others], coverage)
        bottom, top = np.clip(bins.ends(answer[block]), *limits)
        inside.append((label[block] >= bottom) & (label[block] <= top))
        widths.append(top - bottom)
    if not inside:
        return None
    bins = _Bins(answer, label, coverage)
    return PredictionInterval(
        coverage=coverage,
        edges=bins.edges.tolist(),
        low=bins.low.tolist(),
        high=bins.high.tolist(),
        least=limits[0],
        greatest=limits[1],
        calibration_rows=len(label),
        measured_coverage=float(np.mean(np.concatenate(inside))),
        measured_blocks=[float(np.mean(block)) for block in inside],
        measured_rows=sum(map(len, inside)),
        mean_width=float(np.mean(np.concatenate(widths))),
    )


def _blocks(event_time: Micros, gap: int) -> Iterator[tuple[Rows, Rows]]:
    """(rows of a block, rows of the others that are at least the gap away); about as many rows in each block."""
    ordered = np.sort(event_time)
    starts = [int(ordered[len(ordered) * block // BLOCKS]) for block in range(BLOCKS)] if len(ordered) else []
    for start, end in pairwise([*starts, int(ordered[-1]) + 1] if starts else []):
        within = (event_time >= start) & (event_time < end)
        away = (event_time < start - gap) | (event_time >= end + gap)
        yield np.flatnonzero(within).astype(np.int64), np.flatnonzero(away).astype(np.int64)


class _Bins:
    """The quantiles of residuals, by bins of the answer."""

    def __init__(self, answer: Floats, label: Floats, coverage: float) -> None:
        residual, self.edges = label - answer, _edges(answer)
        place, share = np.searchsorted(self.edges, answer, side="right"), (1 + coverage) / 2
        parts = [residual[place == index] for index in range(len(self.edges) + 1)]
        # An interval that leaves out the answer itself would confuse more than it says; widening it costs no coverage.
        self.low = np.array([min(0.0, -_quantile(-own, share)) for own in parts])
        self.high = np.array([max(0.0, _quantile(own, share)) for own in parts])

    def ends(self, answer: Floats) -> tuple[Floats, Floats]:
        """The ends of the intervals of these answers."""
        place = np.searchsorted(self.edges, answer, side="right")
        return answer + self.low[place], answer + self.high[place]


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
