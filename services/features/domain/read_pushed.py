"""Rows that are pushed, held to the same contract as ingest holds files to: what is not exactly a value of its column is
refused. JSON says the type, so nothing is guessed from text."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from services.features.domain.entity import entity_expression
from services.features.domain.plan import EntityColumn
from tenon.core.errors import Invalid, Place, did_you_mean
from tenon.core.specs import Column, ColumnType, DatasetSpec
from tenon.core.timestamps import EARLIEST, LATEST, micros_from_datetime

_DIGITS = 18
_EPOCH = date(1970, 1, 1)
_INT64 = (-(1 << 63), (1 << 63) - 1)
_DTYPES: dict[ColumnType, Any] = {
    ColumnType.STRING: pl.String,
    ColumnType.FLOAT: pl.Float64,
    ColumnType.BOOLEAN: pl.Boolean,
}
_Value = int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class PushedRow:
    """A row by column, as JSON has it (`values`), and the key of its primary key."""

    key: int
    values: Mapping[str, Any]

    def to_bytes(self, at: int, version: int) -> bytes:
        """The row, when it was pushed, and the version that the table had then."""
        return json.dumps(
            {"at": at, "version": version, "row": self.values}, separators=(",", ":"), default=str
        ).encode()


def stored_row(data: bytes) -> tuple[int, Mapping[str, Any]]:
    """When a row was pushed, and the row."""
    read = json.loads(data)
    return int(read["at"]), read["row"]


def pushed_version(data: bytes) -> int | None:
    """The version that the table had when a row was pushed; None of rows from before this was kept."""
    version = json.loads(data).get("version")
    return None if version is None else int(version)


def read_rows(spec: DatasetSpec, rows: Sequence[Mapping[str, Any]]) -> list[PushedRow]:
    """The rows, each key once: the last that has it stands. Raises `Invalid` naming the row and the column."""
    for index, row in enumerate(rows):
        _check_row(spec, row, f"rows.{index}")
    keys = [key_of(text) for text in key_texts(spec, frame_of(column_types(spec), rows))]
    return list({key: PushedRow(key, dict(row)) for key, row in zip(keys, rows, strict=True)}.values())


def key_of(text: str) -> int:
    """A primary key's text as a number other than 0."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True) or 1


def key_texts(spec: DatasetSpec, frame: pl.DataFrame) -> pl.Series:
    """The primary key of each row as text."""
    columns = tuple(
        EntityColumn(name, spec.columns[name].type, spec.columns[name].scale or 0) for name in spec.primary_key
    )
    return frame.select(entity_expression(columns, frame.schema).alias("key")).to_series()


def column_types(spec: DatasetSpec) -> dict[str, tuple[ColumnType, int]]:
    """Type and scale by column."""
    return {name: (column.type, column.scale or 0) for name, column in spec.columns.items()}


def frame_of(types: Mapping[str, tuple[ColumnType, int]], rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as the lake would give them, decimals as their integers. Raises `ValueError` for what is no value of its type."""
    series = []
    for name, (kind, scale) in types.items():
        values = [read_value(row.get(name), kind, scale) for row in rows]
        made = pl.Series(name, values, _DTYPES.get(kind, pl.Int64))
        if kind is ColumnType.TIMESTAMP:
            made = made.cast(pl.Datetime("us", "UTC"))
        series.append(made.cast(pl.Int32).cast(pl.Date) if kind is ColumnType.DATE else made)
    return pl.DataFrame(series)


def read_value(value: Any, kind: ColumnType, scale: int) -> _Value:
    """A JSON value as its column's: instants in microseconds, dates in days, decimals times ten to the scale."""
    if value is None:
        return None
    match kind:
        case ColumnType.STRING if isinstance(value, str):
            return value
        case ColumnType.BOOLEAN if isinstance(value, bool):
            return value
        case ColumnType.INTEGER if isinstance(value, int) and not isinstance(value, bool):
            return _within(value)
        case ColumnType.FLOAT if isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(number := float(value)):
                raise ValueError("is not finite")
            return number
        case ColumnType.DECIMAL if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
            return _decimal(value, scale)
        case ColumnType.TIMESTAMP if isinstance(value, str):
            return _instant(value)
        case ColumnType.DATE if isinstance(value, str):
            if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
                raise ValueError("is not a date; write it as 2024-03-01")
            return (date.fromisoformat(value) - _EPOCH).days
    raise ValueError(f"is no {kind.value}")


def _within(number: int) -> int:
    if not _INT64[0] <= number <= _INT64[1]:
        raise ValueError("is too large")
    return number


def _decimal(value: float | str | Decimal, scale: int) -> int:
    try:
        # A JSON number stands for the decimal that was written, which is the shortest one that gives this double.
        scaled = Decimal(repr(value) if isinstance(value, float) else value).scaleb(scale)
        if not scaled.is_finite() or abs(scaled) >= Decimal(10) ** _DIGITS:
            raise ValueError("is too large")
        whole = int(scaled)
    except (InvalidOperation, OverflowError) as err:
        raise ValueError("is not a decimal; write it as 12.50") from err
    if scaled != whole:
        raise ValueError(f"has more than {scale} digits after the point")
    return whole


def _instant(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("says no zone; write it as 2024-03-01T08:30:00Z")
    micros = micros_from_datetime(moment)
    if not EARLIEST <= micros <= LATEST:
        raise ValueError("is not in the years 1 to 9999")
    return micros


def _check_row(spec: DatasetSpec, row: Mapping[str, Any], place: str) -> None:
    for name in row:
        if name not in spec.columns and spec.extra_columns == "refuse":
            near = did_you_mean(name, spec.columns)
            _refuse(place, name, "is no column of the data set", f"did you mean `{near}`?" if near else None)
    for name, column in spec.columns.items():
        given = row.get(name)
        try:
            value = read_value(given, column.type, column.scale or 0)
            problem = _broken(value, column)
        except (ValueError, OverflowError) as err:
            problem = str(err) if len(str(err)) < 80 else f"is no {column.type.value}"
        if problem is None and given is not None and column.known_at is not None and row.get(column.known_at) is None:
            problem = f"has no {column.known_at!r}, which says when it was known"
        if problem is not None:
            _refuse(place, name, problem)


def _broken(value: _Value, column: Column) -> str | None:
    """Which of the column's rules the value breaks."""
    if value is None:
        return None if column.nullable else "is missing"
    if isinstance(value, str):
        if column.values is not None and value not in column.values:
            return "is not one of the values allowed"
        if column.max_length is not None and len(value) > column.max_length:
            return f"is longer than {column.max_length} characters"
        # Ingest's own expressions, which take linear time whatever the pattern.
        if column.pattern is not None and not pl.Series([value]).str.contains(rf"\A(?:{column.pattern})\z").all():
            return "does not match the pattern"
        return None
    if column.type in (ColumnType.INTEGER, ColumnType.FLOAT, ColumnType.DECIMAL):
        exact = Decimal(repr(value)).scaleb(-(column.scale or 0))
        if column.min is not None and exact < Decimal(repr(column.min)):
            return f"is below {column.min:g}"
        if column.max is not None and exact > Decimal(repr(column.max)):
            return f"is above {column.max:g}"
    return None


def _refuse(place: str, column: str, problem: str, hint: str | None = None) -> None:
    # The value itself is not repeated: it may be a person's.
    raise Invalid("PUSHED_ROW_INVALID", f"{place}.{column[:80]} {problem}", place=Place(field=f"{place}.{column[:80]}"),
                  hint=hint)  # fmt: skip
