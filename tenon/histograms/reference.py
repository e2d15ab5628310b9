"""What the kernel does, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def count_numbers(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], counts: Counts) -> None:
    """Add to `counts` how many values lie in each bin: bin i is (edges[i-1], edges[i]], open at both ends; the last
    place, after the bins, is for NaN.

    >>> counts = np.zeros(4, dtype=np.int64)
    >>> count_numbers(np.array([0.0, 1.0, 1.5, 9.0, np.nan]), np.array([1.0, 2.0]), counts)
    >>> counts.tolist()
    [2, 1, 1, 1]
    """
    if len(counts) != len(edges) + 2:
        raise ValueError("counts has a place for each bin and one for missing values")
    missing = np.isnan(values)
    places = np.searchsorted(edges, values, side="left")
    places[missing] = len(counts) - 1
    counts += np.bincount(places, minlength=len(counts))


def count_codes(codes: npt.NDArray[np.int32], places: npt.NDArray[np.int32], counts: Counts) -> None:
    """Add to `counts[places[code]]` one for each code; code -1 is missing, the last place.

    >>> counts = np.zeros(3, dtype=np.int64)
    >>> count_codes(np.array([0, 1, 1, -1], dtype=np.int32), np.array([1, 0], dtype=np.int32), counts)
    >>> counts.tolist()
    [2, 1, 1]
    """
    if ((codes < -1) | (codes >= len(places))).any() or ((places < 0) | (places >= len(counts))).any():
        raise ValueError("a code or a place is out of range")
    found = np.bincount(codes + np.int32(1), minlength=len(places) + 1)
    counts[-1] += found[0]
    np.add.at(counts, places, found[1:])
