"""From text to typed rows by our own strict rules: a value that is not exactly what its column says is quarantined.

Whole columns are judged and cast at once; only values that fail are looked at one by one, to say why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal

import polars as pl

from services.ingest.domain.explain_value import FLOAT, INTEGER, MESSAGES, TIMESTAMP, explain
from services.ingest.domain.model import BadRow, column_dtype, shown
from services.ingest.domain.read_csv import Chunk
from tenon.core.specs import Column, ColumnType, CsvDialect, DatasetSpec

TRUE = ["true", "t", "yes", "y", "1"]
FALSE = ["false", "f", "no", "n", "0"]
_INT64 = (-(2**63), 2**63 - 1)


def cast_chunk(spec: DatasetSpec, chunk: Chunk) -> tuple[pl.DataFrame, list[BadRow]]:
    """The good rows of a chunk as typed columns (with `_line`), and the bad ones with their reasons, in line order.

    Every row of the chunk is in exactly one of the two.
    """
    raw = _text_columns(chunk)
    values: dict[str, pl.Series] = {}
    texts: dict[str, pl.Series] = {}
    problems: dict[int, list[tuple[str, str]]] = {}
    for name, column in spec.columns.items():
        text = (
            _blank_missing(raw[name], spec.csv)
            if name in raw
            else pl.Series(name, [None] * len(chunk.lines), pl.String)
        )
        texts[name] = text
        values[name] = cast_column(text, column)
        _note(problems, name, _why_bad(text, values[name], column))
    for name, column in spec.columns.items():
        if column.known_at is not None:
            unknown = values[name].is_not_null() & texts[column.known_at].is_null()
            _note(problems, name, [(row, "KNOWN_AT_MISSING") for row in unknown.arg_true().to_list()])
    frame = pl.DataFrame([values[name].alias(name) for name in spec.columns])
    frame = frame.with_columns(pl.Series("_line", chunk.lines, pl.Int64))
    if problems:
        good = pl.Series([True] * len(chunk.lines), dtype=pl.Boolean)
        good[list(problems)] = False
        frame = frame.filter(good)
    bad = [*chunk.bad, *(_bad_row(spec, chunk, texts, row, found) for row, found in problems.items())]
    bad.sort(key=lambda item: item.line)
    return frame, bad


def cast_column(text: pl.Series, column: Column) -> pl.Series:
    """Texts (None = missing) as values of the column's type; None where the text is not such a value."""
    return _CASTS[column.type](text, column).cast(column_dtype(column))


def _why_bad(text: pl.Series, value: pl.Series, column: Column) -> list[tuple[int, str]]:
    """The rows whose value is not allowed, and why."""
    found: list[tuple[int, str]] = []
    if not column.nullable:
        found += [(row, "MISSING_VALUE") for row in text.is_null().arg_true().to_list()]
    failed = (text.is_not_null() & value.is_null()).arg_true()
    found += [(row, explain(text[row], column)) for row in failed.to_list()]
    for reason, broken in _constraints(value, column):
        found += [(row, reason) for row in broken.fill_null(False).arg_true().to_list()]
    return found


def _constraints(value: pl.Series, column: Column) -> list[tuple[str, pl.Series]]:
    """For each declared constraint, which values break it (None stays None)."""
    checks: list[tuple[str, pl.Series]] = []
    if column.min is not None or column.max is not None:
        number = value.to_physical() if column.type is ColumnType.DECIMAL else value
        low, high = _bounds(column)
        if low is not None:
            checks.append(("BELOW_MIN", number < low))
        if high is not None:
            checks.append(("ABOVE_MAX", number > high))
    if column.values is not None:
        checks.append(("NOT_IN_VALUES", ~value.is_in(column.values)))
    if column.max_length is not None:
        checks.append(("TOO_LONG", value.str.len_chars() > column.max_length))
    if column.pattern is not None:
        checks.append(("PATTERN_MISMATCH", ~value.str.contains(whole(column.pattern))))
    return checks


def _bounds(column: Column) -> tuple[int | float | None, int | float | None]:
    """`min` and `max` in the units of the stored value; exact for integers and fixed point, where 0.1 is a tenth."""
    if column.type is ColumnType.FLOAT:
        return column.min, column.max
    unit = Decimal(10) ** (column.scale or 0)
    low = None if column.min is None else math.ceil(Decimal(repr(column.min)) * unit)
    high = None if column.max is None else math.floor(Decimal(repr(column.max)) * unit)
    clip: Callable[[int], int] = lambda bound: max(_INT64[0], min(_INT64[1], bound))  # noqa: E731
    return (None if low is None else clip(low)), (None if high is None else clip(high))


def whole(pattern: str) -> str:
    """A pattern that must match the whole text."""
    return rf"\A(?:{pattern})\z"


def _text_columns(chunk: Chunk) -> dict[str, pl.Series]:
    columns = zip(*chunk.rows, strict=True) if chunk.rows else ([] for _ in chunk.header)
    return {
        name: pl.Series(name, column, dtype=pl.String, strict=True)
        for name, column in zip(chunk.header, columns, strict=True)
    }


def _blank_missing(text: pl.Series, dialect: CsvDialect) -> pl.Series:
    """The texts with those that mean missing as None."""
    if not dialect.missing:
        return text
    frame = text.to_frame()
    name = text.name
    return frame.select(pl.when(~pl.col(name).is_in(dialect.missing)).then(pl.col(name)).alias(name)).to_series()


def _note(problems: dict[int, list[tuple[str, str]]], column: str, found: list[tuple[int, str]]) -> None:
    for row, reason in found:
        problems.setdefault(row, []).append((column, reason))


def _bad_row(
    spec: DatasetSpec, chunk: Chunk, texts: dict[str, pl.Series], row: int, found: list[tuple[str, str]]
) -> BadRow:
    (name, reason), *more = found
    value = texts[name][row]
    column = spec.columns[name]
    return BadRow(
        line=chunk.lines[row],
        reason=reason,
        column=name,
        value=None if value is None else shown(value),
        message=f"{name}: {MESSAGES[reason](column)}",
        also=tuple(f"{other}:{why}" for other, why in more),
        fields=tuple(chunk.rows[row]),
    )


def _select(text: pl.Series, expression: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    return text.to_frame("text").select(expression(pl.col("text")).alias(text.name)).to_series()


def _matching(text: pl.Series, pattern: str) -> pl.Series:
    """The texts that match the whole pattern; None for the others."""
    return _select(text, lambda t: pl.when(t.str.contains(whole(pattern))).then(t))


def _cast_string(text: pl.Series, _: Column) -> pl.Series:
    return text


def _cast_integer(text: pl.Series, _: Column) -> pl.Series:
    return _matching(text, INTEGER).cast(pl.Int64, strict=False)


def _cast_float(text: pl.Series, _: Column) -> pl.Series:
    number = _matching(text, FLOAT).cast(pl.Float64, strict=False)
    return _select(number, lambda n: pl.when(n.is_finite()).then(n))


def _cast_decimal(text: pl.Series, column: Column) -> pl.Series:
    # polars rounds what does not fit the scale; the pattern lets only zeros stand there, so nothing is rounded.
    scale = column.scale or 0
    digits = rf"[0-9]+(?:\.[0-9]{{0,{scale}}}0*)?|\.[0-9]{{1,{scale}}}0*" if scale else r"[0-9]+(?:\.0*)?"
    return _matching(text, rf"[+-]?(?:{digits})").cast(pl.Decimal(18, scale), strict=False)


def _cast_boolean(text: pl.Series, _: Column) -> pl.Series:
    return _select(
        text.str.to_lowercase(),
        lambda t: pl.when(t.is_in(TRUE)).then(pl.lit(True)).when(t.is_in(FALSE)).then(pl.lit(False)),
    )


def _cast_date(text: pl.Series, _: Column) -> pl.Series:
    return _matching(text, r"[0-9]{4}-[0-9]{2}-[0-9]{2}").str.to_date("%Y-%m-%d", strict=False)


def _cast_timestamp(text: pl.Series, column: Column) -> pl.Series:
    matched = _matching(text, TIMESTAMP)
    offset = _select(matched, lambda t: t.str.extract(r"(Z|[+-][0-9]{2}:?[0-9]{2})\z"))
    local = _select(
        matched,
        lambda t: pl.concat_str(
            t.str.slice(0, 10), pl.lit("T"), t.str.slice(11, 5),
            t.str.extract(r"\A.{16}(:[0-9]{2})").fill_null(":00"), pl.lit("."),
            t.str.extract(r"\.([0-9]+)").fill_null("").str.pad_end(6, "0"),
        ).str.to_datetime("%Y-%m-%dT%H:%M:%S%.6f", strict=False, time_unit="us"),
    )  # fmt: skip
    if offset.null_count() < len(offset):
        minutes = _select(
            offset,
            lambda o: pl.when(o == "Z").then(pl.lit(0)).otherwise(
                (o.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + o.str.slice(-2).cast(pl.Int64, strict=False))
                * pl.when(o.str.starts_with("-")).then(pl.lit(-1)).otherwise(pl.lit(1))
            ),
        )  # fmt: skip
        shift = _select(minutes, lambda m: pl.duration(minutes=m, time_unit="us"))
        absolute = (local - shift).dt.replace_time_zone("UTC")
    else:
        absolute = pl.Series(text.name, [None] * len(text), pl.Datetime("us", "UTC"))
    bare = _select(pl.DataFrame({"text": local, "offset": offset}).select(
        pl.when(pl.col("offset").is_null()).then(pl.col("text"))).to_series(), lambda t: t)  # fmt: skip
    zoned = bare.dt.replace_time_zone(column.timezone, ambiguous="null", non_existent="null").dt.convert_time_zone(
        "UTC"
    )
    both = pl.DataFrame({"absolute": absolute, "zoned": zoned})
    instant = both.select(pl.coalesce("absolute", "zoned").alias(text.name)).to_series()
    # Year 1 and year 9999 lose a day each, so that no zone can carry an instant out of the calendar.
    return _select(instant, lambda t: pl.when(t.dt.timestamp("us").is_between(*_INSTANTS)).then(t))


_INSTANTS = (-62_135_510_400_000_000, 253_402_214_400_000_000)  # 0001-01-02 and 9999-12-31, in microseconds

_CASTS: dict[ColumnType, Callable[[pl.Series, Column], pl.Series]] = {
    ColumnType.STRING: _cast_string,
    ColumnType.INTEGER: _cast_integer,
    ColumnType.FLOAT: _cast_float,
    ColumnType.DECIMAL: _cast_decimal,
    ColumnType.BOOLEAN: _cast_boolean,
    ColumnType.TIMESTAMP: _cast_timestamp,
    ColumnType.DATE: _cast_date,
}


def check_castable(spec: DatasetSpec) -> list[tuple[list[str], str]]:
    """What in a contract could not be held to later: (path, message) of each."""
    problems = []
    for name, column in spec.columns.items():
        empty = pl.Series("text", ["x"], pl.String)
        if column.pattern is not None:
            try:
                empty.str.contains(whole(column.pattern))
            except pl.exceptions.ComputeError:
                message = "uses look-around, a back-reference or something else that cannot be matched in linear time"
                problems.append((["columns", name, "pattern"], message))
        if column.type is ColumnType.TIMESTAMP:
            try:
                pl.Series([None], dtype=pl.Datetime("us")).dt.replace_time_zone(column.timezone)
            except pl.exceptions.PolarsError:
                problems.append(
                    (["columns", name, "timezone"], f"{column.timezone!r} is not a zone of the IANA database")
                )
    if spec.csv.delimiter in "\r\n\0" or spec.csv.quote in "\r\n\0" or spec.csv.delimiter == spec.csv.quote:
        problems.append((["csv"], "delimiter and quote must be two different characters, and no line breaks"))
    elif not (spec.csv.delimiter.isascii() and spec.csv.quote.isascii()) and re.search(
        "[\ud800-\udfff]", spec.csv.delimiter
    ):
        problems.append((["csv", "delimiter"], "is not a character"))
    return problems
