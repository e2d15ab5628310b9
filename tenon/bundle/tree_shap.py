"""TreeSHAP in numpy: the reference of tenon/bundle/kernel/explain.h (which says how it works), and its substitute."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tenon.bundle.forest import Forest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
MAX_POINTS = 64


class NumpyExplainer:
    """Explains a forest's margins row by row, all trees level by level."""

    def __init__(self, forest: Forest, cover: npt.NDArray[np.float32]) -> None:
        inner = forest.left >= 0
        if not np.all(np.isfinite(cover)) or np.any(cover < 0) or np.any(cover[inner] == 0):
            raise ValueError("a node's cover is not a positive number")
        count, offsets = len(forest.left), forest.offsets.astype(np.intp)
        start = np.repeat(offsets[:-1], np.diff(offsets))
        self._left, self._right = forest.left + start, forest.right + start
        self._forest, self._inner = forest, inner
        self._roots = offsets[:-1]
        self._levels = self._by_level()
        splits = np.flatnonzero(inner)
        self._parent = np.zeros(count, np.intp)
        self._parent[self._left[splits]] = self._parent[self._right[splits]] = splits
        self._is_left = np.zeros(count, bool)
        self._is_left[self._left[splits]] = True
        self._ratio, self._share = np.ones(count), np.ones(count)
        self._earlier = np.full(count, -1, np.intp)
        """Of each node but the roots: the nearest node above that a split on the parent's feature leads to; else -1."""
        different = np.zeros(count, np.intp)
        wide = cover.astype(np.float64)
        for level in self._levels[1:]:
            parent = self._parent[level]
            earlier = self._find_earlier(parent)
            self._earlier[level] = earlier
            self._ratio[level] = wide[level] / wide[parent]
            self._share[level] = self._ratio[level] * np.where(earlier < 0, 1.0, self._share[earlier])
            different[level] = different[parent] + (earlier < 0)
        mean = forest.threshold.astype(np.float64)
        for level in reversed(self._levels):
            some = level[inner[level]]
            left, right = self._left[some], self._right[some]
            mean[some] = self._ratio[left] * mean[left] + self._ratio[right] * mean[right]
        self._base = float(forest.base_margin) + math.fsum(mean[self._roots])
        points = max(1, min(MAX_POINTS, (int(different.max(initial=1)) + 1) // 2))
        at, weight = np.polynomial.legendre.leggauss(points)
        self._t, self._weight = (at + 1) / 2, weight / 2

    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    def contributions(self, matrix: npt.NDArray[np.float32], out: FloatArray) -> None:
        """Contributions of each row, and the base, into `out`."""
        for row, values in enumerate(matrix):
            out[row, :-1] = self._row(values)
        out[:, -1] = self._base

    def _row(self, values: npt.NDArray[np.float32]) -> FloatArray:
        forest, t = self._forest, self._t
        features = len(values)
        count = len(forest.left)
        if not count or not features:
            return np.zeros(features)
        seen = values[forest.feature]
        goes_left = np.where(np.isnan(seen), forest.default_left, seen < forest.threshold)
        taken = self._is_left == goes_left[self._parent]
        hot = np.zeros(count, bool)
        product, inverse = np.empty((count, len(t))), np.ones((count, len(t)))
        pull = np.zeros((count, len(t)))
        """(o - z) over the factor of the feature that leads to a node."""
        product[self._roots] = self._weight
        for level in self._levels[1:]:
            earlier, share = self._earlier[level], self._share[level][:, np.newaxis]
            above = (earlier < 0) | hot[earlier]
            hot[level] = here = taken[level] & above
            factor = np.where(here[:, np.newaxis], share + t * (1 - share), share * (1 - t))
            inverse[level] = np.divide(1.0, factor, out=np.zeros_like(factor), where=factor > 0)
            pull[level] = np.where(here[:, np.newaxis], (1 - share) * inverse[level], -1 / (1 - t))
            without = np.where(earlier[:, np.newaxis] < 0, 1.0, inverse[earlier])
            step = np.where(above[:, np.newaxis], factor * without, self._ratio[level][:, np.newaxis])
            product[level] = product[self._parent[level]] * step
        product[~self._inner] *= forest.threshold[~self._inner][:, np.newaxis]
        for level in reversed(self._levels):
            some = level[self._inner[level]]
            product[some] = product[self._left[some]] + product[self._right[some]]
        edges = np.concatenate([*self._levels[1:], np.empty(0, np.intp)])
        parts = np.sum(product[edges] * pull[edges], axis=1)
        again = edges[(self._earlier[edges] >= 0)]
        less = np.sum(product[again] * pull[self._earlier[again]], axis=1)
        split = forest.feature[self._parent]
        answer: FloatArray = np.zeros(features)
        np.add.at(answer, split[edges], parts)
        np.subtract.at(answer, split[again], less)
        return answer

    def _by_level(self) -> list[IntArray]:
        levels = [self._roots]
        while len(some := levels[-1][self._inner[levels[-1]]]):
            levels.append(np.concatenate((self._left[some], self._right[some])))
        return levels

    def _find_earlier(self, parent: IntArray) -> IntArray:
        """For the children of these splits."""
        feature, found = self._forest.feature[parent], np.full(len(parent), -1, np.intp)
        roots = np.zeros(len(self._parent), bool)
        roots[self._roots] = True
        node, looking = parent.copy(), ~roots[parent]
        while looking.any():
            same = looking & (self._forest.feature[self._parent[node]] == feature)
            found[same] = node[same]
            node = np.where(looking, self._parent[node], node)
            looking &= ~same & ~roots[node]
        return found
