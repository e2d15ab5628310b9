"""Instants and durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenon.core.errors import Invalid
from tenon.core.timestamps import datetime_from_micros, micros_from_datetime, parse_duration, parse_rfc3339, rfc3339

INSTANTS = st.integers(min_value=-60_000_000_000_000_000, max_value=250_000_000_000_000_000)


@given(INSTANTS)
def test_an_instant_survives_text_and_datetime(micros: int) -> None:
    """Not one microsecond is lost on the way out and in."""
    assert parse_rfc3339(rfc3339(micros)) == micros
    assert micros_from_datetime(datetime_from_micros(micros)) == micros


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
    ],
)
def test_the_ways_to_write_an_instant(text: str, micros: int) -> None:
    """Offsets are honoured, no offset is UTC, a date is its midnight."""
    assert parse_rfc3339(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2024-13-01",
        "12:00",
        "2024-02-30T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    """The message names the field and shows how to write it; an offset cannot lead out of the years 1 to 9999."""
    with pytest.raises(Invalid) as caught:
        parse_rfc3339(text, "testFrom")
    assert "testFrom" in caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1d", 86400), ("1w", 604800), ("1y", 31536000)]
)
def test_durations(text: str, seconds: int) -> None:
    """A whole number and a unit."""
    assert parse_duration(text) == seconds * 1_000_000


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1.5d", "1 d", "1month", "90 days"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused with the way to write it."""
    with pytest.raises(Invalid) as caught:
        parse_duration(text)
    assert "90d" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["101y", "36501d", "999999999y"])
def test_a_duration_is_at_most_a_century(text: str) -> None:
    """So that a moment plus a duration is a moment again, which neither a calendar nor 64 bits promise."""
    with pytest.raises(Invalid, match="100 years"):
        parse_duration(text, "expires_in")
    assert rfc3339(parse_rfc3339("2100-01-01") + parse_duration("100y")).startswith("2199-")
