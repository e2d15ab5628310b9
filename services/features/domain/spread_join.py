"""The join of a training set that does not fit into memory: through files of parts, the same rows and values.

The spine is cut by time into pieces that are sorted one after the other, and each row gets its place in the whole. For
each entity, rows and events are spread over parts by a hash of the entity, so that a part has everything of its entities;
the kernel computes part after part. At last the values are put beside the rows of each piece. Memory holds a piece or a
part at a time, whatever the number of rows; the events of one entity stay together.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from services.features.domain.entity import entity_expression
from services.features.domain.frames import codes_of, micros, series_of
from services.features.domain.model import LakeTable
from services.features.domain.plan import EntityColumn, Plan
from services.features.domain.ports import Lake
from services.features.domain.read_events import replaced_rows
from tenon.core.errors import Unavailable
from tenon.windows.events import Column

_BINS = 1 << 16
_MOST_PARTS = 1024
_GROUP = 8192
_BYTES_AN_ITEM = 32
"""An item of a column is eight bytes; it is there as read, as sorted, as the kernel takes it, and as it is written."""
_ROW, _PART, _AT = "__row", "__part", "__at"

Finish = Callable[[pl.DataFrame], list[pl.Series]]
"""From rows of the spine to the columns that the training set carries."""


def items_of(rows: int, columns: int) -> int:
    """About how many bytes of memory so many values take while they are joined."""
    return rows * columns * _BYTES_AN_ITEM


@dataclass(frozen=True, slots=True)
class Spine:
    """The table whose rows are the examples, which of its columns are needed, and how they become carried ones."""

    table: LakeTable
    columns: Sequence[str]
    rows: int
    finish: Finish


class SpreadJoin:
    """One training set. `folder` is emptied by the caller; `budget` is about how many bytes a piece or a part may take."""

    def __init__(
        self, lake: Lake, tables: Mapping[str, LakeTable], spine: Spine, plans: Sequence[Plan], folder: Path, budget: int
    ) -> None:  # fmt: skip
        self._lake, self._tables, self._spine, self._plans, self._folder = lake, tables, spine, plans, folder
        self._budget = max(budget, 1)
        self._groups = list(dict.fromkeys((plan.dataset, plan.entity) for plan in plans))

    def join(self) -> pl.LazyFrame:
        """The training set, to be read from files as it is written. Raises `Unavailable` where the lake cannot be read."""
        try:
            pieces = self._cut()
            parts = self._ask(pieces)
            for number, group in enumerate(self._groups):
                self._compute(number, group, parts[number])
            self._put_together(pieces)
        except (OSError, pl.exceptions.ComputeError) as err:
            raise Unavailable(
                "LAKE_UNAVAILABLE", f"the tables of a training set of {self._spine.table.spec.name!r} cannot be read"
            ) from err
        return pl.scan_parquet([self._folder / "out" / f"{piece}.parquet" for piece in range(pieces)])

    def _cut(self) -> int:
        """The spine as pieces of consecutive times; gives how many."""
        time = self._spine.table.spec.event_time
        spine = self._lake.scan(self._spine.table, self._spine.columns)
        features = sum(len(plan.features) for plan in self._plans)
        most = max(self._budget // items_of(1, len(self._spine.columns) + features), 1)
        low, high = spine.select(micros(time).min().alias("low"), micros(time).max().alias("high")).collect().row(0)
        width = max((high - low) // _BINS + 1, 1)
        place = (micros(time) - low) // width
        counts = spine.select(place.alias("bin")).group_by("bin").len().collect(engine="streaming").sort("bin")
        before = counts["len"].cum_sum().to_numpy() - counts["len"].to_numpy()
        pieces = np.unique(before // most, return_inverse=True)[1]
        piece = place.replace_strict(counts["bin"], pl.Series(pieces))
        self._spread(spine, self._spine.rows, len(self._spine.columns), piece, "spine")
        return int(pieces[-1]) + 1

    def _ask(self, pieces: int) -> list[int]:
        """Each piece sorted, and what it asks of each group's entities spread over the group's parts; gives how many."""
        spec, first = self._spine.table.spec, 0
        parts = [self._parts(*group) for group in self._groups]
        for piece in range(pieces):
            rows = pl.read_parquet(self._folder / "spine" / str(piece))
            rows = rows.sort([spec.event_time, *spec.primary_key], nulls_last=True)
            shutil.rmtree(self._folder / "spine" / str(piece))
            places = pl.int_range(first, first + rows.height, dtype=pl.Int64, eager=True).alias(_ROW)
            for number, (_, entity) in enumerate(self._groups):
                keys = [column.name for column in entity]
                asked = rows.select(*keys, micros(spec.event_time).alias(_AT), places)
                # Rows without an entity have no events: any part will do.
                part = self._part(entity, asked.schema, parts[number]).fill_null(pl.col(_ROW) % parts[number])
                for (of,), some in asked.with_columns(part.alias(_PART)).partition_by(_PART, as_dict=True).items():
                    self._write(some.drop(_PART), f"asked{number}/{of}/{piece}.parquet")
            self._write(pl.DataFrame(self._spine.finish(rows)), f"carried/{piece}.parquet")
            first += rows.height
        return parts

    def _parts(self, dataset: str, entity: tuple[EntityColumn, ...]) -> int:
        table = self._tables[dataset]
        plans = self._of_group(dataset, entity)
        events = items_of(self._lake.rows(table), len({name for plan in plans for name in plan.source_columns}))
        asked = items_of(self._spine.rows, max(len(plan.features) for plan in plans) + 2)
        return min((events + asked) // self._budget + 1, _MOST_PARTS)

    def _compute(self, number: int, group: tuple[str, tuple[EntityColumn, ...]], parts: int) -> None:
        """The values of the group's views, part after part, spread over the pieces."""
        dataset, entity = group
        table, plans = self._tables[dataset], self._of_group(*group)
        columns = list(dict.fromkeys(name for plan in plans for name in plan.source_columns))
        events = self._lake.scan(table, columns)
        schema = events.collect_schema()
        part_of = self._part(entity, schema, parts)
        self._spread(events, self._lake.rows(table), len(columns), part_of, f"events{number}")
        before = replaced_rows(self._lake, table, plans)
        if before is not None:
            before = before.with_columns(pl.col(name).cast(schema[name]) for name in columns)
            before = before.with_columns(self._part(entity, before.schema, parts).alias(_PART))
        for part in range(parts):
            files = sorted(
                (self._folder / f"asked{number}" / str(part)).glob("*.parquet"), key=lambda path: int(path.stem)
            )
            if not files:
                continue
            held = self._folder / f"events{number}" / str(part)
            source = pl.read_parquet(held) if held.exists() else pl.DataFrame(schema=schema).select(columns)
            if before is not None:
                source = pl.concat([source, before.filter(pl.col(_PART) == part).drop(_PART)], how="diagonal")
            asked = [pl.read_parquet(path) for path in files]
            self._value(plans, source, pl.concat(asked), [(int(path.stem), one.height) for path, one in zip(files, asked, strict=True)], part)  # fmt: skip
            shutil.rmtree(held, ignore_errors=True)

    def _value(
        self, plans: Sequence[Plan], source: pl.DataFrame, asked: pl.DataFrame, pieces: Sequence[tuple[int, int]], part: int
    ) -> None:  # fmt: skip
        at, made = asked[_AT].to_numpy(), dict[str, Column]()
        codes = codes_of(plans[0], source, asked)
        for plan in plans:
            found, first = pl.DataFrame([asked[_ROW], *series_of(plan, source, codes, at, made)]), 0
            for piece, rows in pieces:
                self._write(found.slice(first, rows), f"values/{plan.view}/{piece}/{part}.parquet")
                first += rows

    def _put_together(self, pieces: int) -> None:
        for piece in range(pieces):
            columns = pl.read_parquet(self._folder / "carried" / f"{piece}.parquet").get_columns()
            for plan in self._plans:
                held = self._folder / "values" / plan.view / str(piece)
                columns += pl.read_parquet(held).sort(_ROW).drop(_ROW).get_columns()
                shutil.rmtree(held)
            self._write(pl.DataFrame(columns), f"out/{piece}.parquet")

    def _of_group(self, dataset: str, entity: tuple[EntityColumn, ...]) -> list[Plan]:
        return [plan for plan in self._plans if (plan.dataset, plan.entity) == (dataset, entity)]

    @staticmethod
    def _part(entity: tuple[EntityColumn, ...], schema: Mapping[str, pl.DataType], parts: int) -> pl.Expr:
        """The part of an entity; null without one. Its text is the same in every table."""
        text = entity_expression(entity, schema)
        return pl.when(text.is_not_null()).then((text.hash(seed=11) % parts).cast(pl.Int64))

    def _spread(self, rows: pl.LazyFrame, count: int, columns: int, part: pl.Expr, name: str) -> None:
        """Rows into a folder for each number that `part` gives them; null: nowhere. Read a slice at a time: a sink for
        each part would hold what it has until it has a whole group of rows."""
        step = max(self._budget // items_of(1, columns), 1)
        for first in range(0, count, step):
            some = rows.slice(first, step).collect().with_columns(part.alias(_PART))
            for (of,), of_it in some.partition_by(_PART, as_dict=True).items():
                if of is not None:
                    self._write(of_it.drop(_PART), f"{name}/{of}/{first}.parquet")

    def _write(self, rows: pl.DataFrame, name: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whoever scans it holds several groups of rows at a time.
        rows.write_parquet(path, compression="lz4", statistics=False, row_group_size=_GROUP)
