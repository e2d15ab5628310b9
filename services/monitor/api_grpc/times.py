"""Times of messages: microseconds since the epoch inside, protobuf's timestamps and durations outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from tenon.core.errors import Invalid

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

# What protobuf calls valid: the years 1 to 9999, and as long a time in either direction.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_LONGEST_SECONDS = 315_576_000_000


def micros_of(moment: Timestamp) -> int:
    """Microseconds of a timestamp. Raises `Invalid` outside the calendar's range."""
    if not _FIRST_SECOND <= moment.seconds <= _LAST_SECOND:
        raise Invalid("TIME_INVALID", "a timestamp must lie between the years 1 and 9999")
    if not 0 <= moment.nanos <= 999_999_999:
        raise Invalid("TIME_INVALID", f"a timestamp's nanos must lie between 0 and 999,999,999, not {moment.nanos}")
    return moment.ToMicroseconds()


def length_of(duration: Duration) -> int:
    """Microseconds of a duration. Raises `Invalid` where it is longer than 10,000 years or its parts disagree."""
    nanos_agree = abs(duration.nanos) <= 999_999_999 and duration.seconds * duration.nanos >= 0
    if abs(duration.seconds) > _LONGEST_SECONDS or not nanos_agree:
        raise Invalid("TIME_INVALID", "a duration must be shorter than 10,000 years, its seconds and nanos of one sign")
    return duration.ToMicroseconds()


def timestamp(micros: int) -> Timestamp:
    """The other way."""
    moment = Timestamp()
    moment.FromMicroseconds(micros)
    return moment
