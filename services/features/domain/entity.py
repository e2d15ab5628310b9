"""The canonical text of an entity: the same for a row of the lake and for a key in a request.

Integers in decimal, decimals with exactly `scale` digits, booleans as true/false, dates as ISO, strings as they are.
Several keys are joined with `|`; a backslash or a bar inside a key is escaped, so that no two entities share a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

import polars as pl

from services.features.domain.model import AskedRows
from services.features.domain.plan import EntityColumn
from tenon.core.errors import Invalid, Place, Precondition
from tenon.core.specs import ColumnType

_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_PLAIN = re.compile(r"[^\\|]*").fullmatch
_DECIMAL = re.compile(r"[+-]?\d{1,19}(\.\d{1,19})?", re.ASCII)


def entity_text(columns: Sequence[EntityColumn], keys: Mapping[str, str], place: str) -> str | None:
    """The canonical text of the entity that a request names; None when a key is missing.

    Raises `Invalid` when a key is not a value of its column's type. The value itself is not repeated in the message:
    it may be a person's number.
    """
    return _joined(columns, [keys.get(column.name) for column in columns], place)


def _joined(columns: Sequence[EntityColumn], keys: Sequence[str | None], place: str) -> str | None:
    parts = []
    for column, text in zip(columns, keys, strict=True):
        if text is None:
            return None
        parts.append(_escape(_canonical(column, text, f"{place}.keys.{column.name}")))
    return "|".join(parts)


def entity_texts(columns: Sequence[EntityColumn], asked: AskedRows) -> list[str | None]:
    """The same for each row of a request, whose place is `rows.<index>`."""
    if len(columns) == 1 and columns[0].type is ColumnType.STRING:
        texts = asked.keys.get(columns[0].name)
        if texts is None:
            return [None] * len(asked)
        return [text if text is None or _PLAIN(text) else _escape(text) for text in texts]
    found = [asked.keys.get(column.name) for column in columns]
    if any(texts is None for texts in found):
        return [None] * len(asked)
    rows = enumerate(zip(*(texts for texts in found if texts is not None), strict=True))
    return [_joined(columns, keys, f"rows.{index}") for index, keys in rows]


def entity_expression(columns: Sequence[EntityColumn], frame: Mapping[str, pl.DataType]) -> pl.Expr:
    """The canonical text of each row's entity; null when a key is missing. `frame` is the schema of the rows."""
    parts = [_column_text(column, frame[column.name]) for column in columns]
    escaped = [
        part.str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True) for part in parts
    ]
    return pl.concat_str(escaped, separator="|", ignore_nulls=False)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _canonical(column: EntityColumn, text: str, place: str) -> str:
    match column.type:
        case ColumnType.INTEGER:
            if _INTEGER.fullmatch(text):
                return str(int(text))
            _refuse(place, column, "write it in decimal, as 42")
        case ColumnType.BOOLEAN:
            if text in ("true", "false"):
                return text
            _refuse(place, column, "write true or false")
        case ColumnType.DATE:
            try:
                return date.fromisoformat(text).isoformat()
            except ValueError:
                _refuse(place, column, "write it as 2024-03-01")
        case ColumnType.DECIMAL:
            if not _DECIMAL.fullmatch(text):
                _refuse(place, column, "write it in decimal, as 12.50")
            try:
                scaled = int(Decimal(text).scaleb(column.scale).to_integral_exact())
            except InvalidOperation:
                _refuse(place, column, "it is too long")
            if Decimal(scaled) != Decimal(text).scaleb(column.scale):
                _refuse(place, column, f"it has more than {column.scale} digits after the point")
            return _fixed_point(scaled, column.scale)
        case _:
            return text
    raise AssertionError(column.type)


def _fixed_point(scaled: int, scale: int) -> str:
    sign, digits = "-" if scaled < 0 else "", str(abs(scaled)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def _refuse(place: str, column: EntityColumn, hint: str) -> None:
    raise Invalid(
        "ENTITY_KEY_INVALID",
        f"{place}: this is no {column.type.value} (column {column.name!r} identifies the entity)",
        place=Place(field=place),
        hint=hint,
    )


def _column_text(column: EntityColumn, dtype: pl.DataType) -> pl.Expr:
    source = pl.col(column.name)
    match column.type:
        case ColumnType.BOOLEAN:
            return pl.when(source.is_null()).then(None).when(source).then(pl.lit("true")).otherwise(pl.lit("false"))
        case ColumnType.DATE:
            return source.cast(pl.Date).dt.strftime("%Y-%m-%d")
        case ColumnType.DECIMAL:
            scaled = scaled_integers(column.name, column.scale, dtype)
            digits = scaled.abs().cast(pl.String).str.zfill(column.scale + 1)
            sign = pl.when(scaled < 0).then(pl.lit("-")).otherwise(pl.lit(""))
            if column.scale == 0:
                return pl.concat_str([sign, digits])
            cut = column.scale
            return pl.concat_str([sign, digits.str.head(-cut), pl.lit("."), digits.str.tail(cut)])
        case _:
            return source.cast(pl.String)


def scaled_integers(name: str, scale: int, dtype: pl.DataType) -> pl.Expr:
    """A column's values as int64 times ten to the power of its scale.

    The lake holds a decimal in fixed point, whose stored integer is just that; plain integers are taken as they are.
    Raises `Precondition` for anything else: a sum of floats would depend on the order of the rows.
    """
    source = pl.col(name)
    if isinstance(dtype, pl.Decimal) and dtype.scale == scale:
        return source.to_physical().cast(pl.Int64)
    if isinstance(dtype, pl.Decimal) and dtype.scale < scale:
        return (source.to_physical() * pl.lit(10 ** (scale - dtype.scale), pl.Int128)).cast(pl.Int64)
    if dtype.is_integer():
        return source.cast(pl.Int64)
    raise Precondition(
        "LAKE_TYPE_UNEXPECTED",
        f"column {name!r} is {dtype} in the lake, not integers or fixed point with at most {scale} digits",
        place=Place(field=name),
        hint="ingest the data set again under its present definition",
    )
