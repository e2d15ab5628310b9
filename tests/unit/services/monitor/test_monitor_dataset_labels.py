"""Labels from the model's own data set: on real lake tables, whichever side comes first, with corrections of either."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable

from services.monitor.domain.label_words import SpineTable, WatchedModel
from services.monitor.domain.labels.from_datasets import LabelsFromDatasets
from services.monitor.domain.labels.record import RecordLabels
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import Label, Window
from services.monitor.storage.labels.keyed import SqlBookmarks
from services.monitor.storage.labels.spine import DeltaSpineRows, SqlDatasetLabels
from services.monitor.storage.log.answered import SqlAnswered
from tenon.core.specs import DatasetSpec, ModelSpec, parse_spec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tests.support.monitor_data import START, batch_document
from tests.support.monitor_fakes import MemoryVersions
from tests.support.monitor_storage_suite import Store

NORTH = TenantId("north")
DAY = 86_400_000_000
VISITS = {
    "name": "visits", "primaryKey": ["visit_id"], "eventTime": "admitted_at",
    "columns": {
        "visit_id": {"type": "string"}, "patient_id": {"type": "string"}, "admitted_at": {"type": "timestamp"},
        "age": {"type": "integer", "nullable": True}, "ward": {"type": "string", "nullable": True},
        "billed_at": {"type": "timestamp", "nullable": True},
        "cost": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "billed_at"},
    },
}  # fmt: skip
COSTLY = {
    "name": "cost", "spine": "visits", "label": {"column": "cost", "above": 1000}, "task": "binary",
    "features": {"request": ["age", "ward"], "views": ["history"]}, "split": {"test": "90d"},
}  # fmt: skip


@dataclass
class Lake:
    """`Spines` over a Delta table that rows are merged into, as ingest does."""

    folder: Path
    version: int = -1
    model: dict[str, Any] = field(default_factory=lambda: COSTLY)
    entity: tuple[str, ...] = ("patient_id",)
    spec: DatasetSpec = field(default_factory=lambda: parse_spec(DatasetSpec, VISITS))

    def models(self, tenant: TenantId) -> Sequence[WatchedModel]:
        """See the port."""
        return [WatchedModel(parse_spec(ModelSpec, self.model), self.entity)] if tenant == NORTH else []

    def table(self, tenant: TenantId, dataset: str) -> SpineTable | None:
        """See the port."""
        return SpineTable(str(self.folder), self.version, self.spec) if self.version >= 0 else None

    def commit(self, *rows: tuple[str, str, int, float | None, int | None], at: int = START) -> None:
        """Add or replace visits: (visit, patient, age, cost, days until billed)."""
        moment = pl.Datetime("us", "UTC")
        frame = pl.DataFrame(
            {
                "visit_id": [row[0] for row in rows],
                "patient_id": [row[1] for row in rows],
                "admitted_at": pl.Series([at] * len(rows), dtype=pl.Int64).cast(moment),
                "age": [row[2] for row in rows],
                "ward": ["surgery"] * len(rows),
                "billed_at": pl.Series(
                    [None if row[4] is None else at + row[4] * DAY for row in rows], dtype=pl.Int64
                ).cast(moment),
                "cost": pl.Series([row[3] for row in rows], dtype=pl.Float64).cast(pl.Decimal(18, 2)),
            }
        )
        if self.version < 0:
            frame.write_delta(str(self.folder))
        else:
            merging = frame.write_delta(
                str(self.folder), mode="merge",
                delta_merge_options={"predicate": "s.visit_id = t.visit_id", "source_alias": "s", "target_alias": "t"},
            )  # fmt: skip
            merging.when_matched_update_all().when_not_matched_insert_all().execute()
        self.version = DeltaTable(str(self.folder)).version()


class World:
    """The use case on SQLite and a real lake."""

    def __init__(self, folder: Path) -> None:
        self.store, self.lake = Store(f"sqlite:///{folder}/monitor.db"), Lake(folder / "lake")
        ids = self.store.log._ids
        database, log = self.store.database, self.store.log
        self.record = RecordLabels(self.store.labels, log, MemoryVersions(), lambda: START + 10**15)
        self.use = LabelsFromDatasets(
            self.lake, DeltaSpineRows(open_blobs(f"file://{folder}")), log, log, SqlAnswered(database, ids),
            SqlBookmarks(database, ids), SqlDatasetLabels(database, ids), self.record, lambda: START + 10**15,
        )  # fmt: skip

    def answer(self, one: str, patient: str, age: float = 50, **more: Any) -> None:
        """Log an answer."""
        columns: dict[str, Any] = {
            "age": np.array([age]),
            "ward": ["surgery"],
            "patient_id": [patient],
            "history.n": np.ones(1),
        }
        columns |= more.pop("columns", {})
        self.store.log.store(NORTH, batch_from_document(batch_document(np.array([0.5]), columns, ids=[one], **more)))

    def labels(self, known_at: int | None = None) -> list[tuple[float, int]]:
        """Value and days of delay of every label."""
        groups = self.store.labels.labelled(NORTH, "cost", Window(0, 2**60), known_at).values()
        return sorted(
            (value, round(delay / DAY)) for rows in groups for value, delay in zip(rows.value, rows.delay, strict=True)
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A fresh one."""
    made = World(tmp_path)
    yield made
    made.store.database.close()


A, B = "00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"


def test_a_commit_labels_the_predictions_its_rows_are_about(world: World) -> None:
    """By event time and what both know; the value as the model's document makes it; known when the bill was; once."""
    world.answer(A, "p1")
    world.answer(B, "p2")
    world.lake.commit(("v1", "p1", 50, 5000.0, 14), ("v2", "p2", 50, None, None), ("v3", "p3", 50, 10.0, 3))
    assert world.use.committed(NORTH, "visits") == 1
    assert world.labels() == [(1.0, 14)]
    assert world.use.committed(NORTH, "visits") == 0
    assert world.use.late() == 0
    world.lake.commit(("v2", "p2", 50, 80.0, 20))
    assert world.use.committed(NORTH, "visits") == 1
    assert world.labels() == [(0.0, 20), (1.0, 14)]


def test_a_prediction_that_comes_late_finds_its_row(world: World) -> None:
    """The commit was long before; heal and another look change nothing."""
    world.lake.commit(("v1", "p1", 50, 5000.0, 14))
    assert world.use.committed(NORTH, "visits") == 0
    world.answer(A, "p1")
    assert world.use.late() == 1
    assert world.labels() == [(1.0, 14)]
    assert (world.use.late(), world.use.heal(), world.use.committed(NORTH, "visits")) == (0, 0, 0)


def test_a_corrected_row_is_a_correction(world: World) -> None:
    """With a later knownAt it is known from there, with the same one from the commit; what was known before stays told."""
    world.answer(A, "p1")
    world.lake.commit(("v1", "p1", 50, 5000.0, 14))
    world.use.committed(NORTH, "visits")
    world.lake.commit(("v1", "p1", 50, 900.0, 30))
    assert world.use.committed(NORTH, "visits") == 1
    assert world.labels() == [(0.0, 30)]
    assert world.labels(START + 20 * DAY) == [(1.0, 14)]
    world.lake.commit(("v1", "p1", 50, 2000.0, 30))
    assert world.use.committed(NORTH, "visits") == 1
    ((value, delay),) = world.labels()
    assert value == 1.0
    assert delay > 30
    assert world.labels(START + 31 * DAY) == [(0.0, 30)]


def test_an_experts_word_is_not_overwritten_by_an_unchanged_row(world: World) -> None:
    """The data set says again what it said before: that is no news."""
    world.answer(A, "p1")
    world.lake.commit(("v1", "p1", 50, 5000.0, 14))
    world.use.committed(NORTH, "visits")
    world.record(NORTH, "cost", [Label(A, 0.0, START + 40 * DAY)])
    world.lake.commit(("v1", "p1", 50, 5000.0, 50), ("v9", "p9", 50, 1.0, 1))
    assert world.use.committed(NORTH, "visits") == 0
    assert world.labels() == [(0.0, 40)]


def test_rows_that_look_the_same_label_nothing(world: World) -> None:
    """Two visits of one patient at one moment; the primary key in the request tells them apart."""
    world.answer(A, "p1")
    world.lake.commit(("v1", "p1", 50, 5000.0, 14), ("v2", "p1", 50, 10.0, 14))
    assert world.use.committed(NORTH, "visits") == 0
    world.answer(B, "p1", columns={"visit_id": ["v2"]})
    assert world.use.late() == 1
    assert world.labels() == [(0.0, 14)]


def test_a_model_without_history_gets_labels_by_its_primary_key(world: World) -> None:
    """It takes no event time: its answers are at their own moment, and rows of two days around are looked for, from either side."""
    world.lake.model = {**COSTLY, "features": {"request": ["visit_id", "age"]}}
    world.lake.entity = ()
    world.answer(A, "p1", columns={"visit_id": ["v1"]}, at=START + DAY + DAY // 2)
    world.lake.commit(("v1", "p1", 50, 5000.0, 14), ("v2", "p1", 50, 10.0, 14))
    assert world.use.committed(NORTH, "visits") == 1
    world.answer(B, "p1", columns={"visit_id": ["v2"]}, at=START - DAY)
    assert world.use.late() == 1
    assert sorted(value for value, _ in world.labels()) == [0.0, 1.0]


def test_other_questions_and_other_tenants_get_nothing(world: World) -> None:
    """Another age or another moment is another event; a tenant without the model has no labels."""
    world.answer(A, "p1", age=51)
    world.answer(B, "p1", event_time=START + DAY)
    world.lake.commit(("v1", "p1", 50, 5000.0, 14))
    assert world.use.committed(NORTH, "visits") == 0
    assert world.use.committed(TenantId("south"), "visits") == 0
    assert world.labels() == []
