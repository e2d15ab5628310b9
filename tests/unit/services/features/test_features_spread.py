"""Training sets that are made through files: the same bytes as those made in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from services.features.domain.build_training_set import BuildTrainingSet
from services.features.storage.training_files import BlobTrainingFiles
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tests.support.features_fakes import FakeLake, FakeMeter, FakeViews

NORTH = TenantId("north")
SPEC = DatasetSpec.model_validate(
    {
        "name": "d", "primaryKey": ["id"], "eventTime": "at",
        "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string", "nullable": True},
                    "price": {"type": "decimal", "scale": 2, "nullable": True}, "open": {"type": "boolean"}},
    }
)  # fmt: skip
VIEWS = [
    FeatureViewSpec.model_validate(
        {"name": name, "dataset": "d", "entity": entity,
         "aggregates": [{"column": "price", "functions": ["count", "sum", "quantile"], "quantiles": [0.5],
                         "windows": ["30s", "all"]}],
         "latest": [{"column": "open"}]}
    )
    for name, entity in (("by_who", ["who"]), ("by_both", ["who", "open"]), ("by_price", ["price"]))
]  # fmt: skip


@pytest.mark.parametrize("memory", [60_000, 200_000, 1_500_000])
def test_the_same_bytes_through_files(tmp_path: Path, memory: int) -> None:
    """Ties in time, missing keys, several views of several entities, in pieces of any size."""
    random, count = np.random.default_rng(3), 400
    lake, views, meter = FakeLake(), FakeViews(), FakeMeter()
    lake.specs[NORTH, "d"] = SPEC
    who = [None if n == 0 else f"w{n}" for n in random.integers(0, 9, count)]
    price = pl.Series(random.integers(-4, 5, count)).cast(pl.Decimal(18, 2))
    lake.commit(NORTH, "d", pl.DataFrame({
        "id": random.permutation(count), "at": pl.Series(random.integers(0, 90, count) * 1_000_000).cast(pl.Datetime("us", "UTC")),
        "who": pl.Series(who, dtype=pl.String), "price": price, "open": random.integers(0, 2, count) == 1,
    }))  # fmt: skip
    for view in VIEWS:
        views.apply(NORTH, view, dry_run=False)
    made = []
    for name, size in (("whole", 1 << 30), ("spread", memory)):
        files = BlobTrainingFiles(open_blobs((tmp_path / name).as_uri()), tmp_path / "scratch")
        training = BuildTrainingSet(views, lake, lake, files, meter, scratch=tmp_path / "scratch", memory=size)
        made.append(training.build(NORTH, "d", ["who", "price"], [view.name for view in VIEWS]))
    whole, spread = made
    assert (whole.rows, whole.fingerprint, whole.file_sha256) == (spread.rows, spread.fingerprint, spread.file_sha256)
    assert list((tmp_path / "scratch").iterdir()) == []
