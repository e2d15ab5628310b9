"""Why one text is not a value of its column: called only for texts that the vectorised cast did not take."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from tenon.core.specs import Column, ColumnType

INTEGER = r"[+-]?[0-9]+"
FLOAT = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
DECIMAL = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
TIMESTAMP = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
    r"(?: ?(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9]))?"
)
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"

MESSAGES: dict[str, Callable[[Column], str]] = {
    "MISSING_VALUE": lambda _: "the value is missing and the column is not nullable",
    "NOT_INTEGER": lambda _: "is not a whole number",
    "NOT_NUMBER": lambda _: "is not a number",
    "NOT_DECIMAL": lambda _: "is not a decimal number (exponents are not read)",
    "TOO_MANY_DIGITS": lambda column: f"has more than {column.scale} digits after the point",
    "NOT_FINITE": lambda _: "is not a finite number",
    "OUT_OF_RANGE": lambda column: f"is out of the range of {column.type.value}",
    "NOT_BOOLEAN": lambda _: "is none of true/false, t/f, yes/no, y/n, 1/0",
    "NOT_TIMESTAMP": lambda _: "is not a timestamp such as 2024-03-01T08:30:00Z or 2024-03-01 08:30",
    "TIMESTAMP_WITHOUT_TIME": lambda _: "is a day without a time of day; write 2024-03-01 00:00 if midnight is meant",
    "NO_SUCH_DAY": lambda _: "is no day of the calendar",
    "DST_GAP": lambda column: f"does not exist in {column.timezone}: the clocks were put forward over it",
    "DST_AMBIGUOUS": lambda column: f"happened twice in {column.timezone}: the clocks were put back; write the offset",
    "NOT_DATE": lambda _: "is not a day such as 2024-03-01",
    "BELOW_MIN": lambda column: f"is below the minimum {column.min:g}",
    "ABOVE_MAX": lambda column: f"is above the maximum {column.max:g}",
    "NOT_IN_VALUES": lambda _: "is none of the declared values",
    "TOO_LONG": lambda column: f"has more than {column.max_length} characters",
    "PATTERN_MISMATCH": lambda _: "does not match the declared pattern",
    "KNOWN_AT_MISSING": lambda column: f"has a value, but {column.known_at}, which says when it was known, is missing",
}
"""What each reason says to a person, after the column's name. No text here holds the value itself."""


def explain(text: str, column: Column) -> str:
    """The reason code of a text that is not a value of the column's type."""
    return _EXPLAINERS[column.type](text, column)


def _integer(text: str, _: Column) -> str:
    return "OUT_OF_RANGE" if re.fullmatch(INTEGER, text) else "NOT_INTEGER"


def _float(text: str, _: Column) -> str:
    if re.fullmatch(FLOAT, text):
        return "OUT_OF_RANGE"
    word = text.strip().lower().lstrip("+-")
    return "NOT_FINITE" if word in ("nan", "inf", "infinity") else "NOT_NUMBER"


def _decimal(text: str, column: Column) -> str:
    if not re.fullmatch(DECIMAL, text):
        return "NOT_DECIMAL"
    fraction = text.partition(".")[2].rstrip("0")
    return "TOO_MANY_DIGITS" if len(fraction) > (column.scale or 0) else "OUT_OF_RANGE"


def _boolean(_: str, __: Column) -> str:
    return "NOT_BOOLEAN"


def _date(text: str, _: Column) -> str:
    return "NO_SUCH_DAY" if re.fullmatch(_DAY, text) else "NOT_DATE"


def _timestamp(text: str, column: Column) -> str:
    if re.fullmatch(_DAY, text):
        return "TIMESTAMP_WITHOUT_TIME"
    if not re.fullmatch(TIMESTAMP, text):
        return "NOT_TIMESTAMP"
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return "NO_SUCH_DAY"
    if re.search(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$", text[16:]):
        return "OUT_OF_RANGE"
    zone = ZoneInfo(column.timezone)
    moment = datetime.fromisoformat(text.strip())
    try:
        early, late = (moment.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    except OverflowError:
        return "OUT_OF_RANGE"
    if early == late:
        return "OUT_OF_RANGE"
    # After a jump forward the earlier rule has the smaller offset; after a step back it has the larger one.
    return "DST_GAP" if early < late else "DST_AMBIGUOUS"


_EXPLAINERS: dict[ColumnType, Callable[[str, Column], str]] = {
    ColumnType.STRING: lambda _, __: "NOT_IN_VALUES",
    ColumnType.INTEGER: _integer,
    ColumnType.FLOAT: _float,
    ColumnType.DECIMAL: _decimal,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.DATE: _date,
}
