"""Casting: what is taken is exactly what the text says, and nothing else is taken."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.ingest.domain.cast_rows import FALSE, TRUE, cast_chunk, cast_column
from services.ingest.domain.explain_value import FLOAT, INTEGER, MESSAGES, explain
from services.ingest.domain.read_csv import Chunk
from tenon.core.specs import Column, ColumnType, DatasetSpec, parse_spec

BERLIN = ZoneInfo("Europe/Berlin")
texts = st.one_of(
    st.text(alphabet="0123456789+-.eE_ ", max_size=24),
    st.text(alphabet="0123456789-T: .Z+", max_size=30),
    st.sampled_from(
        ["", " ", "7.5", "1e3", "007", "+7", "٣", "1_000", "0x1f", "nan", "-inf", "Infinity", "TRUE", "tRuE", "1 "]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)
relaxed = settings(max_examples=80, deadline=None)


def column(kind: str, **more: object) -> Column:
    """A nullable column of a kind."""
    return Column.model_validate({"type": kind, "nullable": True, **more})


def wall(text: str) -> datetime:
    """What a clock on the wall shows."""
    return datetime.fromisoformat(text)


def cast(text: str, kind: str, **more: object) -> object:
    """The value of one text, None when it is refused; and in that case there must be a reason with a message."""
    declared = column(kind, **more)
    value = cast_column(pl.Series("c", [text], pl.String), declared)[0]
    if value is None:
        reason = explain(text, declared)
        assert text not in (MESSAGES[reason](declared),)
    return value


@relaxed
@given(texts)
@example("9223372036854775807")
@example("9223372036854775808")
@example("-9223372036854775808")
@example("-9223372036854775809")
@example("1\n")
def test_integers_are_taken_as_python_reads_them_and_nothing_else(text: str) -> None:
    """Any text is an integer exactly when it is digits with an optional sign that fit 64 bits."""
    fits = re.fullmatch(INTEGER, text) and -(2**63) <= int(text) < 2**63
    assert cast(text, "integer") == (int(text) if fits else None)


@relaxed
@given(texts)
@example("1e999")
@example("179769313486231580793e289")
@example("2.2250738585072011e-308")
def test_floats_are_the_nearest_double_and_always_finite(text: str) -> None:
    """Any text is a float exactly when Python reads the same finite double from it."""
    expected = float(text) if re.fullmatch(FLOAT, text) else None
    if expected in (float("inf"), float("-inf")):
        expected = None
    assert cast(text, "float") == expected


@relaxed
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_double_comes_back_bit_for_bit(value: float) -> None:
    """The shortest text of a double is read as the same double."""
    read = cast(repr(value), "float")
    assert isinstance(read, float)
    assert read.hex() == value.hex()


@relaxed
@given(texts, st.integers(0, 9))
@example("1.255", 2)
@example("1.2500", 2)
@example("9999999999999999.99", 2)
@example("10000000000000000.00", 2)
@example(".5", 0)
@example(".50", 1)
@example("5.", 0)
@example("-0.05", 2)
def test_decimals_are_exact_or_refused(text: str, scale: int) -> None:
    """A decimal is taken exactly when it fits 18 digits at its scale without rounding, and is that very number."""
    expected = None
    if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", text):
        unscaled = Decimal(text).scaleb(scale)
        if unscaled == unscaled.to_integral_value() and abs(unscaled) < 10**18:
            expected = Decimal(text)
    assert cast(text, "decimal", scale=scale) == expected


@relaxed
@given(st.integers(-(10**18) + 1, 10**18 - 1), st.integers(0, 9))
def test_every_fixed_point_number_comes_back(unscaled: int, scale: int) -> None:
    """A decimal written with its scale is read as the same number."""
    value = Decimal(unscaled).scaleb(-scale)
    assert cast(f"{value:f}", "decimal", scale=scale) == value


@relaxed
@given(texts)
def test_booleans_are_ten_words_in_any_case(text: str) -> None:
    """Only the declared words are booleans."""
    expected = True if text.lower() in TRUE else False if text.lower() in FALSE else None
    assert cast(text, "boolean") is expected


@relaxed
@given(st.datetimes(wall("0002-01-01"), wall("9998-12-30")), st.integers(-23 * 60, 23 * 60), st.sampled_from("T "))
def test_timestamps_with_an_offset_come_back_to_the_microsecond(moment: datetime, minutes: int, between: str) -> None:
    """ISO 8601 text with any offset is the same instant."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert cast(aware.isoformat(sep=between), "timestamp", timezone="Asia/Tokyo") == aware


@relaxed
@given(st.datetimes(wall("1971-01-01"), wall("2036-12-31")))
@example(wall("2024-03-31 02:30"))
@example(wall("2024-10-27 02:30"))
@example(wall("2024-03-31 03:00"))
@example(wall("2024-10-27 03:00"))
def test_local_times_are_taken_only_when_they_happened_exactly_once(moment: datetime) -> None:
    """A wall clock time is its only instant; one in a gap or one that happened twice is refused, saying which."""
    instants = {
        moment.replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)
        for fold in (0, 1)
        if moment.replace(tzinfo=BERLIN, fold=fold).astimezone(UTC).astimezone(BERLIN).replace(tzinfo=None) == moment
    }
    text = moment.isoformat(sep=" ")
    value = cast(text, "timestamp", timezone="Europe/Berlin")
    assert value == (instants.pop() if len(instants) == 1 else None)
    if value is None:
        expected = "DST_AMBIGUOUS" if instants else "DST_GAP"
        assert explain(text, column("timestamp", timezone="Europe/Berlin")) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2024-03-01", "TIMESTAMP_WITHOUT_TIME"),
        ("2024-02-30 08:00", "NO_SUCH_DAY"),
        ("0000-01-01 00:00", "NO_SUCH_DAY"),
        ("2024-03-01T24:00:00Z", "NOT_TIMESTAMP"),
        ("2024-03-01T08:30:60Z", "NOT_TIMESTAMP"),
        ("2024-03-01T08:30:00.1234567Z", "NOT_TIMESTAMP"),
        ("2024-03-01T08:30:00+25:00", "NOT_TIMESTAMP"),
        ("01.03.2024 08:30", "NOT_TIMESTAMP"),
        ("1709281800", "NOT_TIMESTAMP"),
        ("0001-01-01T00:00:00+14:00", "OUT_OF_RANGE"),
        ("2024-03-31 02:30", "DST_GAP"),
        ("2024-10-27 02:30", "DST_AMBIGUOUS"),
    ],
)
def test_what_is_not_a_timestamp_says_why(text: str, reason: str) -> None:
    """Each way of being wrong has its own reason."""
    assert cast(text, "timestamp", timezone="Europe/Berlin") is None
    assert explain(text, column("timestamp", timezone="Europe/Berlin")) == reason


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-03-01T08:30:00Z", "2024-03-01T08:30:00+00:00"),
        ("2024-03-01 08:30", "2024-03-01T07:30:00+00:00"),
        ("2024-03-01 08:30:05", "2024-03-01T07:30:05+00:00"),
        ("2024-03-01 08:30:05.25", "2024-03-01T07:30:05.250000+00:00"),
        ("2024-03-01T08:30+0530", "2024-03-01T03:00:00+00:00"),
        ("2024-03-01 08:30 -08:00", "2024-03-01T16:30:00+00:00"),
        ("2024-10-27T02:30:00+01:00", "2024-10-27T01:30:00+00:00"),
    ],
)
def test_the_spellings_of_an_instant(text: str, instant: str) -> None:
    """Seconds and fractions may be left out; an offset wins over the column's zone."""
    assert cast(text, "timestamp", timezone="Europe/Berlin") == datetime.fromisoformat(instant)


@relaxed
@given(texts)
@example("2024-02-29")
@example("2023-02-29")
def test_dates_are_days_of_the_calendar(text: str) -> None:
    """A date is YYYY-MM-DD of a day that exists."""
    expected = None
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            expected = date.fromisoformat(text)
        except ValueError:
            expected = None
    assert cast(text, "date") == expected


CONSTRAINED = parse_spec(
    DatasetSpec,
    {
        "name": "visits",
        "primaryKey": ["id"],
        "eventTime": "at",
        "csv": {"missing": ["", "NA"]},
        "columns": {
            "id": {"type": "string", "pattern": "[A-Z]{2}[0-9]{2}|X"},
            "at": {"type": "timestamp"},
            "kind": {"type": "string", "values": ["a", "b"], "nullable": True},
            "note": {"type": "string", "maxLength": 3, "nullable": True},
            "age": {"type": "integer", "min": 0, "max": 115.5},
            "fee": {"type": "decimal", "scale": 2, "min": 0.1, "max": 9.99, "nullable": True, "knownAt": "billed"},
            "share": {"type": "float", "min": 0.0, "max": 1.0, "nullable": True},
            "billed": {"type": "timestamp", "nullable": True},
        },
    },
)
GOOD = {"id": "AB12", "at": "2024-01-01 00:00", "kind": "a", "note": "äöü", "age": "115", "fee": "0.10", "share": "1",
        "billed": "2023-01-01 00:00"}  # fmt: skip


def judge(**changed: str) -> list[str]:
    """The problems of the good row with some values changed, as COLUMN:REASON."""
    row = GOOD | changed
    good, bad = cast_chunk(CONSTRAINED, Chunk(list(row), [2], [list(row.values())]))
    assert len(good) + len(bad) == 1
    return [f"{bad[0].column}:{bad[0].reason}", *bad[0].also] if bad else []


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({}, []),
        ({"id": "X"}, []),
        ({"id": "AB123"}, ["id:PATTERN_MISMATCH"]),
        ({"id": "XX"}, ["id:PATTERN_MISMATCH"]),
        ({"id": "AB12\n"}, ["id:PATTERN_MISMATCH"]),
        ({"id": "NA"}, ["id:MISSING_VALUE"]),
        ({"kind": "c"}, ["kind:NOT_IN_VALUES"]),
        ({"kind": "NA"}, []),
        ({"note": "abcd"}, ["note:TOO_LONG"]),
        ({"age": "-1"}, ["age:BELOW_MIN"]),
        ({"age": "116"}, ["age:ABOVE_MAX"]),
        ({"age": "7.5"}, ["age:NOT_INTEGER"]),
        ({"fee": "0.09"}, ["fee:BELOW_MIN"]),
        ({"fee": "9.99"}, []),
        ({"fee": "10"}, ["fee:ABOVE_MAX"]),
        ({"fee": "1.005"}, ["fee:TOO_MANY_DIGITS"]),
        ({"share": "1.0000001"}, ["share:ABOVE_MAX"]),
        ({"billed": ""}, ["fee:KNOWN_AT_MISSING"]),
        ({"billed": "", "fee": "NA"}, []),
        ({"billed": "soon"}, ["billed:NOT_TIMESTAMP"]),
        ({"age": "x", "share": "2"}, ["age:NOT_INTEGER", "share:ABOVE_MAX"]),
    ],
)
def test_constraints(changed: dict[str, str], problems: list[str]) -> None:
    """Each constraint catches what breaks it, and only that; a value known before its event is odd but legal."""
    assert judge(**changed) == problems


@relaxed
@given(st.lists(st.lists(st.one_of(texts, st.sampled_from(list(GOOD.values()))), min_size=8, max_size=8), max_size=20))
def test_every_row_is_good_or_bad_and_good_rows_keep_the_contract(rows: list[list[str]]) -> None:
    """Whatever a file holds, no row is lost or doubled, and what passes satisfies every constraint."""
    good, bad = cast_chunk(CONSTRAINED, Chunk(list(GOOD), list(range(2, len(rows) + 2)), rows))
    assert sorted([*good["_line"].to_list(), *(row.line for row in bad)]) == list(range(2, len(rows) + 2))
    for row in good.iter_rows(named=True):
        assert re.fullmatch("[A-Z]{2}[0-9]{2}|X", row["id"])
        assert row["at"] is not None
        assert row["kind"] in (None, "a", "b")
        assert row["note"] is None or len(row["note"]) <= 3
        assert 0 <= row["age"] <= 115
        assert row["fee"] is None or (Decimal("0.1") <= row["fee"] <= Decimal("9.99") and row["billed"] is not None)
        assert row["share"] is None or 0 <= row["share"] <= 1


def test_a_bad_value_is_shown_cut_and_never_in_the_message() -> None:
    """The message names the column and the rule; the value stands apart, at most 200 characters of it."""
    row = GOOD | {"age": "secret" * 100}
    _, bad = cast_chunk(CONSTRAINED, Chunk(list(row), [7], [list(row.values())]))
    assert bad[0].line == 7
    assert bad[0].value is not None
    assert len(bad[0].value) == 201
    assert "secret" not in bad[0].message


def test_every_type_has_a_cast_and_the_lake_type_is_exact() -> None:
    """Fixed point is a decimal of 18 digits in the lake, instants are UTC microseconds."""
    assert cast_column(pl.Series("c", ["1.5"], pl.String), column("decimal", scale=2)).dtype == pl.Decimal(18, 2)
    assert cast_column(pl.Series("c", ["x"], pl.String), column("timestamp")).dtype == pl.Datetime("us", "UTC")
    for kind in ColumnType:
        more = {"scale": 1} if kind is ColumnType.DECIMAL else {}
        assert cast_column(pl.Series("c", [None], pl.String), column(kind.value, **more)).to_list() == [None]
