"""Values are taken exactly or refused, naming the column and the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.predictor.domain.columns import key_texts, moments, numbers, texts
from services.predictor.domain.model import Column
from tenon.core.errors import Invalid

NUMBER = Column("x", "float", "request", nullable=True)
NEEDED = Column("x", "float", "request", nullable=False)
INTEGER = Column("x", "integer", "request", nullable=True)
BOOLEAN = Column("x", "boolean", "request", nullable=True)
TEXT = Column("x", "string", "request", nullable=True)
TIME = Column("x", "timestamp", "event_time", nullable=True)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        (NUMBER, [1, 2.5, None], [1.0, 2.5, np.nan]),
        (NUMBER, ["1.5", "-2", ".5", " 7 ", "1e3"], [1.5, -2, 0.5, 7, 1000]),
        (NUMBER, np.array([1, 2], np.int8), [1, 2]),
        (NUMBER, np.array([1, 2], np.uint64), [1, 2]),
        (NUMBER, np.array([0.5, np.nan], np.float16), [0.5, np.nan]),
        (NUMBER, np.array([True, False]), [1, 0]),
        (INTEGER, [3, 4.0, None, "5"], [3, 4, np.nan, 5]),
        (INTEGER, [2**53, -(2**53)], [2.0**53, -(2.0**53)]),
        (BOOLEAN, [True, False, None, 1, 0, "true", "FALSE"], [1, 0, np.nan, 1, 0, 1, 0]),
    ],
)
def test_numbers_are_taken_as_they_are(column: Column, values: Any, expected: list[float]) -> None:
    """Every datatype that fits the column, missing values as NaN."""
    found = numbers(column, values)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("column", "values", "reason", "row"),
    [
        (NUMBER, [1, "NaN"], "VALUE_TYPE", 1),
        (NUMBER, ["inf"], "VALUE_TYPE", 0),
        (NUMBER, [1.0, ""], "VALUE_TYPE", 1),
        (NUMBER, ["1_000"], "VALUE_TYPE", 0),
        (NUMBER, ["0x10"], "VALUE_TYPE", 0),
        (NUMBER, ["1" * 65], "VALUE_TYPE", 0),
        (NUMBER, [1.0, True], "VALUE_TYPE", 1),
        (NUMBER, [{}], "VALUE_TYPE", 0),
        (NUMBER, [[1]], "VALUE_TYPE", 0),
        (NUMBER, [0.0, float("inf")], "VALUE_RANGE", 1),
        (NUMBER, [1e39], "VALUE_RANGE", 0),
        (NUMBER, ["-1e39"], "VALUE_RANGE", 0),
        (NUMBER, np.array([1, -np.inf], np.float32), "VALUE_RANGE", 1),
        (NUMBER, [2**53 + 1], "VALUE_RANGE", 0),
        (NUMBER, [1.5, 10**300, None], "VALUE_RANGE", 1),
        (NUMBER, np.array([0, -(2**63)], np.int64), "VALUE_RANGE", 1),
        (NUMBER, np.array([2**64 - 1], np.uint64), "VALUE_RANGE", 0),
        (NEEDED, [1.0, None], "VALUE_MISSING", 1),
        (NEEDED, np.array([np.nan]), "VALUE_MISSING", 0),
        (INTEGER, [1, 2.5], "VALUE_TYPE", 1),
        (BOOLEAN, [0, 1, 2], "VALUE_TYPE", 2),
        (BOOLEAN, ["yes"], "VALUE_TYPE", 0),
    ],
)
def test_what_is_no_value_is_refused_by_column_and_row(column: Column, values: Any, reason: str, row: int) -> None:
    """Nothing is silently turned into a number."""
    with pytest.raises(Invalid) as caught:
        numbers(column, values)
    assert caught.value.reason == reason
    assert caught.value.data == {"column": "x", "row": row}
    assert f"column 'x', row {row}" in caught.value.message


def test_texts_are_text() -> None:
    """Strings and missing values; numbers are refused, also as an array."""
    assert list(texts(TEXT, ["a", None, ""])) == ["a", None, ""]
    for wrong in ([1], [True], [["a"]], ["x" * 10_001], np.array([1.0])):
        with pytest.raises(Invalid):
            texts(TEXT, wrong)
    with pytest.raises(Invalid) as caught:
        texts(Column("x", "string", "request", nullable=False), ["a", None])
    assert caught.value.reason == "VALUE_MISSING"


def test_times_are_rfc_3339_and_default_to_now() -> None:
    """A missing time is now; a number or nonsense is refused by row."""
    assert moments(TIME, ["1970-01-01T00:00:01Z", None, "1970-01-01T01:00:00+01:00"], 7) == [1_000_000, 7, 0]
    for wrong in (["1970-01-01T00:00:01Z", "tomorrow"], ["1970-01-01T00:00:01Z", 17]):
        with pytest.raises(Invalid, match="row 1"):
            moments(TIME, wrong, 0)


@pytest.mark.parametrize("text", ["2024-03-01T08:30:00", "2024-03-01 08:30", "2024-03-01T08", "2024-03-01"])
def test_times_say_their_zone(text: str) -> None:
    """A time without an offset is refused: a file's would be in the zone of its data set, and history looked up hours away
    from where training looked. Nonsense is still called nonsense."""
    with pytest.raises(Invalid, match="row 1") as caught:
        moments(TIME, ["2024-03-01T08:30+01:00", text], 0)
    assert caught.value.reason == "TIME_WITHOUT_OFFSET"
    with pytest.raises(Invalid) as caught:
        moments(TIME, ["soon"], 0)
    assert caught.value.reason == "TIME_INVALID"


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("string", ["p1", None], ["p1", None]),
        ("decimal", [12.5, 12.0, "3.10", None, 1e16], ["12.5", "12", "3.1", None, "10000000000000000"]),
        ("integer", [17, None, 2**60], ["17", None, str(2**60)]),
        ("integer", [17.0, 3], ["17", "3"]),
        ("integer", np.array([17, -3], np.int64), ["17", "-3"]),
        ("integer", np.array([2**60 + 1], np.int64), [str(2**60 + 1)]),
        ("boolean", [True, False, None], ["true", "false", None]),
        ("date", ["2024-03-01"], ["2024-03-01"]),
    ],
)
def test_entities_have_one_text(kind: str, values: Any, expected: list[str | None]) -> None:
    """The canonical form that features knows them by; large integers keep all digits."""
    assert key_texts(Column("x", kind, "entity", nullable=True), values) == expected
