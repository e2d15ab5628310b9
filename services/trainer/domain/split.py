"""Splits by time: nothing that was not known before the test period starts may be learnt from.

A row is an event at `event_time` whose label became known at `known_at`, both in microseconds since the epoch. A model
that is to answer from `start` on could have been trained, at that moment, only on labels known before it. The gap is a
safety margin on top: it keeps apart rows whose features look at almost the same history.

References: Bergmeir and Benítez, "On the use of cross-validation for time series predictor evaluation" (2012);
López de Prado, "Advances in Financial Machine Learning" (2018), chapter 7 (purging and embargo).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenon.core.specs import Split
from tenon.core.timestamps import parse_duration, parse_rfc3339

Micros = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TimeSplit:
    """Row numbers of both sides of `start`, each in the order they came in."""

    start: int
    train: Rows
    test: Rows
    in_gap: int
    known_late: int


def start_of_test(split: Split, event_time: Micros) -> int:
    """When the test period starts: the day that is given, or its length before the last event with a label.

    >>> import numpy as np
    >>> start_of_test(Split(test="10s"), np.array([0, 100_000_000]))
    90000000
    """
    if split.test_from is not None:
        return parse_rfc3339(split.test_from, "testFrom")
    # Split's own validator holds that one of the two is given.
    return int(event_time.max()) - parse_duration(split.test or "")


def split_by_time(event_time: Micros, known_at: Micros, *, start: int, gap: int) -> TimeSplit:
    """Test is everything from `start` on; train is what happened before `start - gap` and was known before `start`.

    Rows in the gap, and rows whose label came too late, are in neither; `in_gap` and `known_late` count them.

    >>> import numpy as np
    >>> event = np.array([0, 10, 20, 30, 40])
    >>> known = np.array([5, 99, 25, 35, 45])
    >>> found = split_by_time(event, known, start=30, gap=5)
    >>> found.train.tolist(), found.test.tolist(), found.in_gap, found.known_late
    ([0, 2], [3, 4], 0, 1)
    """
    early = event_time < start - gap
    known = known_at < start
    return TimeSplit(
        start=start,
        train=np.flatnonzero(early & known).astype(np.int64),
        test=np.flatnonzero(event_time >= start).astype(np.int64),
        in_gap=int(np.count_nonzero(~early & (event_time < start))),
        known_late=int(np.count_nonzero(early & ~known)),
    )


def split_validation(event_time: Micros, known_at: Micros, *, gap: int, share: float = 0.15) -> TimeSplit:
    """The last `share` of the rows by time, held out in the same way; to be given the training rows only."""
    ordered = np.sort(event_time, kind="stable")
    start = int(ordered[min(len(ordered) - 1, int(len(ordered) * (1 - share)))])
    return split_by_time(event_time, known_at, start=start, gap=gap)


def split_at_random(rows: Rows, *, train: int, seed: int) -> tuple[Rows, Rows]:
    """The dishonest split to compare with: `train` of the rows by lot, the rest to test on."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    return np.sort(shuffled[:train]), np.sort(shuffled[train:])
