"""The largest value in a range of positions among those known before a time: exact, for any order of knowing.

A merge-sort tree taken one level at a time. On level j the positions are cut into blocks of 2^j; inside a block the
values stand in the order in which they became known, with their running maximum. A range is made of at most two
blocks a level, and in each block one binary search says how many of its values were known in time, so the running
maximum there is the answer. All blocks of a level lie in one array, so a level costs two searches over all queries.

Cost: O((n + m) · log² n) for n values and m queries, whatever the lateness looks like.

References: Bentley and Saxe, "Decomposable searching problems I" (1980), for the decomposition.
"""

from __future__ import annotations

import numpy as np

from services.features.domain.history import BoolArray, IntArray

_NOTHING = np.iinfo(np.int64).min


class RangeMax:
    """Values by position and when each became known (int64's largest number: never).

    >>> import numpy as np
    >>> tree = RangeMax(np.array([5, 9, 1]), np.array([10, 40, 20]))
    >>> tree.query(np.array([0, 0]), np.array([3, 3]), np.array([30, 50]), np.array([True, True])).tolist()
    [5, 9]
    """

    def __init__(self, values: IntArray, known: IntArray) -> None:
        self._grid, rank = np.unique(known, return_inverse=True)
        self._rank = rank.astype(np.int64)
        self._values = values
        self._levels: list[tuple[IntArray, IntArray]] = []

    def query(self, start: IntArray, end: IntArray, at: IntArray, wanted: BoolArray) -> IntArray:
        """The largest value at positions start … end - 1 that was known before `at`; the smallest int64 if none.

        Only queries that are `wanted` are answered, the others say none.
        """
        best = np.full(len(start), _NOTHING)
        live = np.flatnonzero(wanted & (start < end))
        left, right = start[live], end[live]
        limit = np.searchsorted(self._grid, at[live], side="left").astype(np.int64)
        level = 0
        while len(live):
            keys, running = self._level(level)
            odd_left, odd_right = (left & 1) == 1, (right & 1) == 1
            for odd, block in ((odd_left, left), (odd_right, right - 1)):
                chosen = np.flatnonzero(odd & (left < right))
                if len(chosen):
                    self._take(best, live[chosen], keys, running, block[chosen], level, limit[chosen])
            left, right = (left + odd_left) >> 1, (right - odd_right) >> 1
            going = left < right
            live, left, right, limit = live[going], left[going], right[going], limit[going]
            level += 1
        return best

    def _take(
        self, best: IntArray, into: IntArray, keys: IntArray, running: IntArray, block: IntArray, level: int,
        limit: IntArray,
    ) -> None:  # fmt: skip
        position = np.searchsorted(keys, block * (len(self._grid) + 1) + limit, side="left")
        some = position > (block << level)
        best[into[some]] = np.maximum(best[into[some]], running[position[some] - 1])

    def _level(self, level: int) -> tuple[IntArray, IntArray]:
        """The keys (block, rank of knowing) in order, and the running maximum inside each block."""
        while len(self._levels) <= level:
            depth = len(self._levels)
            block = np.arange(len(self._values), dtype=np.int64) >> depth
            keys = block * (len(self._grid) + 1) + self._rank
            order = np.argsort(keys, kind="stable")
            running = self._values[order]
            size = 1 << depth
            whole = len(running) // size * size
            np.maximum.accumulate(running[:whole].reshape(-1, size), axis=1, out=running[:whole].reshape(-1, size))
            running[whole:] = np.maximum.accumulate(running[whole:])
            self._levels.append((keys[order], running))
        return self._levels[level]
