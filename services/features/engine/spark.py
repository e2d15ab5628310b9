"""The same training sets on Spark: events are brought together by entity, and the same kernel computes them there.

Spark only moves rows: what a value is is decided by the plan and the kernel that every other way uses, on integers, so the
bits are the same whatever the partitions. Executors need this package and its extra `features`; `tenon[spark]` brings Spark.

    spark = SparkSession.builder.remote("sc://…").getOrCreate()
    frame = SparkTrainingSets(spark, lake).build(spine_table, ["late"], [(view, events_table)])
    frame.write.parquet("s3a://…")
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name everybody knows it by
from pyspark.sql import types as T  # noqa: N812

from services.features.domain.build_training_set import carried_columns, check_entity
from services.features.domain.frames import codes_of, series_of, until_name
from services.features.domain.model import LakeTable
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import Lake
from services.features.domain.read_events import believed_before, moments_of
from tenon.core.specs import ColumnType, DatasetSpec, FeatureViewSpec, parse_spec

_ROW, _BUCKET = "__row", "__bucket"


class SparkTrainingSets:
    """Builds training sets as Spark data frames. `lake` finds the rows that were corrected, which are few."""

    def __init__(self, spark: SparkSession, lake: Lake, *, files: Callable[[LakeTable], list[str]]) -> None:
        self._spark, self._lake, self._files = spark, lake, files
        # Instants come as UTC into Python, wherever the session thinks it is.
        spark.conf.set("spark.sql.session.timeZone", "UTC")

    def build(
        self, spine: LakeTable, columns: Sequence[str], views: Sequence[tuple[FeatureViewSpec, LakeTable]], *, buckets: int = 0
    ) -> DataFrame:  # fmt: skip
        """One row for each row of the spine, as `BuildTrainingSet` gives them, in no order. `buckets`: into how many parts
        the entities are divided; 0: Spark's number of shuffle partitions."""
        carried = carried_columns(spine.spec, columns)
        plans = [compile_view(view, table.spec) for view, table in views]
        for plan in plans:
            check_entity(plan, spine.spec)
        keys = [column.name for plan in plans for column in plan.entity]
        rows = self._read(spine).select(*dict.fromkeys([*carried, *keys]))
        parts = buckets or int(self._spark.conf.get("spark.sql.shuffle.partitions") or 200)
        made = rows.select(*(_carried(name, spine.spec).alias(name) for name in carried))
        names = list(carried)
        for plan, (view, table) in zip(plans, views, strict=True):
            found = self._features(plan, view, table, spine.spec, rows, parts)
            made = made.join(found, on=list(spine.spec.primary_key), how="left")
            names += [feature.reference for feature in plan.features]
        return made.select(*(f"`{name}`" for name in names))

    def _features(
        self, plan: Plan, view: FeatureViewSpec, table: LakeTable, spine: DatasetSpec, rows: DataFrame, parts: int
    ) -> DataFrame:
        """The view's features by the spine's primary key."""
        entity = [column.name for column in plan.entity]
        bucket = F.pmod(F.xxhash64(*entity), F.lit(parts)).alias(_BUCKET)
        wanted = list(dict.fromkeys([*spine.primary_key, *entity]))
        at = F.unix_micros(spine.event_time).alias(_ROW)
        asked = rows.select(*wanted, at, bucket)
        known = self._events(plan, table).select("*", bucket)
        schema = T.StructType(
            [asked.schema[name] for name in spine.primary_key]
            + [T.StructField(f.reference, T.StringType() if f.is_text else T.DoubleType()) for f in plan.features]
        )
        documents = json.dumps([view.canonical(), table.spec.canonical()])
        compute = functools.partial(_compute, documents=documents, keep=list(spine.primary_key))
        pairs = asked.groupBy(_BUCKET).cogroup(known.groupBy(_BUCKET))
        return pairs.applyInArrow(_plainly(compute), schema)

    def _events(self, plan: Plan, table: LakeTable) -> DataFrame:
        """The rows that the view reads, and those that were corrected."""
        rows = self._read(table)
        events = rows.select(*plan.source_columns)
        keys = list(table.spec.primary_key)
        replaced = self._lake.read_replaced(table, list(dict.fromkeys([*keys, *plan.source_columns])))
        if replaced.is_empty():
            return events
        known_ats, moments = moments_of([plan], table.spec)
        of_them = self._spark.createDataFrame(replaced.select(keys).unique().to_arrow())
        present = rows.join(F.broadcast(of_them), on=keys, how="semi").select(*dict.fromkeys([*keys, *moments]))
        last = pl.DataFrame(pl.from_arrow(present.toArrow()))
        before = believed_before(known_ats, keys, table.spec.event_time, replaced, last)
        if before.is_empty():
            return events
        untils = [until_name(known_at) for known_at in known_ats]
        more = self._spark.createDataFrame(before.select(*plan.source_columns, *untils).to_arrow())
        return events.unionByName(more, allowMissingColumns=True)

    def _read(self, table: LakeTable) -> DataFrame:
        """The table's rows at its version; a column that was declared later is missing."""
        found = self._spark.read.option("mergeSchema", "true").parquet(*self._files(table))
        kinds = {ColumnType.STRING: "string", ColumnType.INTEGER: "bigint", ColumnType.FLOAT: "double",
                 ColumnType.BOOLEAN: "boolean", ColumnType.TIMESTAMP: "timestamp", ColumnType.DATE: "date"}  # fmt: skip
        later = {
            name: F.lit(None).cast(kinds.get(column.type, f"decimal(18,{column.scale or 0})"))
            for name, column in table.spec.columns.items()
            if name not in found.columns
        }
        return found.withColumns(later) if later else found


def _plainly(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Spark looks at the arguments of what it is given; a partial has some too many."""

    def pair(asked: pa.Table, known: pa.Table) -> pa.Table:
        return compute(asked, known)

    return pair


def _compute(asked: pa.Table, known: pa.Table, *, documents: str, keep: list[str]) -> pa.Table:
    """One bucket, on an executor."""
    plan = _compiled(documents)
    spine, source = (pl.DataFrame(pl.from_arrow(table)) for table in (asked, known))
    at = np.ascontiguousarray(spine[_ROW].to_numpy())
    features = series_of(plan, source, codes_of(plan, source, spine), at)
    made = spine.select(*(pl.col(name) for name in keep)).with_columns(features).to_arrow()
    kinds = [asked.schema.field(name) for name in keep] + [
        pa.field(f.reference, pa.string() if f.is_text else pa.float64()) for f in plan.features
    ]
    return pa.table(made).cast(pa.schema(kinds))


@functools.lru_cache(64)
def _compiled(documents: str) -> Plan:
    view, dataset = json.loads(documents)
    return compile_view(parse_spec(FeatureViewSpec, view), parse_spec(DatasetSpec, dataset))


def _carried(name: str, spec: DatasetSpec) -> Any:
    """As training sets have them: instants as microseconds, decimals as float64 rounded once."""
    column = spec.columns[name]
    if column.type is ColumnType.TIMESTAMP:
        return F.unix_micros(name)
    if column.type is ColumnType.DECIMAL:
        unit = 10 ** (column.scale or 0)
        return (F.col(name) * F.lit(unit)).cast("bigint").cast("double") / F.lit(float(unit))
    return F.col(name)
