"""What a feature's value is: the definition, in plain Python and as slow as it likes.

Every engine (the vectorised one that makes training sets, the one that reads the online store) must give these very
bits; the property tests hold them to it. The rules, in words and with an example: docs/concepts/feature-semantics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from tenon.core.specs.feature_view import Feature, Function


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is not missing: an integer (a decimal is stored times ten to the power of its scale) and when it
    became known, in microseconds."""

    amount: int
    known: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one entity. A column without an entry is missing, or was never known."""

    event_time: int
    values: Mapping[str, Value] = field(default_factory=dict)


def threshold(above: float, scale: int) -> int:
    """The integer T such that a stored value v is above the threshold iff v > T.

    The float is read as the decimal number that it prints as, so that 0.1 means one tenth.

    >>> threshold(15, 0), threshold(0.1, 1), threshold(-0.5, 0)
    (15, 1, -1)
    """
    scaled: Fraction = Fraction(Decimal(repr(above))) * 10**scale
    return math.floor(scaled)


def value_at(feature: Feature, scale: int, events: Iterable[Event], at: int) -> float:
    """The feature's value at a time, given the entity's whole history in any order; NaN is missing.

    >>> hour = 3_600_000_000
    >>> history = [Event(0, {"delay": Value(20, 2 * hour)}), Event(hour, {"delay": Value(7, 5 * hour)})]
    >>> mean = Feature("v", "delay_mean_1d", "delay", Function.MEAN, "1d", None)
    >>> value_at(mean, 0, history, 2 * hour), value_at(mean, 0, history, 3 * hour), value_at(mean, 0, history, 6 * hour)
    (nan, 20.0, 13.5)
    """
    amounts: list[int] = []
    for event in events:
        value = Value(0, event.event_time) if feature.column is None else event.values.get(feature.column)
        if value is None:
            continue
        known = max(value.known, event.event_time)
        if known < at and event.event_time >= at - feature.window_micros:
            amounts.append(value.amount)
    count, unit = float(len(amounts)), float(10**scale)
    if feature.function is Function.COUNT:
        return count
    if not amounts:
        return math.nan
    match feature.function:
        case Function.SUM:
            return float(sum(amounts)) / unit
        case Function.MEAN:
            return float(sum(amounts)) / (count * unit)
        case Function.MIN:
            return float(min(amounts)) / unit
        case Function.MAX:
            return float(max(amounts)) / unit
        case Function.RATE:
            limit = threshold(feature.above or 0.0, scale)
            return float(sum(amount > limit for amount in amounts)) / count
