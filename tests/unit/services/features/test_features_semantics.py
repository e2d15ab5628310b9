"""The definition itself, and the example of the documentation."""

from __future__ import annotations

import doctest
import math

import pytest

from tenon.core import feature_semantics
from tenon.core.feature_semantics import Event, Value, threshold, value_at
from tenon.core.specs import Feature, Function


def test_the_examples_in_the_text() -> None:
    """The docstrings' examples are true."""
    assert doctest.testmod(feature_semantics).failed == 0


@pytest.mark.parametrize(
    ("above", "scale", "stored", "expected"),
    [(0.1, 1, 1, False), (0.1, 1, 2, True), (15, 0, 15, False), (15, 0, 16, True), (14.5, 0, 14, False),
     (14.5, 0, 15, True), (-0.5, 0, -1, False), (-0.5, 0, 0, True), (0.29, 2, 29, False)],
)  # fmt: skip
def test_thresholds_are_decimal(above: float, scale: int, stored: int, expected: bool) -> None:
    """A threshold means the decimal number that is written, not the nearest binary one."""
    assert (stored > threshold(above, scale)) is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("10:00", (0, math.nan)), ("10:01", (1, math.nan)), ("13:00", (2, math.nan)), ("13:01", (2, 20.0)),
        ("14:01", (3, 17.0)), ("15:00", (3, 17.0)), ("15:01", (2, 14.0)), ("16:31", (1, math.nan)),
        ("18:31", (0, math.nan)),
    ],
)  # fmt: skip
def test_the_example_of_the_documentation(at: str, expected: tuple[float, float]) -> None:
    """The table in docs/concepts/feature-semantics.md is what the definition gives."""

    def moment(text: str) -> int:
        hours, minutes = text.split(":")
        return (int(hours) * 60 + int(minutes)) * 60_000_000

    history = [
        Event(moment("10:00"), {"delay": Value(20, moment("13:00"))}),
        Event(moment("11:30"), {"delay": Value(14, moment("14:00"))}),
        Event(moment("13:30"), {}),
    ]
    count = Feature("v", "count_5h", None, Function.COUNT, "5h", None)
    mean = Feature("v", "delay_mean_5h", "delay", Function.MEAN, "5h", None)
    found = value_at(count, 0, history, moment(at)), value_at(mean, 0, history, moment(at))
    assert found == pytest.approx(expected, nan_ok=True, abs=0)
