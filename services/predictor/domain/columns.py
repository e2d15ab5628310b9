"""From what a caller sent to clean columns: types, missing values and ranges are checked, naming column and row."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.predictor.domain.model import Column, Kind, Values
from services.predictor.domain.rows import LARGEST, LONGEST
from tenon.core.errors import Invalid, Place
from tenon.core.timestamps import parse_rfc3339

FloatArray = npt.NDArray[np.float64]
EXACT = 2**53

_REAL = frozenset({int, float})
_REAL_OR_NONE = frozenset({int, float, type(None)})
# A file's times without an offset are in the zone that its data set declares, which a bundle does not know: reading them as
# UTC here would look history up at another moment than training did.
_WITH_OFFSET = re.compile(r".{10,}([Zz]|[+-]\d\d(:?\d\d)?)$", re.ASCII)
_WORDS = {"true": 1.0, "false": 0.0}


def refuse(column: Column, row: int, reason: str, what: str, hint: str | None = None) -> Invalid:
    """A refusal that names the column and the row (counted from 0, as in the request)."""
    return Invalid(
        reason,
        f"column {column.name!r}, row {row}: {what}",
        place=Place(field=column.name),
        hint=hint,
        data={"column": column.name, "row": row},
    )


def numbers(column: Column, values: Values) -> FloatArray:
    """A number, integer or boolean column as float64, NaN for missing. Raises `Invalid`."""
    return _check(column, floats(column, values))


def floats(column: Column, values: Values) -> FloatArray:
    """The same before it is known whether the values are in range. Raises `Invalid`."""
    return _from_array(column, values) if isinstance(values, np.ndarray) else _from_list(column, values)


def texts(column: Column, values: Values) -> npt.NDArray[np.object_]:
    """A string column as an object array of str or None. Raises `Invalid`."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        raise refuse(column, 0, "VALUE_TYPE", "text is expected, not a number", "send it as BYTES")
    out = np.empty(len(values), object)
    for row, value in enumerate(values):
        if value is None or type(value) is str:
            if value is not None and len(value) > LONGEST:
                raise refuse(
                    column, row, "VALUE_RANGE", f"the text has {len(value)} characters; at most {LONGEST} are taken"
                )
            out[row] = value
        else:
            raise refuse(column, row, "VALUE_TYPE", f"text is expected, not {_say(value)}")
    if not column.nullable:
        _refuse_missing(column, [value is None for value in out])
    return out


def moments(column: Column, values: Values, now: int) -> list[int]:
    """Event times as microseconds; missing ones are now. Raises `Invalid`."""
    out = []
    for row, value in enumerate(values):
        if value is None:
            out.append(now)
        elif type(value) is str:
            if not _WITH_OFFSET.match(value) and _is_time(value):
                raise refuse(
                    column,
                    row,
                    "TIME_WITHOUT_OFFSET",
                    f"{value[:40]!r} does not say in which time zone it is",
                    "end it in Z for UTC or in an offset: 2024-03-01T08:30:00Z, 2024-03-01T09:30:00+01:00",
                )
            try:
                out.append(parse_rfc3339(value, column.name))
            except Invalid as err:
                raise refuse(column, row, err.reason, f"{value[:40]!r} is not a time", err.hint) from None
        else:
            raise refuse(
                column,
                row,
                "VALUE_TYPE",
                f"a time is expected, not {_say(value)}",
                "send text such as 2024-03-01T08:30:00Z",
            )
    return out


def _is_time(text: str) -> bool:
    try:
        parse_rfc3339(text)
    except Invalid:
        return False
    return True


def key_texts(column: Column, values: Values) -> list[str | None]:
    """An entity column in the canonical text that features knows entities by; None is missing. Raises `Invalid`."""
    if column.kind is Kind.TEXT:
        return list(texts(column, values))
    if (
        column.kind is Kind.INTEGER
        and not isinstance(values, np.ndarray)
        and set(map(type, values)) <= {int, type(None)}
    ):
        # Plain integers keep all their digits; float64 would round ids above 2**53.
        return [None if value is None else str(value) for value in values]
    if column.kind is Kind.INTEGER and isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return [str(value) for value in values.tolist()]
    cleaned = numbers(column, values).tolist()
    if column.kind is Kind.BOOLEAN:
        return [None if math.isnan(value) else ("true" if value else "false") for value in cleaned]
    # A decimal keeps its digits after the point; features writes them with the column's scale.
    return [None if math.isnan(value) else np.format_float_positional(value, trim="-") for value in cleaned]


def missing(column: Column, rows: int) -> npt.NDArray[Any]:
    """A column of missing values."""
    return np.full(rows, np.nan) if column.kind is not Kind.TEXT else np.full(rows, None, object)


def _from_array(column: Column, values: npt.NDArray[Any]) -> FloatArray:
    kind = values.dtype.kind
    if kind in "fb":
        return values.astype(np.float64, copy=False)
    if kind in "iu":
        if values.dtype.itemsize == 8:
            for row, value in enumerate(values.tolist()):
                if not -EXACT <= value <= EXACT:
                    raise refuse(column, row, "VALUE_RANGE", f"{value} is beyond the integers a float64 holds exactly")
        return values.astype(np.float64)
    return _from_list(column, values.tolist())


def _from_list(column: Column, values: Sequence[Any]) -> FloatArray:
    kinds = set(map(type, values))
    if kinds <= _REAL_OR_NONE and int in kinds:
        _refuse_inexact(column, values)
    if kinds <= _REAL:
        return np.array(values, np.float64)
    if kinds <= _REAL_OR_NONE:
        return np.array([math.nan if value is None else value for value in values], np.float64)
    return np.array([_number(column, row, value) for row, value in enumerate(values)], np.float64)


def _refuse_inexact(column: Column, values: Sequence[Any]) -> None:
    for row, value in enumerate(values):
        if type(value) is int and not -EXACT <= value <= EXACT:
            raise refuse(column, row, "VALUE_RANGE", f"{_say(value)} is beyond the integers a float64 holds exactly")


def _number(column: Column, row: int, value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) is bool:
        if column.kind is Kind.BOOLEAN:
            return float(value)
        raise refuse(column, row, "VALUE_TYPE", "a number is expected, not a boolean")
    if type(value) in _REAL:
        return float(value) if -EXACT <= value <= EXACT or type(value) is float else math.inf
    if type(value) is str:
        return _number_from_text(column, row, value)
    raise refuse(column, row, "VALUE_TYPE", f"a number is expected, not {_say(value)}")


def _number_from_text(column: Column, row: int, text: str) -> float:
    """Numbers may come as BYTES; words for missing or infinite are refused, so that nothing passes by accident."""
    if column.kind is Kind.BOOLEAN and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    stripped = text.strip()
    if stripped[:1] in "+-.0123456789" and stripped and "_" not in stripped and len(stripped) <= 64:
        try:
            return float(stripped)
        except ValueError:
            pass
    raise refuse(column, row, "VALUE_TYPE", f"{text[:40]!r} is not a number", "send null for a missing value")


def _check(column: Column, array: FloatArray) -> FloatArray:
    # One comparison settles the common case: it is false for NaN, infinities and what is too large.
    fine = np.abs(array) <= LARGEST
    if not fine.all():
        odd = ~fine
        nan = np.isnan(array)
        if not column.nullable:
            _refuse_missing(column, nan)
        beyond = odd & ~nan
        if beyond.any():
            row = int(np.argmax(beyond))
            what = "infinity is not a value" if math.isinf(array[row]) else f"{float(array[row])!r} is beyond float32"
            raise refuse(column, row, "VALUE_RANGE", what)
    if column.kind is Kind.BOOLEAN:
        wrong = fine & (array != 0) & (array != 1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise refuse(column, row, "VALUE_TYPE", f"a boolean is expected, not {array[row]:g}")
    elif column.kind is Kind.INTEGER:
        wrong = fine & (array != np.rint(array))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise refuse(column, row, "VALUE_TYPE", f"a whole number is expected, not {array[row]:g}")
    return array


def _refuse_missing(column: Column, absent: Sequence[Any] | npt.NDArray[Any]) -> None:
    for row, is_missing in enumerate(absent):
        if is_missing:
            raise refuse(column, row, "VALUE_MISSING", "a value is required; this column has no missing values")


def _say(value: Any) -> str:
    """What a wrong value is, for a message: its sort and no more than a glimpse of it."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "a boolean"
    return repr(value)[:40]
