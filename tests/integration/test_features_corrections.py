"""A correction on its whole way: ingest's table, the features' training set and their online values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from services.features.domain.build_online import BuildOnline
from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.model import EntityKeys, LakeTable, LoadedFile
from services.features.storage.lake import DeltaLake as Reader
from services.ingest.domain.model import lake_schema
from services.ingest.storage.lake import DeltaLake as Writer
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tests.support.features_fakes import FakeMeter, FakeOnlineStore, FakeTrainingFiles, FakeViews

NORTH = TenantId("north")
START = datetime(2025, 1, 1, tzinfo=UTC)
BILLS = DatasetSpec.model_validate(
    {
        "name": "bills", "primaryKey": ["id"], "eventTime": "at",
        "columns": {
            "id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"},
            "sent": {"type": "timestamp", "nullable": True},
            "amount": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "sent"},
        },
    }
)  # fmt: skip
VIEW = FeatureViewSpec.model_validate(
    {"name": "v", "dataset": "bills", "entity": ["who"],
     "aggregates": [{"functions": ["count"], "windows": ["all"]},
                    {"column": "amount", "functions": ["sum"], "windows": ["all"]}]}
)  # fmt: skip


class Tables:
    """Ingest's answers about its tables."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
        """See `ports.Datasets`."""
        return BILLS

    def table(self, tenant: TenantId, dataset: str) -> LakeTable:
        """See `ports.Datasets`."""
        return LakeTable(self.uri, DeltaTable(self.uri).version(), BILLS)

    def files(self, tenant: TenantId, dataset: str) -> Sequence[LoadedFile]:
        """See `ports.Datasets`."""
        return []


def bill(number: int, day: int, who: str, amount: str | None, sent: int | None) -> dict[str, Any]:
    """A bill of a day, sent on another."""
    return {
        "id": number, "at": START + timedelta(days=day), "who": who, "amount": None if amount is None else Decimal(amount),
        "sent": None if sent is None else START + timedelta(days=sent), "_batch_id": "b", "_line": 1, "_ingested_at": START,
    }  # fmt: skip


def test_a_corrected_bill(tmp_path: Path) -> None:
    """What was believed before the correction stands in the training rows and online values of that time, of a table from
    before corrections were kept too; an erased row leaves nothing."""
    blobs = open_blobs(tmp_path.as_uri())
    writer, reader = Writer(blobs), Reader(blobs)
    uri = writer.uri(NORTH, "bills")

    def load(batch: str, *rows: dict[str, Any]) -> None:
        frame = pl.DataFrame(list(rows), schema=lake_schema(BILLS))
        writer.upsert(NORTH, BILLS, batch, len(rows), lambda: iter([frame]))

    load("b1", bill(1, 0, "ann", "10.00", 2), bill(2, 1, "ann", "5.00", 3), bill(4, 1, "ann", "1.00", 3))
    # A table that was made by an earlier version of the program has no change feed until the next load.
    DeltaTable(uri).alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    load("b2", bill(1, 0, "ann", "12.50", 6), bill(9, 8, "bob", None, None), bill(2, 1, "bob", "5.00", 7))
    tables, views, online, meter, files = Tables(uri), FakeViews(), FakeOnlineStore(), FakeMeter(), FakeTrainingFiles()
    views.apply(NORTH, VIEW, dry_run=False)

    def online_values(who: str, day: float) -> list[float]:
        moment = int((START + timedelta(days=day)).timestamp() * 1e6)
        looking = LookUpOnline(online, views, meter)
        values = looking.look_up(NORTH, ["v"], [EntityKeys({"who": who}, moment)]).rows[0].values
        return [-1.0 if math.isnan(value) else value for value in values]

    def build() -> None:
        BuildOnline(
            views, tables, reader, online, meter, slack=90 * 86_400_000_000, now=lambda: int(START.timestamp() * 1e6)
        ).build(NORTH, "v")

    build()
    # Bill 2 turned out to be bob's on day 7. To the count a bill is known on its day, by its latest version.
    assert [online_values("ann", day) for day in (2.5, 3.5, 6.5, 7.5)] == [[2, 10], [2, 16], [2, 18.5], [2, 13.5]]
    assert [online_values("bob", day) for day in (6.5, 7.5)] == [[1, -1], [1, 5]]
    DeltaTable(uri).delete("id = 1")
    build()
    assert [online_values("ann", day) for day in (2.5, 3.5, 6.5, 7.5)] == [[1, -1], [1, 6], [1, 6], [1, 1]]

    spine = [bill(100 + day, day, "ann", None, None) for day in range(2, 9)]
    load("b3", *spine)
    build()
    made = BuildTrainingSet(views, tables, reader, files, meter).build(NORTH, "bills", ["who"], ["v"])
    frame = files.frames[NORTH, made.fingerprint].filter(pl.col("id") > 100)
    assert frame.height == 7
    for row, day in zip(frame.iter_rows(named=True), range(2, 9), strict=True):
        values = [row["v.count_all"], row["v.amount_sum_all"]]
        assert [-1.0 if value is None else value for value in values] == online_values("ann", day)
