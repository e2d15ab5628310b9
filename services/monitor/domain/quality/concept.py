"""Concept drift: did the errors change? ADWIN over the errors in the order in which they became known.

The window is computed anew from the labels each time, so that every replica says the same, for any time it is asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.quality.words import Concept, ConceptDrift, ErrorChange

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

MIN_ROWS = 200
_EVERY = 32
_BUCKETS = 5
_SHORTEST = 5
_GRACE = 10


class Adwin:
    """A window that grows while the mean of what comes in stays, and drops its older part when it changed.

    Parameters: `delta`, the chance of a false cut; values must lie in 0 … 1. Buckets of 2^k values hold sums and sums of
    squares, at most five of a size, so that memory is logarithmic; every 32 values each boundary between buckets is a
    possible cut. With a new window after each cut it finds what river's `ADWIN` finds with its defaults (the tests hold
    what river 0.26 found).

    Bifet, A., Gavalda, R. (2007). Learning from time-changing data with adaptive windowing. SIAM SDM.

    >>> window = Adwin()
    >>> [at for at in range(2000) if window.add(0.2 if at < 1000 else 0.8)]
    [1023, 1055, 1151]
    """

    def __init__(self, delta: float = 0.002) -> None:
        self._delta = delta
        # Row k: buckets of 2^k values, oldest first, as (sum, variance times count).
        self._rows: list[list[tuple[float, float]]] = [[]]
        self.width = 0
        self.total = 0.0
        self._variance = 0.0
        self._ticks = 0
        self.dropped = (0, 0.0)
        """What the last cut left out: how many values, and their sum."""

    @property
    def mean(self) -> float:
        """Of the window."""
        return self.total / self.width if self.width else 0.0

    def add(self, value: float) -> bool:
        """Take a value; True when the window was cut."""
        self._ticks += 1
        self.width += 1
        if self.width > 1:
            before = (self.total) / (self.width - 1)
            self._variance += (self.width - 1) * (value - before) ** 2 / self.width
        self.total += value
        self._rows[0].append((value, 0.0))
        self._compress()
        if self._ticks % _EVERY or self.width <= _GRACE:
            return False
        return self._cut()

    def _compress(self) -> None:
        for power, row in enumerate(self._rows):
            if len(row) <= _BUCKETS:
                return
            (first, one), (second, other) = row[0], row[1]
            size = 1 << power
            mean_gap = first / size - second / size
            merged = (first + second, one + other + size * size * mean_gap * mean_gap / (2 * size))
            del row[:2]
            if power + 1 == len(self._rows):
                self._rows.append([])
            self._rows[power + 1].append(merged)

    def _cut(self) -> bool:
        cut, self.dropped = False, (0, 0.0)
        again = True
        while again:
            again = False
            old, old_sum = 0.0, 0.0
            confidence = self._variance / self.width
            logarithm = math.log(2 * math.log(self.width) / self._delta)
            for power in range(len(self._rows) - 1, -1, -1):
                size = 1 << power
                row = self._rows[power]
                for place, (total, _) in enumerate(row):
                    if power == 0 and place == len(row) - 1:
                        break
                    old += size
                    old_sum += total
                    new = self.width - old
                    if old < _SHORTEST or new < _SHORTEST:
                        continue
                    gap = old_sum / old - (self.total - old_sum) / new
                    inverse = 1 / (old - _SHORTEST + 1) + 1 / (new - _SHORTEST + 1)
                    limit = math.sqrt(2 * inverse * confidence * logarithm) + 2 / 3 * inverse * logarithm
                    if abs(gap) > limit:
                        cut = again = True
                        self._drop_oldest()
                        break
                if again:
                    break
        return cut

    def _drop_oldest(self) -> None:
        power = len(self._rows) - 1
        total, spread = self._rows[power].pop(0)
        size = 1 << power
        self.width -= size
        self.total -= total
        if self.width:
            gap = total / size - self.total / self.width
            self._variance -= spread + size * self.width * gap * gap / (size + self.width)
        self.dropped = (self.dropped[0] + size, self.dropped[1] + total)
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()


MARGIN = 0.05
"""Of the first level, what the newest must be away from it to be called worse or better: as for quality."""


def follow_errors(
    version: int, error: Floats, known: npt.NDArray[np.int64], name: str, scale: float, *, delta: float = 0.002
) -> ConceptDrift:
    """The changes of a version's mean error. `scale` brings errors into 0 … 1 (what is beyond it counts as 1) and must not
    come from these rows. Rows whose label became known at the same time are taken as they come."""
    order = np.argsort(known, kind="stable")
    scaled = np.clip(error[order] / scale, 0, 1)
    rows = len(scaled)
    window, changes = Adwin(delta), list[ErrorChange]()
    for place, value in enumerate(scaled.tolist()):
        if window.add(value):
            count, total = window.dropped
            moment = int(known[order[place]])
            changes.append(ErrorChange(moment, total / count * scale, window.mean * scale, count, window.width))
            # What is left of the older errors would leave bit by bit, as if there were many changes.
            window = Adwin(delta)
    if rows < MIN_ROWS:
        text = f"{rows:,} labels; at least {MIN_ROWS:,} are needed to follow the errors"
        return ConceptDrift(version, rows, name, Concept.NOT_ENOUGH_EVIDENCE, (), text)
    if not changes:
        text = f"the mean {name} stayed at about {window.mean * scale:.3g} over {rows:,} labels"
        return ConceptDrift(version, rows, name, Concept.UNCHANGED, (), text)
    first = changes[0].before
    last = window.mean * scale if window.width >= MIN_ROWS else changes[-1].after
    if abs(last - first) < MARGIN * first:
        # Years of ups and downs may end where they began: what was is in `changes`, and no reason to act now.
        text = f"the mean {name} changed {_times(len(changes))} and is about where it was ({first:.3g}, now {last:.3g}) over {rows:,} labels"
        return ConceptDrift(version, rows, name, Concept.UNCHANGED, tuple(changes), text)
    verdict = Concept.WORSE if last > first else Concept.BETTER
    text = f"the mean {name} changed {_times(len(changes))}, from {first:.3g} to {last:.3g} over {rows:,} labels"
    return ConceptDrift(version, rows, name, verdict, tuple(changes), text)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
