"""Delta tables: an upsert finds its keys whatever their type, and a commit is made once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from services.ingest.domain.model import lake_schema
from services.ingest.domain.ports import Frames
from services.ingest.storage import lake as lake_module
from services.ingest.storage.lake import DeltaLake
from tenon.core.errors import Unavailable
from tenon.core.specs import DatasetSpec, parse_spec
from tenon.kit.blobs import open_blobs
from tests.support.ingest_world import ACME

LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)
MAKERS: dict[str, Callable[[random.Random], Any]] = {
    "string": lambda chance: "prefix " * 12 + "".join(chance.choice("aBé😀'\"%_\n\\,") for _ in range(12)),
    "integer": lambda chance: chance.randrange(-(2**63), 2**63),
    "decimal": lambda chance: Decimal(chance.randrange(-(10**18) + 1, 10**18)).scaleb(-2),
    "boolean": lambda chance: chance.random() < 0.5,
    "timestamp": lambda chance: LONG_AGO + timedelta(microseconds=chance.randrange(3_650_000 * 86_400 * 10**6)),
    "date": lambda chance: date(1, 1, 1) + timedelta(days=chance.randrange(3_650_000)),
}


def contract(kind: str, *keys: str) -> DatasetSpec:
    """A data set with keys of one type; the name `Order` needs quoting in SQL, and its case kept."""
    column = {"type": kind} | ({"scale": 2} if kind == "decimal" else {})
    columns: dict[str, Any] = dict.fromkeys(keys, column) | {
        "at": {"type": "timestamp"},
        "note": {"type": "string", "nullable": True},
    }
    return parse_spec(DatasetSpec, {"name": "d", "primaryKey": list(keys), "eventTime": "at", "columns": columns})


def frame(spec: DatasetSpec, keys: list[tuple[Any, ...]], note: str) -> pl.DataFrame:
    """Rows with some keys."""
    rows = [
        dict(zip(spec.primary_key, key, strict=True))
        | {"at": LONG_AGO, "note": note, "_batch_id": note, "_line": 1, "_ingested_at": LONG_AGO}
        for key in keys
    ]
    return pl.DataFrame(rows, schema=lake_schema(spec))


def given_rows(*frames: pl.DataFrame) -> Frames:
    """Frames that can be gone through again and again."""
    return lambda: iter(frames)


@pytest.fixture
def lake(tmp_path: Path) -> DeltaLake:
    """An empty lake."""
    return DeltaLake(open_blobs(tmp_path.as_uri()))


@pytest.mark.parametrize("pruned_rows", [0, 1_000])
@pytest.mark.parametrize("kind", MAKERS)
def test_an_upsert_replaces_every_row_with_its_key(
    lake: DeltaLake, monkeypatch: pytest.MonkeyPatch, kind: str, pruned_rows: int
) -> None:
    """Keys spread over several files are all found again, of any type and length, with and without skipping files."""
    monkeypatch.setattr(lake_module, "PRUNED_ROWS", pruned_rows)
    chance = random.Random(3)
    spec = contract(kind, "Order", "select")
    keys = list(dict.fromkeys((MAKERS[kind](chance), MAKERS[kind](chance)) for _ in range(16)))
    parts = [keys[n::4] for n in range(4) if keys[n::4]]
    for n, part in enumerate(parts):
        table = lake.upsert(ACME, spec, f"batch-{n}", len(part), given_rows(frame(spec, part, f"batch-{n}")))
    assert table.rows == len(keys)
    for n, part in enumerate(reversed(parts)):
        table = lake.upsert(
            ACME, spec, f"again-{n}", len(part), given_rows(*(frame(spec, [key], f"again-{n}") for key in part))
        )
    found = pl.read_delta(table.uri)
    assert (table.rows, len(found)) == (len(keys), len(keys))
    assert found["note"].str.starts_with("again").all()
    assert set(found.select(spec.primary_key).rows()) == set(keys)


def test_a_batch_is_found_by_its_commit(lake: DeltaLake) -> None:
    """Before it: nothing. After it: its own version, also when others have followed."""
    spec = contract("integer", "Order")
    assert lake.find(ACME, "d", "one") is None
    one = lake.upsert(ACME, spec, "one", 1, given_rows(frame(spec, [(1,)], "one")))
    two = lake.upsert(ACME, spec, "two", 1, given_rows(frame(spec, [(2,)], "two")))
    assert (lake.find(ACME, "d", "one"), lake.find(ACME, "d", "two"), lake.find(ACME, "d", "three")) == (one, two, None)
    assert two.version == one.version + 1


def test_two_loaders_cannot_both_commit_a_batch(lake: DeltaLake) -> None:
    """One that lost its claim and commits at the same moment fails, and can look again."""
    spec = contract("integer", "Order")
    lake.upsert(ACME, spec, "zero", 1, given_rows(frame(spec, [(0,)], "zero")))

    def rows_of_the_slow_one() -> Any:
        # While the slow loader reads its rows, the other one commits the same batch.
        # (On a thread of its own: within one thread the library may not be entered twice.)
        fast = threading.Thread(
            target=lake.upsert, args=(ACME, spec, "one", 1, given_rows(frame(spec, [(1,)], "fast")))
        )
        fast.start()
        fast.join(60)
        yield frame(spec, [(1,)], "slow")

    with pytest.raises(Unavailable, match="another loader"):
        lake.upsert(ACME, spec, "one", 1, rows_of_the_slow_one)
    assert pl.read_delta(lake.uri(ACME, "d")).sort("Order")["note"].to_list() == ["zero", "fast"]


@pytest.mark.parametrize("pruned_rows", [0, 1_000])
@pytest.mark.parametrize("first", [True, False])
def test_rows_that_cannot_be_read_commit_nothing(
    lake: DeltaLake, monkeypatch: pytest.MonkeyPatch, first: bool, pruned_rows: int
) -> None:
    """An accident in the middle of the rows leaves the table as it was."""
    monkeypatch.setattr(lake_module, "PRUNED_ROWS", pruned_rows)
    spec = contract("integer", "Order")
    if not first:
        lake.upsert(ACME, spec, "zero", 1, given_rows(frame(spec, [(0,)], "zero")))

    def rows() -> Any:
        yield frame(spec, [(1,)], "one")
        raise FileNotFoundError("the stage is gone")

    with pytest.raises(Unavailable, match="the stage is gone"):
        lake.upsert(ACME, spec, "one", 2, rows)
    assert lake.find(ACME, "d", "one") is None
    assert pl.read_delta(lake.uri(ACME, "d"))["Order"].to_list() == ([] if first else [0])


def test_a_lake_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """The load is tried again later; the error names the data set."""
    (tmp_path / "lake").write_text("a file where a folder should be")
    spec = contract("integer", "Order")
    with pytest.raises(Unavailable, match="data set 'd'"):
        DeltaLake(open_blobs(tmp_path.as_uri())).upsert(ACME, spec, "b", 1, given_rows(frame(spec, [(1,)], "b")))
