"""The definition itself, and the example of the documentation."""

from __future__ import annotations

import doctest
import math
import re
from pathlib import Path

import pytest

from tenon.core import feature_semantics
from tenon.core.expressions import evaluate_expression, parse_expression
from tenon.core.feature_semantics import Event, Value, text_at, threshold, value_at
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


def test_every_function_of_the_documentation() -> None:
    """The second table's values are what the definition gives for its flights."""
    day, hour = 86_400_000_000, 3_600_000_000

    def flight(
        at: int, known: int, delay: int, load: float | None, carrier: str | None, *, until: int = 1 << 62
    ) -> Event:
        values = {"delay": Value(delay, known, until)}
        if load is not None:
            values["load"] = Value(load, at)
        if carrier is not None:
            values["carrier"] = Value(carrier, at)
            values["early"] = Value(delay, known)
        return Event(at, values)

    ten, noon, nine = 10 * hour, 12 * hour, 9 * hour
    history = [
        flight(ten, noon, 20, 0.1, "OS"), flight(day + ten, day + noon, 5, 0.2, "BA"),
        flight(2 * day + ten, 2 * day + noon, 5, 0.3, None),
        flight(3 * day + ten, 3 * day + noon, 40, 0.4, None, until=4 * day + nine),
        flight(day + ten, 5 * day + nine, 90, None, None),
    ]  # fmt: skip
    corrected = Event(3 * day + ten, {"delay": Value(46, 4 * day + nine)}, until=3 * day)

    def value(name: str, at: int) -> float | str | None:
        column, _, word = name.rpartition("_") if "since_last" not in name else ("delay", "", "since_last")
        function = {"p50": Function.QUANTILE, "latest": Function.LAST}.get(word) or Function(word)
        window = "2d" if word == "latest" else "7d"
        feature = Feature("v", name, column or None, function, window, 15.0, 0.5)
        events = [*history, corrected]
        return text_at(feature, events, at) if column == "carrier" else value_at(feature, 0, events, at)

    page = (Path(__file__).resolve().parents[4] / "docs/concepts/feature-semantics.md").read_text()
    rows = re.findall(
        r"^\| `([a-z0-9_]+)`[^|]*\| ([^|]+) \| ([^|]+) \|", page.split("## Every function")[1], re.MULTILINE
    )
    assert len(rows) == 18
    for name, *told in rows:
        for text, at in zip(told, (3 * day + 18 * hour, 4 * day + 18 * hour), strict=True):
            if name == "peak":
                parts = {"a": value("delay_max", at), "b": value("delay_mean", at)}
                found: float | str | None = evaluate_expression(parse_expression("a / b"), parts)  # type: ignore[arg-type]
            else:
                found = value(name, at)
            assert text == "missing" if found is None else str(found) == text or float(text) == found, name
