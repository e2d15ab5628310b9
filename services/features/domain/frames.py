"""From the lake's rows to histories and blobs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from services.features.domain.entity import entity_expression, scaled_integers
from services.features.domain.plan import Content, EntityColumn, Plan, ValueColumn
from tenon.core.feature_semantics import scaled, threshold
from tenon.core.specs import ColumnType, Condition
from tenon.windows.blob import EntityBlob
from tenon.windows.events import Column, Events, IntArray

ENTITY = "__entity"
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1


def micros(name: str) -> pl.Expr:
    """A timestamp column as int64 microseconds UTC."""
    return pl.col(name).cast(pl.Datetime("us", "UTC")).cast(pl.Int64)


def with_entity(rows: pl.DataFrame, columns: tuple[EntityColumn, ...]) -> pl.Series:
    """The canonical text of each row's entity; null where a key is missing."""
    return rows.select(entity_expression(columns, rows.schema).alias(ENTITY)).to_series()


def history_of(plan: Plan, rows: pl.DataFrame) -> tuple[Events, IntArray, pl.DataFrame]:
    """The rows' events, the code of each one's entity, and the entities' codes as a table with `__entity` and `code`.

    Codes follow the entities' texts in ascending order, so that they do not depend on the order of the rows. Rows
    without an entity are left out.
    """
    names = with_entity(rows, plan.entity)
    if names.null_count():
        rows = rows.filter(names.is_not_null())
        names = names.drop_nulls()
    entities = pl.DataFrame({ENTITY: names.unique().sort()}).with_row_index("code").cast({"code": pl.Int64})
    codes = names.to_frame().join(entities, on=ENTITY, how="left", maintain_order="left")["code"].to_numpy()
    time = np.ascontiguousarray(rows.select(micros(plan.event_time)).to_series().to_numpy())
    columns = tuple(_column(plan, rows, column, time) for column in plan.columns)
    return Events(time, (Column(), *columns)), np.ascontiguousarray(codes), entities


def codes_of(plan: Plan, rows: pl.DataFrame, entities: pl.DataFrame) -> IntArray:
    """The codes of the rows' entities: -1 where a key is missing, one past the last for an entity without history."""
    names = with_entity(rows, plan.entity).to_frame()
    codes = names.join(entities, on=ENTITY, how="left", maintain_order="left")
    return codes.select(
        pl.when(pl.col(ENTITY).is_null()).then(-1).otherwise(pl.col("code").fill_null(entities.height)).cast(pl.Int64)
    ).to_series().to_numpy()  # fmt: skip


def blobs_of(plan: Plan, rows: pl.DataFrame, *, table_version: int, horizon: int) -> Iterator[EntityBlob]:
    """One blob for each entity of the rows, with the events that any window can still see from the horizon on.

    An entity whose events are all older has a blob without events: it is known, and its windows are empty.
    """
    events, codes, entities = history_of(plan, rows)
    names = entities[ENTITY].to_list()
    kept = np.flatnonzero(events.time >= horizon - plan.longest_window)
    order = kept[np.lexsort((events.time[kept], codes[kept]))]
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    sorted_events = events.take(order)
    for code, name in enumerate(names):
        span = slice(int(bounds[code]), int(bounds[code + 1]))
        yield EntityBlob(name, table_version, horizon, sorted_events.take(span))


def _column(plan: Plan, rows: pl.DataFrame, column: ValueColumn, time: IntArray) -> Column:
    """A column as the kernel takes it. A value whose moment of knowing is missing was never known."""
    present = [pl.col(name).is_not_null() for name in (column.name, *column.known_at) if name is not None]
    present += [_holds(plan.types, rows.schema, name, condition) for name, condition in column.where]
    mask = np.ascontiguousarray(rows.select(pl.all_horizontal(present)).to_series().to_numpy())
    known = None
    if column.known_at:
        moments = rows.select(pl.max_horizontal([micros(name).fill_null(_SMALLEST) for name in column.known_at]))
        known = np.where(mask, np.maximum(moments.to_series().to_numpy(), time), time)
    return Column(known=known, value=_value(plan, rows, column), valid=None if mask.all() else mask)


def _value(plan: Plan, rows: pl.DataFrame, column: ValueColumn) -> IntArray | None:
    name = column.name
    if name is None or column.content is Content.NOTHING:
        return None
    kind, _ = plan.types[name]
    if column.content is Content.CONDITION and column.condition is not None:
        numbers = _holds(plan.types, rows.schema, name, column.condition).cast(pl.Int64)
    elif column.content is Content.CODE:
        if kind is ColumnType.STRING:
            texts = rows[name].unique().drop_nulls()
            codes = pl.DataFrame({name: texts, "code": pl.Series([_hash(text) for text in texts], dtype=pl.Int64)})
            found = rows.select(name).join(codes, on=name, how="left", maintain_order="left")["code"]
            return np.ascontiguousarray(found.fill_null(0).to_numpy())
        numbers = (
            micros(name) if kind is ColumnType.TIMESTAMP else pl.col(name).cast(pl.Date).to_physical().cast(pl.Int64)
        )
    elif kind is ColumnType.BOOLEAN:
        numbers = pl.col(name).cast(pl.Int64)
    else:
        numbers = scaled_integers(name, column.scale, rows.schema[name])
    return np.ascontiguousarray(rows.select(numbers.fill_null(0)).to_series().to_numpy())


def _hash(text: str) -> int:
    """A string as 64 bits, the same everywhere; two strings in one window that share them are not to be expected."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def _holds(
    types: Mapping[str, tuple[ColumnType, int]], schema: Mapping[str, pl.DataType], name: str, condition: Condition
) -> pl.Expr:
    """Whether the condition holds; a missing value fulfils nothing. Numbers are compared as the decimals written."""
    kind, scale = types[name]
    source = pl.col(name)
    parts: list[pl.Expr] = []
    if kind in (ColumnType.INTEGER, ColumnType.DECIMAL):
        source = scaled_integers(name, scale, schema[name])
        if condition.above is not None:
            parts.append(_greater(source, threshold(condition.above, scale)))
        if condition.below is not None:
            # A missing value is neither greater nor not: `is_not_null` keeps it out of the negation.
            parts.append(source.is_not_null() & ~_greater(source, math.ceil(scaled(condition.below, scale)) - 1))
        if condition.one_of is not None:
            wanted = [scaled(float(value), scale) for value in condition.one_of]
            whole = [int(v) for v in wanted if v.denominator == 1 and _SMALLEST <= v <= _LARGEST]
            parts.append(source.is_in(pl.Series(whole, dtype=pl.Int64).implode()))
    else:
        if condition.above is not None:
            parts.append(source > condition.above)
        if condition.below is not None:
            parts.append(source < condition.below)
        if condition.one_of is not None:
            dtype = {ColumnType.STRING: pl.String, ColumnType.BOOLEAN: pl.Boolean}.get(kind, pl.Float64)
            parts.append(source.is_in(pl.Series(list(condition.one_of), dtype=dtype).implode()))
    return pl.all_horizontal(parts).fill_null(value=False)


def _greater(source: pl.Expr, limit: int) -> pl.Expr:
    if limit >= _LARGEST:
        return source.is_null() & source.is_not_null()
    if limit < _SMALLEST:
        return source.is_not_null()
    return source > pl.lit(limit, pl.Int64)
