"""From the lake's rows to histories and blobs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from services.features.domain.blob import EntityBlob
from services.features.domain.entity import entity_expression, scaled_integers
from services.features.domain.history import ColumnHistory, History, IntArray
from services.features.domain.plan import EntityColumn, Plan, ValueColumn

ENTITY = "__entity"


def micros(name: str) -> pl.Expr:
    """A timestamp column as int64 microseconds UTC."""
    return pl.col(name).cast(pl.Datetime("us", "UTC")).cast(pl.Int64)


def with_entity(rows: pl.DataFrame, columns: tuple[EntityColumn, ...]) -> pl.Series:
    """The canonical text of each row's entity; null where a key is missing."""
    return rows.select(entity_expression(columns, rows.schema).alias(ENTITY)).to_series()


def history_of(plan: Plan, rows: pl.DataFrame) -> tuple[History, pl.DataFrame]:
    """The rows' history, and the entities' codes as a table with columns `__entity` and `code`.

    Codes follow the entities' texts in ascending order, so that they do not depend on the order of the rows.
    """
    names = with_entity(rows, plan.entity)
    rows = rows.filter(names.is_not_null())
    names = names.drop_nulls()
    entities = pl.DataFrame({ENTITY: names.unique().sort()}).with_row_index("code").cast({"code": pl.Int64})
    codes = names.to_frame().join(entities, on=ENTITY, how="left", maintain_order="left")["code"].to_numpy()
    event_time = rows.select(micros(plan.event_time)).to_series().to_numpy()
    columns = tuple(_column(rows, column, event_time) for column in plan.columns)
    return History(np.ascontiguousarray(codes), np.ascontiguousarray(event_time), columns), entities


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
    history, entities = history_of(plan, rows)
    names = entities[ENTITY].to_list()
    kept = np.flatnonzero(history.event_time >= horizon - plan.longest_window)
    order = kept[np.lexsort((history.event_time[kept], history.entity[kept]))]
    bounds = np.searchsorted(history.entity[order], np.arange(len(names) + 1))
    event_time = history.event_time[order]
    columns = [(c.known[order], c.value[order], c.valid[order]) for c in history.columns]
    for code, name in enumerate(names):
        span = slice(int(bounds[code]), int(bounds[code + 1]))
        yield EntityBlob(
            entity=name,
            table_version=table_version,
            horizon=horizon,
            event_time=event_time[span],
            columns=tuple(ColumnHistory(known[span], value[span], valid[span]) for known, value, valid in columns),
        )


def _column(rows: pl.DataFrame, column: ValueColumn, event_time: IntArray) -> ColumnHistory:
    present = rows[column.name].is_not_null()
    known = event_time
    if column.known_at is not None:
        moments = rows.select(micros(column.known_at)).to_series()
        # A value whose moment of knowing is missing was never known.
        present &= moments.is_not_null()
        known = np.maximum(moments.fill_null(0).to_numpy(), event_time)
    valid = present.to_numpy()
    value = np.zeros(len(event_time), np.int64)
    if column.exact:
        numbers = rows.select(scaled_integers(column.name, column.scale, rows.schema[column.name]).fill_null(0))
        value = np.ascontiguousarray(numbers.to_series().to_numpy())
    if column.known_at is not None:
        known = np.where(valid, known, event_time)
    return ColumnHistory(known, value, valid)
