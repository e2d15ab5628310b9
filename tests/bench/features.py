"""`make bench-features`: what a training set costs in processor time; lookups are in `features_online.py`.

48 features (three views of four windows, count, sum, mean and max) for 200,000 rows from 5 million events, once with few
events a key and once with hot keys. Yardsticks, on the same data in the same process: the bare kernel on arrays that are
already in memory (its sorting included), and DuckDB by hand on the same files: a range join where keys are sparse; for
hot keys an ASOF join on prefix sums, which leaves out the largest value, so that DuckDB does less there.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from deltalake import write_deltalake

from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.frames import codes_of, events_of
from services.features.domain.model import LakeTable
from services.features.domain.plan import compile_view
from services.features.storage.lake import DeltaLake
from services.features.storage.training_files import BlobTrainingFiles
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tests.bench import features_feast, features_online, frame
from tests.bench.tables import Tables
from tests.support.features_fakes import FakeMeter, FakeViews

EVENTS, ROWS = 5_000_000, 200_000
DAYS = 730
DAY = 86_400_000_000
WINDOWS = (1, 7, 30, 90)
KEYS = {"sparse": (50_000, 100_000, 200_000), "hot": (20, 100, 500)}
TENANT = TenantId("bench")
EVENT_COLUMNS = {name: {"type": "integer"} for name in ("id", "k0", "k1", "k2")}
DATASET = DatasetSpec.model_validate(
    {"name": "events", "primaryKey": ["id"], "eventTime": "ts",
     "columns": {**EVENT_COLUMNS, "ts": {"type": "timestamp"}, "amount": {"type": "decimal", "scale": 2}}}
)  # fmt: skip
SPINE = DatasetSpec.model_validate(
    {"name": "spine", "primaryKey": ["id"], "eventTime": "ts",
     "columns": {**EVENT_COLUMNS, "ts": {"type": "timestamp"}}}
)  # fmt: skip
VIEWS = [
    FeatureViewSpec.model_validate(
        {"name": f"v{n}", "dataset": "events", "entity": [f"k{n}"],
         "aggregates": [{"column": "amount", "functions": ["count", "sum", "mean", "max"],
                         "windows": [f"{days}d" for days in WINDOWS]}]}
    )
    for n in range(3)
]  # fmt: skip


def main(events: int = EVENTS, rows: int = ROWS) -> None:
    """Measure and report."""
    figures = []
    for name, keys in KEYS.items():
        frame.tell(f"{name} keys: {events:,} events")
        with tempfile.TemporaryDirectory(prefix="tenon-bench-features-") as folder:
            figures += _case(name, keys, events, rows, Path(folder))
    frame.tell("daily values, with Feast")
    figures += features_feast.offline()
    frame.tell("online")
    figures += features_online.figures()
    frame.report("features", "48 features: training sets in processor time, and lookups", figures)


def _case(name: str, keys: Sequence[int], events: int, rows: int, folder: Path) -> list[frame.Figure]:
    random = np.random.default_rng(5)
    tables = Tables(
        {
            "events": _write(DATASET, _rows(random, events, keys, amounts=True), folder / "lake" / "events"),
            "spine": _write(SPINE, _rows(random, rows, keys, amounts=False), folder / "lake" / "spine"),
        }
    )
    gc.collect()
    lake = DeltaLake(open_blobs(f"file://{folder}/lake"))
    kernel, bare = _timed(lambda: _bare_kernel(lake, tables))
    whole, made = _timed(lambda: _training_set(lake, tables, folder))
    duck, theirs = _timed(lambda: _duckdb(name, folder, keys))
    _compare(made, bare, theirs, name)
    label = f"{name} keys ({', '.join(f'{events // count:,}' for count in keys)} events a key)"
    return [
        frame.figure(f"the bare kernel, {label}", kernel, "s"),
        frame.figure(f"GetTrainingSet, {label}", whole, "s", yardstick=("bare kernel", kernel), at_most=2 * kernel),
        frame.figure(f"GetTrainingSet, {label} ", whole, "s", yardstick=("DuckDB", duck), at_most=duck / 3),
    ]


def _timed(work: Callable[[], tuple[float | None, Any]]) -> tuple[float, Any]:
    """Seconds of processor time, all threads: of the work, or what it says that it took itself; and its result."""
    began = time.process_time()
    seconds, result = work()
    return time.process_time() - began if seconds is None else seconds, result


def _rows(random: np.random.Generator, count: int, keys: Sequence[int], *, amounts: bool) -> pl.DataFrame:
    at = np.sort(random.integers(0, DAYS * DAY, count)) + 1_600_000_000_000_000
    columns: dict[str, Any] = {"id": np.arange(count)}
    columns |= {f"k{n}": random.integers(0, most, count) for n, most in enumerate(keys)}
    made = pl.DataFrame(columns).with_columns(pl.Series("ts", at).cast(pl.Datetime("us", "UTC")))
    if amounts:
        cents = pl.Series("amount", random.integers(-5_000, 100_000, count))
        made = made.with_columns((cents.cast(pl.Decimal(18, 2)) / 100).cast(pl.Decimal(18, 2)).alias("amount"))
    return made


def _write(spec: DatasetSpec, rows: pl.DataFrame, folder: Path) -> LakeTable:
    folder.mkdir(parents=True)
    write_deltalake(str(folder), rows)
    return LakeTable(str(folder), 0, spec)


def _bare_kernel(lake: DeltaLake, tables: Tables) -> tuple[float, list[Any]]:
    """Windows over arrays that are in memory with their entities' codes: what is left is grouping, sorting, windows."""
    found, seconds = [], 0.0
    spine = lake.read(tables.tables["spine"], ["id", "ts", "k0", "k1", "k2"]).sort("ts", "id")
    at = spine["ts"].cast(pl.Int64).to_numpy()
    for view in VIEWS:
        plan = compile_view(view, DATASET)
        source = lake.read(tables.tables["events"], plan.source_columns)
        codes, asked, entities = codes_of(plan, source, spine)
        events = events_of(plan, source)
        began = time.process_time()
        found.append(plan.program.evaluate(events, codes, asked, at, entities))
        seconds += time.process_time() - began
    return seconds, found


def _training_set(lake: DeltaLake, tables: Tables, folder: Path) -> tuple[None, pl.DataFrame]:
    """The use case itself, from the lake to the file."""
    views = FakeViews()
    for view in VIEWS:
        views.apply(TENANT, view, dry_run=False)
    blobs = open_blobs(f"file://{folder}/blobs")
    files = BlobTrainingFiles(blobs, folder / "scratch")
    made = BuildTrainingSet(views, tables, lake, files, FakeMeter()).build(TENANT, "spine", [], ["v0", "v1", "v2"])
    return None, pl.read_parquet(made.uri.removeprefix("file://"))


def _duckdb(name: str, folder: Path, keys: Sequence[int]) -> tuple[None, list[Any]]:
    connection = duckdb.connect()
    connection.execute("SET memory_limit='12GB'; SET TimeZone='UTC'")
    for table in ("events", "spine"):
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{folder}/lake/{table}/*.parquet')")
    query = _range_join if name == "sparse" else _prefix_join
    return None, [connection.execute(query(f"k{n}")).fetchnumpy() for n in range(len(keys))]


def _range_join(key: str) -> str:
    parts = []
    for days in WINDOWS:
        kept = f"FILTER (e.ts >= s.ts - INTERVAL {days} DAY)"
        parts.append(f"count(e.c) {kept}, sum(e.c) {kept}, sum(e.c) {kept} / count(e.c) {kept}, max(e.c) {kept}")
    return (
        f"WITH e AS (SELECT {key}, ts, CAST(amount * 100 AS BIGINT) c FROM events) "
        f"SELECT s.id, {', '.join(parts)} FROM spine s LEFT JOIN e ON e.{key} = s.{key} AND e.ts < s.ts "
        f"AND e.ts >= s.ts - INTERVAL {max(WINDOWS)} DAY GROUP BY s.id ORDER BY s.id"
    )


def _prefix_join(key: str) -> str:
    joins, parts = [], []
    for days in WINDOWS:
        joins.append(f"ASOF LEFT JOIN p p{days} ON p{days}.{key} = s.{key} AND p{days}.ts < s.ts - INTERVAL {days} DAY")
        count, total = f"coalesce(n.n, 0) - coalesce(p{days}.n, 0)", f"coalesce(n.t, 0) - coalesce(p{days}.t, 0)"
        parts.append(f"{count}, {total}, ({total}) / nullif({count}, 0)")
    return (
        f"WITH p AS (SELECT {key}, ts, count(*) OVER w n, sum(CAST(amount * 100 AS BIGINT)) OVER w t FROM events "
        f"WINDOW w AS (PARTITION BY {key} ORDER BY ts, id ROWS UNBOUNDED PRECEDING)) "
        f"SELECT s.id, {', '.join(parts)} FROM spine s ASOF LEFT JOIN p n ON n.{key} = s.{key} AND n.ts < s.ts "
        f"{' '.join(joins)} ORDER BY s.id"
    )


def _compare(made: pl.DataFrame, bare: list[Any], theirs: list[Any], name: str) -> None:
    """All three say the same, to the last bit where DuckDB was asked for integers."""
    for n, found in enumerate(bare):
        for place, (function, days) in enumerate((f, d) for f in ("count", "sum", "mean", "max") for d in WINDOWS):
            ours = made[f"v{n}.amount_{function}_{days}d"].to_numpy(allow_copy=True)
            assert np.array_equal(np.asarray(ours, np.float64), found[place], equal_nan=True), (n, function, days)
    width = 4 if name == "sparse" else 3
    for n, table in enumerate(theirs):
        order = made["id"].arg_sort()
        for at, days in enumerate(WINDOWS):
            count = made[f"v{n}.amount_count_{days}d"][order].cast(pl.Int64)
            assert np.array_equal(list(table.values())[1 + at * width], count.to_numpy()), ("DuckDB", n, days)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
