"""From the lake's rows to histories and blobs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from services.features.domain.entity import entity_expression, scaled_integers
from services.features.domain.plan import Content, EntityColumn, Plan, PlannedFeature, ValueColumn
from tenon.core.feature_semantics import scaled, threshold
from tenon.core.specs import ColumnType, Condition
from tenon.windows.blob import EntityBlob
from tenon.windows.events import FOREVER, Column, Events, FloatArray, IntArray
from tenon.windows.floats import keys_of
from tenon.windows.program import Window

ENTITY = "__entity"
_UNTIL = "__until"
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1


def micros(name: str) -> pl.Expr:
    """A timestamp column as int64 microseconds UTC."""
    return pl.col(name).cast(pl.Datetime("us", "UTC")).cast(pl.Int64)


def until_name(known_at: tuple[str, ...]) -> str:
    """The column that says up to when the values known at these columns' moments were believed; null: they still are."""
    return "|".join([_UNTIL, *known_at])


def with_entity(rows: pl.DataFrame, columns: tuple[EntityColumn, ...]) -> pl.Series:
    """The canonical text of each row's entity; null where a key is missing."""
    return rows.select(entity_expression(columns, rows.schema).alias(ENTITY)).to_series()


def events_of(plan: Plan, rows: pl.DataFrame, made: dict[str, Column] | None = None) -> Events:
    """The rows as the kernel takes them, in their order. `made` keeps columns, by key, for other plans over the same rows."""
    time = np.ascontiguousarray(rows.select(micros(plan.event_time)).to_series().to_numpy())
    made = {} if made is None else made
    for column in plan.columns:
        if column.key not in made:
            made[column.key] = _column(plan, rows, column, time)
    return Events(time, (Column(until=_until(rows, ())), *(made[column.key] for column in plan.columns)))


def codes_of(plan: Plan, rows: pl.DataFrame, spine: pl.DataFrame) -> tuple[IntArray, IntArray, int]:
    """Which entity the rows are of, and which the spine's rows ask for, as codes from 0 on; and how many codes there are.

    -1: a key is missing. A spine's row of an entity without history has the number of codes.
    """
    keys = [column.name for column in plan.entity]
    if len(keys) == 1 and rows.schema[keys[0]] == pl.Int64 == spine.schema[keys[0]]:
        found, asked = rows[keys[0]], spine[keys[0]]
        low, high = found.min(), found.max()
        # Numbers close together are their own codes; nothing has to be looked up.
        if isinstance(low, int) and isinstance(high, int) and high - low < 4 * len(rows) + 1_000_000:
            near = asked.is_between(low, high).fill_null(value=True)
            wanted = (asked.clip(low, high) - low).fill_null(-1)
            return _ints((found - low).fill_null(-1)), np.where(near, _ints(wanted), high - low + 1), high - low + 1
    if any(column.type is ColumnType.DECIMAL for column in plan.entity):
        # Of equal decimals of two tables not even the type is equal; their texts are.
        rows, spine = (with_entity(frame, plan.entity).to_frame() for frame in (rows, spine))
        keys = [ENTITY]
    entities = rows.select(keys).drop_nulls().unique().with_row_index("code").cast({"code": pl.Int64})
    codes = rows.select(keys).join(entities, on=keys, how="left", maintain_order="left")["code"].fill_null(-1)
    missing = pl.any_horizontal(pl.col(key).is_null() for key in keys)
    asked = (
        spine.select(keys)
        .join(entities, on=keys, how="left", maintain_order="left")
        .select(pl.when(missing).then(-1).otherwise(pl.col("code").fill_null(entities.height)).cast(pl.Int64))
        .to_series()
    )
    return _ints(codes), _ints(asked), entities.height


def values_of(
    plan: Plan,
    source: pl.DataFrame,
    codes: tuple[IntArray, IntArray, int],
    at: IntArray,
    made: dict[str, Column] | None = None,
) -> FloatArray:
    """Values by feature and row asked for, from the rows of the source; all missing where a key is. `codes` are as
    `codes_of` gives them."""
    found, asked, entities = codes
    values = plan.program.evaluate(events_of(plan, source, made), found, asked, at, entities)
    if (asked < 0).any():
        values[:, asked < 0] = np.nan
    return values


def series_of(
    plan: Plan,
    source: pl.DataFrame,
    codes: tuple[IntArray, IntArray, int],
    at: IntArray,
    made: dict[str, Column] | None = None,
) -> list[pl.Series]:
    """The same as columns of a training set: float64, or text where the feature's values are texts; null where missing."""
    made = {} if made is None else made
    values = values_of(plan, source, codes, at, made)
    return [named(feature, value, plan, made) for feature, value in zip(plan.features, values, strict=True)]


def named(feature: PlannedFeature, values: FloatArray, plan: Plan, made: Mapping[str, Column]) -> pl.Series:
    """A feature's values as a column. `made` is what its values were computed from."""
    found = pl.Series(feature.reference, values).fill_nan(None)
    if not (isinstance(feature.compiled, Window) and feature.compiled.texts):
        return found
    texts = pl.Series(feature.reference, made[plan.columns[feature.compiled.column - 1].key].texts, pl.String)
    return (
        texts.gather(found.cast(pl.UInt32))
        if len(texts)
        else pl.Series(feature.reference, [None] * len(found), pl.String)
    )


def _ints(series: pl.Series) -> IntArray:
    return np.ascontiguousarray(series.to_numpy())


def blobs_of(
    plan: Plan, rows: pl.DataFrame, *, table_version: int, horizon: int, pushed: IntArray | None = None
) -> Iterator[EntityBlob]:
    """One blob for each entity of the rows, with the events that any window can still see from the horizon on.

    An entity whose events are all older has a blob without events: it is known, and its windows are empty. `pushed`: the
    rows' keys where they were pushed; such events are kept however old they are.
    """
    texts = with_entity(rows, plan.entity)
    entities = texts.drop_nulls().unique().sort()
    codes = _ints(texts.to_frame().join(
        pl.DataFrame({ENTITY: entities}).with_row_index("code"), on=ENTITY, how="left", maintain_order="left"
    )["code"].cast(pl.Int64).fill_null(-1))  # fmt: skip
    events, names = events_of(plan, rows), entities.to_list()
    recent = np.full(len(codes), pushed is not None) | (events.time >= horizon - plan.longest_window)
    kept = np.flatnonzero(recent & (codes >= 0))
    order = kept[np.lexsort((events.time[kept], codes[kept]))]
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    sorted_events = events.take(order)
    for code, name in enumerate(names):
        span = slice(int(bounds[code]), int(bounds[code + 1]))
        keys = None if pushed is None else pushed[order[span]]
        yield EntityBlob(name, table_version, horizon, sorted_events.take(span), keys, only_pushed=pushed is not None)


def _column(plan: Plan, rows: pl.DataFrame, column: ValueColumn, time: IntArray) -> Column:
    """A column as the kernel takes it. A value whose moment of knowing is missing was never known."""
    present = [pl.col(name).is_not_null() for name in (column.name, *column.known_at) if name is not None]
    if column.name is not None and plan.types[column.name][0] is ColumnType.FLOAT:
        present.append(pl.col(column.name).is_finite())
    present += [_holds(plan.types, rows.schema, name, condition) for name, condition in column.where]
    mask = np.ascontiguousarray(rows.select(pl.all_horizontal(present).fill_null(value=False)).to_series().to_numpy())
    known = None
    if column.known_at:
        moments = rows.select(pl.max_horizontal([micros(name).fill_null(_SMALLEST) for name in column.known_at]))
        known = np.where(mask, np.maximum(moments.to_series().to_numpy(), time), time)
    until, valid = _until(rows, column.known_at), None if mask.all() else mask
    if column.content is Content.TEXT and column.name is not None:
        found = rows[column.name]
        # The place of a text among all of them, in their order.
        places = found.rank("dense").cast(pl.Int64).fill_null(1) - 1
        return Column(known, until, _ints(places), valid, tuple(found.drop_nulls().unique().sort().to_list()))
    return Column(known, until, _value(plan, rows, column), valid)


def _until(rows: pl.DataFrame, known_at: tuple[str, ...]) -> IntArray | None:
    name = until_name(known_at)
    return _ints(rows[name].fill_null(FOREVER)) if name in rows.columns else None


def _value(plan: Plan, rows: pl.DataFrame, column: ValueColumn) -> IntArray | None:
    name = column.name
    if name is None or column.content is Content.NOTHING:
        return None
    kind, _ = plan.types[name]
    if column.content is Content.FLOAT:
        return keys_of(rows[name].cast(pl.Float64).fill_null(0.0).to_numpy())
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
        if kind is ColumnType.FLOAT:
            parts.append(source.is_finite())
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
