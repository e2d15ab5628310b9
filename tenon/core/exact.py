"""Sums of float64 that depend on nothing but the numbers: exact, and rounded once at the end.

Adding in another order, or in parts, gives the same bits; `math.fsum` is the same wherever it does not give up (it does when
a part of the sum is too large). The compiled form is tenon/windows/kernel/exact.h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def exact_sum(values: Sequence[float]) -> float:
    """The float64 nearest to the sum; NaN when it is beyond all float64.

    >>> exact_sum([1e16, 1.0, -1e16]), exact_sum([0.1] * 10), exact_sum([1e308, 1e308, -1e308]), exact_sum([1e308] * 2)
    (1.0, 1.0, 1e+308, nan)
    """
    try:
        return float(sum(map(Fraction, values), Fraction()))
    except OverflowError:
        return math.nan


def exact_deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample of at least two: the root of (n * sum of squares - square of the sum), exact and
    rounded once, divided by n * (n - 1). Powers of four are taken out of the root, so that nothing overflows before the end.

    >>> exact_deviation([1.0, 2.0, 3.0, 4.0]), exact_deviation([1e300, -1e300]), exact_deviation([1e308, -1e308, 1e308])
    (1.2909944487358056, 1.4142135623730952e+300, 1.1547005383792515e+308)
    """
    exact, count = [Fraction(value) for value in values], len(values)
    whole = count * sum((value * value for value in exact), Fraction()) - sum(exact, Fraction()) ** 2
    if not whole:
        return 0.0
    half = (whole.numerator.bit_length() - whole.denominator.bit_length()) // 2
    root = math.sqrt(float(whole / Fraction(4) ** half) / float(count * (count - 1)))
    try:
        return math.ldexp(root, half)
    except OverflowError:
        return math.nan
