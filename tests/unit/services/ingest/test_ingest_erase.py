"""Somebody is forgotten: rows leave the table and its earlier versions, readers are told, and a kill changes nothing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable, write_deltalake

from services.ingest.domain.erase_rows import EraseRows
from services.ingest.storage.tables import outbox as outbox_rows
from tenon.core.errors import Invalid, NotFound, Unavailable
from tests.support.ingest_world import ACME, Accident, World, csv_of, keys

ODD = "O'Neil \\' OR 1=1 -- \"é|😀"


def erasing(world: World) -> EraseRows:
    """The use case on the world's stores."""
    return EraseRows(world.datasets, world.batches, world.queue, world.lake)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two files are loaded; the second corrects a row of the first."""
    world = World(tmp_path)
    world.apply()
    world.send(csv_of((1, "a", "1"), (2, "b", "2"), (3, "a", "3")), "first.csv")
    world.send(csv_of((3, "a", "4"), (4, "b", "5"), (5, '"' + ODD.replace('"', '""') + '"', "6")), "second.csv")
    world.load_all()
    return world


def events(world: World) -> list[dict[str, str]]:
    """What was put into the outbox, in order."""
    with world.database.session() as session:
        rows = session.execute(sa.select(outbox_rows).order_by(outbox_rows.c.id)).all()
    return [json.loads(row.fields_json) for row in rows]


def everywhere(world: World) -> str:
    """Every byte of the table's files that are not its change feed, as text; Parquet files by their rows."""
    table = world.datasets.table(ACME, "visits")
    assert table is not None
    folder = Path(table.uri.removeprefix("file://"))
    logs = [path.read_text() for path in folder.rglob("*.json")]
    rows = [str(pl.read_parquet(path)["ward"].to_list()) for path in folder.glob("*.parquet")]
    return "\n".join([*logs, *rows])


def test_rows_leave_the_table(world: World) -> None:
    """The named rows are gone from this and every earlier version, nobody else's; the files that had them are named."""
    erased = erasing(world).erase(ACME, "visits", "ward", "a")
    assert erased.rows == 2
    assert [batch.file.name for batch in erased.batches] == ["first.csv", "second.csv"]
    assert list(keys(world.rows())) == [2, 4, 5]
    table = world.datasets.table(ACME, "visits")
    assert table is not None
    assert (table.version, table.rows) == (erased.table_version, 3)
    told = events(world)[-1]
    assert (told["tenant"], told["dataset"], told["batch_id"]) == ("acme", "visits", "")
    assert told["table_version"] == str(table.version)
    with pytest.raises((OSError, pl.exceptions.ComputeError)):
        pl.read_delta(table.uri, version=1)
    again = erasing(world).erase(ACME, "visits", "ward", "a")
    assert (again.rows, again.batches) == (0, [])
    world.send(csv_of((6, "a", "1")), "third.csv")
    world.load_all()
    assert list(keys(world.rows())) == [2, 4, 5, 6], "what comes later is a new row"


def test_very_many_rows_leave_the_table(tmp_path: Path) -> None:
    """In several commits, for one that names all of them would end the process; the count is that of all."""
    world = World(tmp_path, chunk_rows=5000)
    world.apply()
    world.send(csv_of((1, "a", "1")), "first.csv")
    world.send(csv_of(*((number, "c", "1") for number in range(100, 5100))), "many.csv")
    world.load_all()
    erased = erasing(world).erase(ACME, "visits", "ward", "c")
    assert erased.rows == 5000
    assert [batch.file.name for batch in erased.batches] == ["many.csv"]
    assert list(keys(world.rows())) == [1]


def test_neither_value_nor_key_stands_in_the_log(world: World) -> None:
    """Whatever the value is called: it is found as it is, and the table's log does not name it in what was done."""
    assert erasing(world).erase(ACME, "visits", "ward", ODD.upper()).rows == 0
    erased = erasing(world).erase(ACME, "visits", "ward", ODD)
    assert erased.rows == 1
    assert list(keys(world.rows())) == [1, 2, 3, 4]
    table = world.datasets.table(ACME, "visits")
    assert table is not None
    (done,) = [entry for entry in DeltaTable(table.uri).history() if entry["operation"] == "DELETE"]
    assert "Neil" not in json.dumps(done, default=str)
    assert "visit" not in done["operationParameters"]["predicate"]
    folder = Path(table.uri.removeprefix("file://"))
    for path in folder.glob("*.parquet"):
        assert ODD not in pl.read_parquet(path)["ward"].to_list()


def test_an_integer_names_somebody_too(world: World) -> None:
    """By the number, as text or not; what is no number, no such column, or no name is refused."""
    assert erasing(world).erase(ACME, "visits", "visit", "4").rows == 1
    for column, value, reason in [
        ("visit", "four", "SUBJECT_INVALID"), ("visit", str(1 << 63), "SUBJECT_INVALID"), ("wart", "a", "COLUMN_UNKNOWN"),
        ("fee", "1", "SUBJECT_INVALID"), ("_line", "1", "COLUMN_UNKNOWN"),
    ]:  # fmt: skip
        with pytest.raises(Invalid) as refused:
            erasing(world).erase(ACME, "visits", column, value)
        assert refused.value.reason == reason
    with pytest.raises(NotFound):
        erasing(world).erase(ACME, "nothing", "ward", "a")
    assert list(keys(world.rows())) == [1, 2, 3, 5]


def test_nothing_was_loaded_yet(tmp_path: Path) -> None:
    """Without a table there is nobody to forget."""
    world = World(tmp_path)
    world.apply()
    assert erasing(world).erase(ACME, "visits", "ward", "a").table_version is None


def test_cut_off_anywhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again after kills at each step, the rows are gone, their files too, and readers are told of the version without them."""
    for step in ("delete", "vacuum", "move"):
        owner = world.queue if step == "move" else DeltaTable
        do = getattr(owner, step)

        def accident(*args: object, do: Any = do, step: str = step, **options: object) -> object:
            do(*args, **options)
            raise Accident(step)

        with monkeypatch.context() as patch:
            patch.setattr(owner, step, accident)
            with pytest.raises(Accident, match=step):
                erasing(world).erase(ACME, "visits", "ward", "a")
        world = world.reopen()
    erasing(world).erase(ACME, "visits", "ward", "a")
    assert list(keys(world.rows())) == [2, 4, 5]
    table = world.datasets.table(ACME, "visits")
    assert table is not None
    assert events(world)[-1]["table_version"] == str(table.version)
    assert "'a'" not in everywhere(world)


def test_the_ledger_never_goes_back(world: World) -> None:
    """A load that was cut off after its commit to the lake ends when rows were erased meanwhile: readers stay without them."""
    world.accidents = {"before SqlLoadQueue.commit": 0}
    world.send(csv_of((7, "a", "1"), (8, "b", "1")), "third.csv")
    with pytest.raises(Accident):
        world.load_all()
    world = world.reopen()
    assert erasing(world).erase(ACME, "visits", "ward", "a").rows == 3
    world.load_all()
    assert list(keys(world.rows())) == [2, 4, 5, 8]


def test_a_load_in_between(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is committed while rows are being erased: one of the two is told to ask again, and no row is lost."""
    delete = DeltaTable.delete

    def load_first(table: DeltaTable, *args: object, **options: object) -> object:
        monkeypatch.setattr(DeltaTable, "delete", delete)
        world.send(csv_of((1, "a", "9"), (9, "b", "1")), "third.csv")
        world.load_all()
        return delete(table, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(DeltaTable, "delete", load_first)
    with pytest.raises(Unavailable, match="ask again"):
        erasing(world).erase(ACME, "visits", "ward", "a")
    assert list(keys(world.rows())) == [1, 2, 3, 4, 5, 9]
    assert erasing(world).erase(ACME, "visits", "ward", "a").rows == 2
    assert list(keys(world.rows())) == [2, 4, 5, 9]


def test_rows_of_very_many_files(tmp_path: Path) -> None:
    """Somebody who came in every file for ten years is forgotten in one go."""
    world = World(tmp_path)
    world.apply()
    world.send(csv_of((1, "a", "1")))
    world.load_all()
    table = world.datasets.table(ACME, "visits")
    assert table is not None
    one = pl.read_delta(table.uri)
    batches = pl.DataFrame({"visit": range(2, 2002), "_batch_id": [f"{n:032x}" for n in range(2, 2002)]})
    many = one.drop("visit", "_batch_id").join(batches, how="cross").select(one.columns)
    write_deltalake(table.uri, many, mode="append")
    assert erasing(world).erase(ACME, "visits", "ward", "a").rows == 2001
    assert list(keys(world.rows())) == []
