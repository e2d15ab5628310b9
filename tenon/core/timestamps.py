"""Instants are int64 microseconds since 1970-01-01T00:00:00Z inside, RFC 3339 in UTC outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tenon.core.errors import Invalid, Place

MICROS_PER_SECOND = 1_000_000
EARLIEST = -62_135_596_800 * MICROS_PER_SECOND
LATEST = 253_402_300_800 * MICROS_PER_SECOND - 1
"""The first and the last instant of the years 1 to 9999 in UTC: what a calendar and a protobuf Timestamp can say."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_YEARS = 100
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d|w|y)")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


def micros_from_datetime(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime; a naive one is taken as UTC. Exact, no floats."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def datetime_from_micros(micros: int) -> datetime:
    """The aware UTC datetime of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=micros)


def rfc3339(micros: int) -> str:
    """Microseconds since the epoch as RFC 3339 text ending in Z.

    >>> rfc3339(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime_from_micros(micros).isoformat().replace("+00:00", "Z")


def parse_rfc3339(text: str, field: str = "time") -> int:
    """Microseconds since the epoch of RFC 3339 text (a date alone is midnight UTC; no offset means UTC)."""
    try:
        micros = micros_from_datetime(datetime.fromisoformat(text))
        # An offset can carry the first or last day of the calendar out of it.
        if not EARLIEST <= micros <= LATEST:
            raise ValueError("not in the years 1 to 9999 in UTC")
        return micros
    except (ValueError, OverflowError, TypeError) as err:
        raise Invalid(
            "TIME_INVALID",
            f"{field} {str(text)[:40]!r} is not a time",
            place=Place(field=field),
            hint="write it as 2024-03-01T08:30:00Z",
        ) from err


def parse_duration(text: str, field: str = "duration") -> int:
    """Microseconds of a duration such as `90d`, `2h`, `15m`, `30s`, `2w`, `1y` (a year is 365 days).

    >>> parse_duration("1h")
    3600000000
    """
    match = _DURATION.fullmatch(text)
    if not match or int(match[1]) == 0:
        raise Invalid(
            "DURATION_INVALID",
            f"{field} {str(text)[:40]!r} is not a duration",
            place=Place(field=field),
            hint="write a whole number and a unit: 30s, 15m, 2h, 90d, 2w, 1y",
        )
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
    if seconds > _LONGEST_YEARS * _UNIT_SECONDS["y"]:
        raise Invalid("DURATION_INVALID", f"{field} {text!r} is over {_LONGEST_YEARS} years", place=Place(field=field))
    return seconds * MICROS_PER_SECOND
