"""What a feature's value is: the definition, in plain Python and as slow as it likes.

Every engine (the compiled one that makes training sets and reads the online store, and the numpy one that stands in for
it) must give these very bits; the property tests hold them to it. The rules, in words and with an example:
docs/concepts/feature-semantics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tenon.core.exact import exact_deviation, exact_sum
from tenon.core.expressions import evaluate_expression
from tenon.core.specs.feature_view import COUNTS, Feature, Function, quantile_fraction

FOREVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is not missing: an integer (a decimal is stored times ten to the power of its scale) or, of a column of
    floats, a finite float, or a text; when it became known, and up to when it was believed: the moment at which its correction became
    known. In microseconds."""

    amount: int | float | str
    known: int
    until: int = FOREVER


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one entity. A column without an entry is missing, or was never known."""

    event_time: int
    values: Mapping[str, Value] = field(default_factory=dict)
    until: int = FOREVER


def threshold(above: float, scale: int) -> int:
    """The integer T such that a stored value v is above the threshold iff v > T.

    The float is read as the decimal number that it prints as, so that 0.1 means one tenth.

    >>> threshold(15, 0), threshold(0.1, 1), threshold(-0.5, 0)
    (15, 1, -1)
    """
    return math.floor(scaled(above, scale))


def scaled(number: float, scale: int) -> Fraction:
    """The decimal number that a float prints as, times ten to the power of the scale."""
    return Fraction(Decimal(repr(number))) * Fraction(10**scale)


def value_at(feature: Feature, scale: int, events: Iterable[Event], at: int) -> float:
    """The feature's value at a time, given the entity's whole history in any order; NaN is missing.

    >>> hour = 3_600_000_000
    >>> history = [Event(0, {"delay": Value(20, 2 * hour)}), Event(hour, {"delay": Value(7, 5 * hour)})]
    >>> mean = Feature("v", "delay_mean_1d", "delay", Function.MEAN, "1d", None)
    >>> value_at(mean, 0, history, 2 * hour), value_at(mean, 0, history, 3 * hour), value_at(mean, 0, history, 6 * hour)
    (nan, 20.0, 13.5)

    A correction replaces the earlier value from the moment at which it became known:

    >>> corrected = [Event(0, {"delay": Value(20, 2 * hour, until=4 * hour)}), Event(0, {"delay": Value(26, 4 * hour)})]
    >>> value_at(mean, 0, corrected, 4 * hour), value_at(mean, 0, corrected, 5 * hour)
    (20.0, 26.0)
    """
    found = _counted(feature, events, at)
    amounts = [amount for _, _, amount in found]
    if feature.function in COUNTS:
        return float(len(amounts) if feature.function is Function.COUNT else len(set(amounts)))
    if not amounts:
        return math.nan
    if feature.function is Function.SINCE_LAST:
        return (at - found[-1][0]) / 1e6
    if any(isinstance(amount, float) for amount in amounts):
        return _of_floats(feature, [float(amount) + 0.0 for amount in amounts])
    return _of_integers(feature, scale, [int(amount) for amount in amounts])


def text_at(feature: Feature, events: Iterable[Event], at: int) -> str | None:
    """The same of a feature whose value is one of its column's texts; None is missing."""
    found = _counted(feature, events, at)
    return str(found[0 if feature.function is Function.FIRST else -1][2]) if found else None


def _counted(feature: Feature, events: Iterable[Event], at: int) -> list[tuple[int, int, Any]]:
    """What counts, as event time, when it was known, and value."""
    found: list[tuple[int, int, Any]] = []
    for event in events:
        value = Value(0, event.event_time, event.until) if feature.column is None else event.values.get(feature.column)
        if value is None:
            continue
        known = max(value.known, event.event_time)
        if feature.function is Function.STATIC:
            if value.until == FOREVER:
                found.append((event.event_time, known, value.amount))
        elif known < at <= value.until and event.event_time >= at - feature.window_micros:
            found.append((event.event_time, known, value.amount))
    # In the order of event time, then of when it was known, then of the value: ties have one answer.
    return sorted(found)


def _of_floats(feature: Feature, numbers: list[float]) -> float:
    """Sums are exact and rounded once; a result beyond all float64 is missing. What is one of the values is that value."""
    match feature.function:
        case Function.SUM:
            return exact_sum(numbers)
        case Function.MEAN:
            return exact_sum(numbers) / float(len(numbers))
        case Function.STD:
            return exact_deviation(numbers) if len(numbers) > 1 else math.nan
        case Function.RATE:
            return float(sum(number > (feature.above or 0.0) for number in numbers)) / float(len(numbers))
        case _:
            return _chosen(feature, numbers)


def _of_integers(feature: Feature, scale: int, amounts: list[int]) -> float:
    """All sums are exact; each line rounds integers to float64 and divides once."""
    count, unit = len(amounts), float(10**scale)
    match feature.function:
        case Function.SUM:
            return float(sum(amounts)) / unit
        case Function.MEAN:
            return float(sum(amounts)) / (float(count) * unit)
        case Function.STD:
            if count < 2:
                return math.nan
            squares = count * sum(amount * amount for amount in amounts) - sum(amounts) ** 2
            return math.sqrt(float(squares) / float(count * (count - 1))) / unit
        case Function.RATE:
            limit = threshold(feature.above or 0.0, scale)
            return float(sum(amount > limit for amount in amounts)) / float(count)
        case _:
            return _chosen(feature, amounts) / unit


def _chosen(feature: Feature, amounts: Sequence[int | float]) -> float:
    """One of them."""
    match feature.function:
        case Function.MIN:
            return float(min(amounts))
        case Function.MAX:
            return float(max(amounts))
        case Function.FIRST:
            return float(amounts[0])
        case Function.LAST | Function.STATIC:
            return float(amounts[-1])
        case Function.QUANTILE:
            return float(sorted(amounts)[math.ceil(quantile_fraction(feature.quantile or 1.0) * len(amounts)) - 1])
    raise ValueError(f"{feature.reference} is not an aggregate")


def expression_at(feature: Feature, values: Mapping[str, float]) -> float:
    """The value of an expression, given those of the view's other features by name."""
    return evaluate_expression(feature.steps, values)
