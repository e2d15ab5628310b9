"""Floats as integers of the same order: what the kernel is given of a float column, so that it compares and counts them as
it does integers, and adds them exactly (kernel/exact.h)."""

from __future__ import annotations

import numpy as np

from tenon.windows.events import FloatArray, IntArray

FLOATS = -1
"""In place of a scale: the values are keys of floats."""
_ALL_BUT_SIGN = np.int64((1 << 63) - 1)


def keys_of(numbers: FloatArray) -> IntArray:
    """A key for each finite number; -0.0 is 0.0.

    >>> keys_of(np.array([-1.5, 0.0, 5e-324, 2.0])).tolist() == sorted(keys_of(np.array([2.0, 5e-324, -0.0, -1.5])).tolist())
    True
    """
    bits = (numbers.astype(np.float64) + 0.0).view(np.int64)
    keys: IntArray = np.where(bits < 0, bits ^ _ALL_BUT_SIGN, bits)
    return keys


def numbers_of(keys: IntArray) -> FloatArray:
    """The numbers again."""
    found: FloatArray = np.where(keys < 0, keys ^ _ALL_BUT_SIGN, keys).view(np.float64)
    return found


def key_of(number: float) -> int:
    """One number's key."""
    return int(keys_of(np.array([number]))[0])


def number_of(key: int) -> float:
    """One key's number."""
    return float(numbers_of(np.array([key], np.int64))[0])
