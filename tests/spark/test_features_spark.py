"""Spark and one machine give the same training set, to the last bit: of the real flights, and of a table with corrections."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from deltalake import DeltaTable, write_deltalake

from examples.flights.prepare import read_flights
from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.model import LakeTable
from services.features.storage.lake import DeltaLake
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tests.bench.tables import Tables
from tests.support.environments import must_run
from tests.support.fake_ingest import lake_frame
from tests.support.features_fakes import FakeMeter, FakeTrainingFiles, FakeViews

if not must_run():
    for library in ("pyspark", "pyarrow", "pandas"):
        pytest.importorskip(
            library, reason=f"{library} is not installed: make test-spark, or pip install 'tenon[spark]'"
        )
    if shutil.which("java") is None:
        pytest.skip("there is no Java on this machine", allow_module_level=True)
pytestmark = pytest.mark.timeout(900)

NORTH = TenantId("north")
SPECS = Path(__file__).resolve().parents[2] / "examples" / "flights" / "specs"


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A local session on two threads. It lives for seconds: what only pays in long runs is off."""
    from pyspark.sql import SparkSession

    built = SparkSession.builder.master("local[2]").appName("tenon tests")
    for name, value in {
        "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1", "spark.driver.memory": "1g", "spark.sql.adaptive.enabled": "false",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData",
        "spark.sql.codegen.wholeStage": "false",
    }.items():  # fmt: skip
        built = built.config(name, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = built.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()


def compare(
    spark: Any, lake: DeltaLake, table: LakeTable, columns: list[str], views: list[FeatureViewSpec], buckets: int = 0
) -> pl.DataFrame:
    """Both engines' training sets, held against each other cell by cell; gives the one machine's."""
    from services.features.engine.spark import SparkTrainingSets

    stored, files = FakeViews(), FakeTrainingFiles()
    for view in views:
        stored.apply(NORTH, view, dry_run=False)
    building = BuildTrainingSet(stored, Tables({table.spec.name: table}), lake, files, FakeMeter())
    made = building.build(NORTH, table.spec.name, columns, [view.name for view in views])
    ours = files.frames[NORTH, made.fingerprint]
    built = SparkTrainingSets(spark, lake, files=lake.files).build(
        table, columns, [(view, table) for view in views], buckets=buckets
    )
    theirs = pl.DataFrame(pl.from_arrow(built.toArrow()))
    assert theirs.columns == ours.columns
    order = [table.spec.event_time, *table.spec.primary_key]
    theirs = theirs.sort(order)
    assert theirs.height == ours.height
    for name in ours.columns:
        mine, other = ours[name], theirs[name]
        if mine.dtype == pl.Float64:
            # Bits, not numbers: 0.0 is not -0.0 here.
            assert (mine.is_null() == other.is_null()).all(), name
            bits = [series.fill_null(0.0).to_numpy().view("int64") for series in (mine, other)]
            assert (bits[0] == bits[1]).all(), name
        else:
            assert mine.equals(other.cast(mine.dtype), check_names=False), name
    return ours


@pytest.mark.data
def test_every_bit_of_the_flights(spark: Any, data_sets: Path, tmp_path: Path) -> None:
    """Ten years of flights, the example's views and more of every function: no cell differs."""
    flights = DatasetSpec.model_validate(_documents("flights.yaml")[0])
    rows = read_flights(data_sets)
    typed = rows.select(
        pl.col(name).cast(pl.Int64) if column.type.value == "integer"
        else pl.col(name).dt.replace_time_zone("UTC").dt.cast_time_unit("us") if column.type.value == "timestamp"
        else pl.col(name)
        for name, column in flights.columns.items()
    ).unique("flight_id", keep="last", maintain_order=True)  # fmt: skip
    blobs = open_blobs(tmp_path.as_uri())
    uri = blobs.uri("lake/north/flights")
    # Several files, as loads leave them.
    for part in range(3):
        write_deltalake(uri, typed[part * 100_000 : (part + 1) * 100_000], mode="append")
    views = [FeatureViewSpec.model_validate(document) for document in _documents("history.yaml")]
    views.append(
        FeatureViewSpec.model_validate(
            {
                "name": "plane", "dataset": "flights", "entity": ["tailnum"],
                "aggregates": [
                    {"column": "arr_delay", "functions": ["count", "sum", "mean", "std", "min", "max", "first", "last",
                                                          "distinct", "quantile", "rate", "since_last"],
                     "above": 15, "quantiles": [0.5, 0.9], "windows": ["1d", "90d", "all"]},
                    {"column": "dest", "functions": ["distinct", "first", "last"], "windows": ["30d"]},
                    {"column": "arr_delay", "functions": ["mean"], "windows": ["365d"], "as": "far",
                     "where": {"distance": {"above": 1000}, "month": {"in": [12, 1, 2]}}},
                ],
                "latest": [{"column": "dep_delay", "ttl": "3d"}, {"column": "origin", "ttl": "30d"}],
                "static": ["distance", "carrier"],
                "expressions": {"trend": "arr_delay_mean_1d / arr_delay_mean_90d"},
            }
        )
    )  # fmt: skip
    table = LakeTable(uri, DeltaTable(uri).version(), flights)
    made = compare(spark, DeltaLake(blobs), table, ["arr_delay", "distance"], views)
    assert made.height > 280_000
    assert made.height - made["plane.trend"].null_count() > 20_000


def test_corrections_decimals_floats_and_texts(spark: Any, tmp_path: Path) -> None:
    """Rows that were corrected or erased, rows without an entity, keys of two columns, decimals, floats, texts, filters,
    values that are known late and values that are too old are the same there too; also where a part has no events."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    spec = DatasetSpec.model_validate(
        {"name": "bills", "primaryKey": ["id"], "eventTime": "at",
         "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string", "nullable": True},
                     "open": {"type": "boolean"}, "sent": {"type": "timestamp", "nullable": True},
                     "weight": {"type": "float", "nullable": True}, "place": {"type": "string"},
                     "note": {"type": "string", "nullable": True, "knownAt": "sent"},
                     "amount": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "sent"}}}
    )  # fmt: skip

    def bill(number: int, extra: int = 0) -> dict[str, Any]:
        at = start + timedelta(hours=number % 97)
        return {"id": number, "at": at, "who": None if number % 11 == 0 else f"w{number % 5}", "open": number % 3 == 0,
                "sent": None if number % 29 == 0 else at + timedelta(hours=number % 7 + 12 * extra),
                "note": None if number % 4 == 0 else "éß|\\ "[: number % 6] + "x" * extra, "place": f"house {number % 5}",
                "weight": None if number % 13 == 0 else (number % 17 - 8) * 10.0 ** (number % 31 - 15), "amount": Decimal(number * 37 % 1000 + extra) / 100}  # fmt: skip

    blobs = open_blobs(tmp_path.as_uri())
    uri = blobs.uri("lake/north/bills")
    write_deltalake(uri, lake_frame(spec, [bill(n) for n in range(300)]), configuration={"delta.enableChangeDataFeed": "true"})  # fmt: skip
    merge = DeltaTable(uri).merge(
        lake_frame(spec, [bill(n, 1) for n in range(0, 310, 3)]), "t.id = s.id", source_alias="s", target_alias="t"
    )
    merge.when_matched_update_all().when_not_matched_insert_all().execute()
    DeltaTable(uri).delete("id IN (6, 7, 8)")
    view = FeatureViewSpec.model_validate(
        {"name": "v", "dataset": "bills", "entity": ["who", "open"],
         "aggregates": [{"functions": ["count", "since_last"], "windows": ["1d"]},
                        {"column": "amount", "functions": ["sum", "std", "last", "quantile", "rate"], "above": 3.3,
                         "quantiles": [0.25, 0.9], "windows": ["1d", "all"]},
                        {"column": "amount", "functions": ["count", "mean"], "windows": ["2d"], "as": "some",
                         "where": {"place": {"in": ["house 1", "house 4"]}, "weight": {"below": 3}}},
                        {"column": "note", "functions": ["first", "last", "distinct"], "windows": ["1d", "all"]},
                        {"column": "weight", "functions": ["sum", "mean", "std", "min", "last", "quantile", "distinct"],
                         "quantiles": [0.5], "windows": ["1d", "all"]}],
         "latest": [{"column": "note", "ttl": "5h"}, {"column": "amount", "ttl": "5h"}], "static": ["place"],
         "expressions": {"change": "coalesce(amount_last_1d - amount_sum_all, weight_mean_1d)"}}
    )  # fmt: skip
    lake = DeltaLake(blobs)
    table = LakeTable(uri, DeltaTable(uri).version(), spec)
    assert lake.read_replaced(table, ["id"]).height == 99
    made = compare(spark, lake, table, ["amount", "open", "who", "note"], [view], buckets=16)
    assert made["v.count_1d"].null_count() == made["who"].null_count()
    texts = ["v.note_first_1d", "v.note_last_all", "v.note_latest", "v.place"]
    assert {made[name].dtype for name in texts} == {pl.String()}
    assert [made[name].n_unique() > 4 for name in texts] == [True] * 4
    assert made["v.note_latest"].null_count() > made["v.note_last_all"].null_count(), "some are too old"


def _documents(name: str) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in document.items() if key != "kind"}
        for document in yaml.safe_load_all((SPECS / name).read_text())
    ]
