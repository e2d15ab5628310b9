"""Reading Delta tables at a version, whatever their folder is called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from services.features.domain.model import LakeTable, TrainingSet
from services.features.domain.ports import REPLACED_AT, REPLACED_IN
from services.features.storage.lake import DeltaLake
from services.features.storage.training_files import BlobTrainingFiles
from tenon.core.errors import Unavailable
from tenon.core.specs import DatasetSpec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs

SPEC = DatasetSpec.model_validate(
    {"name": "d", "primaryKey": ["id"], "eventTime": "at",
     "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "new": {"type": "integer", "nullable": True},
                 "cost": {"type": "decimal", "scale": 2, "nullable": True}}}
)  # fmt: skip
START = datetime(2025, 1, 1, tzinfo=UTC)
START_MICROS = int(START.timestamp()) * 1_000_000


def frame(*offsets: int) -> pl.DataFrame:
    """Rows at START plus some microseconds; `id` is the offset."""
    at = pl.Series("at", [START + timedelta(microseconds=n) for n in offsets], pl.Datetime("us", "UTC"))
    return pl.DataFrame([pl.Series("id", offsets, pl.Int64), at])


@pytest.fixture(params=["plain", "with a space", "ünï"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the blobs are."""
    return tmp_path / request.param


def test_a_table_is_read_at_its_version(folder: Path) -> None:
    """Later commits do not show in an earlier version; every way of reading sees the same rows."""
    blobs = open_blobs(folder.as_uri())
    uri = blobs.uri("lake/t/d")
    write_deltalake(uri, frame(1, 2))
    write_deltalake(uri, frame(2, 7), mode="append")
    lake, old, new = DeltaLake(blobs), LakeTable(uri, 0, SPEC), LakeTable(uri, 1, SPEC)
    assert sorted(lake.read(old, ["id"])["id"]) == [1, 2]
    assert sorted(lake.read(new, ["id"])["id"]) == [1, 2, 2, 7]
    assert (lake.newest(old, "at"), lake.newest(new, "at")) == (START_MICROS + 2, START_MICROS + 7)
    assert sorted(lake.read_distinct(new, ["id"])["id"]) == [1, 2, 7]
    assert lake.read(new, ["id", "new", "cost"]).schema == {"id": pl.Int64, "new": pl.Int64, "cost": pl.Decimal(18, 2)}
    assert lake.read(new, ["new"])["new"].to_list() == [None] * 4, "declared after the last commit: missing so far"


def test_added_rows_are_told_from_changed_ones(folder: Path) -> None:
    """What appends added after a version is read alone; a merge, an overwrite or a version that is gone says so."""
    blobs = open_blobs(folder.as_uri())
    uri = blobs.uri("lake/t/d")
    write_deltalake(uri, frame(1, 2))
    write_deltalake(uri, frame(7), mode="append")
    write_deltalake(uri, frame(8, 9), mode="append")
    lake = DeltaLake(blobs)
    for since, expected in ((0, [7, 8, 9]), (1, [8, 9])):
        rows = lake.read_added(LakeTable(uri, 2, SPEC), ["id", "new"], since)
        assert rows is not None
        assert (sorted(rows["id"]), rows["new"].null_count()) == (expected, len(expected))
    merge = DeltaTable(uri).merge(frame(7, 11), "t.id = s.id", source_alias="s", target_alias="t")
    merge.when_matched_update_all().when_not_matched_insert_all().execute()
    assert lake.read_added(LakeTable(uri, 3, SPEC), ["id"], 2) is None
    assert lake.read_added(LakeTable(uri, 3, SPEC), ["id"], 99) is None
    write_deltalake(uri, frame(1), mode="overwrite")
    assert lake.read_added(LakeTable(uri, 4, SPEC), ["id"], 3) is None


def test_corrected_rows_are_kept(folder: Path) -> None:
    """What a merge replaced is read as it was, up to each version; of what was removed nothing is left."""
    blobs = open_blobs(folder.as_uri())
    uri = blobs.uri("lake/t/d")
    write_deltalake(uri, frame(1, 2, 3))
    lake = DeltaLake(blobs)

    def correct(*offsets: int, new: int) -> None:
        rows = frame(*offsets).with_columns(pl.lit(new, pl.Int64).alias("new"))
        table = DeltaTable(uri)
        if "new" not in {field.name for field in table.schema().fields}:
            table.alter.add_columns([Field("new", PrimitiveType("long"))])
        merge = DeltaTable(uri).merge(rows, "t.id = s.id", source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def replaced(version: int) -> list[tuple[int, int | None, int]]:
        rows = lake.read_replaced(LakeTable(uri, version, SPEC), ["id", "new", "cost"])
        assert rows.is_empty() or rows[REPLACED_AT].dtype == pl.Datetime("us", "UTC")
        return sorted(rows.select("id", "new", REPLACED_IN).rows() if len(rows) else [])

    correct(1, new=10)  # Versions 1 and 2; nobody kept what was replaced.
    DeltaTable(uri).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    correct(1, 9, new=11)
    correct(1, 2, new=12)
    DeltaTable(uri).delete("id = 2")
    correct(2, new=13)
    write_deltalake(uri, frame(21).with_columns(pl.lit(1, pl.Int64).alias("new")), mode="append")
    correct(2, 3, new=14)
    assert replaced(3) == []
    assert replaced(4) == [(1, 10, 4)]
    assert replaced(5) == [(1, 10, 4), (1, 11, 5), (2, None, 5)]
    assert replaced(6) == replaced(8) == [(1, 10, 4), (1, 11, 5)]
    assert replaced(9) == [(1, 10, 4), (1, 11, 5), (2, 13, 9), (3, None, 9)]
    assert replaced(5) == [(1, 10, 4), (1, 11, 5), (2, None, 5)]
    removed = [
        lake.read_removed(LakeTable(uri, version, SPEC), since).rows() for version, since in ((9, 3), (5, 3), (9, 6))
    ]
    assert removed == [[(2, 6)], [], []]
    assert DeltaLake(blobs).read_replaced(LakeTable(uri, 9, SPEC), ["id"])["id"].sort().to_list() == [1, 1, 2, 3]


@pytest.mark.parametrize("since", [-(2**62), 0, 1, 2, 3, 1500, 1501])
def test_a_bound_is_exact_to_the_microsecond(tmp_path: Path, since: int) -> None:
    """No row is lost or gained at the bound, though the table's own statistics know only milliseconds."""
    blobs = open_blobs(tmp_path.as_uri())
    uri = blobs.uri("t")
    offsets = (1, 2, 1500)
    for offset in offsets:
        write_deltalake(uri, frame(offset), mode="append")
    bound = START_MICROS + since if since >= 0 else since
    rows = DeltaLake(blobs).read_since(LakeTable(uri, 2, SPEC), ["id", "at"], "at", bound)
    assert sorted(rows["id"]) == [offset for offset in offsets if offset >= since]


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    """A table that cannot be opened is unavailable, by name."""
    blobs = open_blobs(tmp_path.as_uri())
    with pytest.raises(Unavailable, match="'d'"):
        DeltaLake(blobs).read(LakeTable(blobs.uri("t"), 0, SPEC), ["id"])


def test_training_files_are_found_again(folder: Path) -> None:
    """Equal frames give equal bytes, and a file is found under its fingerprint only when it is whole."""
    blobs = open_blobs(folder.as_uri())
    files, tenant = BlobTrainingFiles(blobs, folder / "scratch"), TenantId("north")
    assert files.find(tenant, "f1") is None
    made = [
        files.write(tenant, TrainingSet("", 0, name, "", {"d": 1}, {"v": "x"}, "d", ("id",), 7), frame(*range(1000)))
        for name in ("f1", "f2")
    ]
    assert made[0].file_sha256 == made[1].file_sha256
    assert files.find(tenant, "f1") == made[0]
    assert files.find(TenantId("south"), "f1") is None
    blobs.delete("features/north/training/f1.parquet")
    assert files.find(tenant, "f1") is None


def test_which_version_was_the_newest_at_a_time(tmp_path: Path) -> None:
    """By the commits' own times; before the first there was none, and a pinned version never becomes a later one."""
    blobs = open_blobs(tmp_path.as_uri())
    uri = blobs.uri("lake/t/d")
    write_deltalake(uri, frame(1))
    write_deltalake(uri, frame(2), mode="append")
    lake, new = DeltaLake(blobs), LakeTable(uri, 1, SPEC)
    first, last = sorted(int(entry["timestamp"]) * 1000 for entry in DeltaTable(uri).history())
    assert lake.version_at(new, None) == 1
    assert lake.version_at(new, last) == lake.version_at(new, last + 10**9) == 1
    assert lake.version_at(LakeTable(uri, 0, SPEC), last) == 0
    assert lake.version_at(new, first - 1) == -1
