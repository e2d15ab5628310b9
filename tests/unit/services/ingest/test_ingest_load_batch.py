"""Loading: exactly once whatever happens, the counts add up, and what is refused leaves nothing behind."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.domain.model import BatchState
from tests.support.ingest_world import ACCIDENTS, ACME, Accident, World, csv_of, keys, visits


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Ingest with the contract of visits applied."""
    world = World(tmp_path)
    world.apply()
    return world


def test_good_rows_reach_the_lake_and_bad_ones_the_quarantine(world: World) -> None:
    """Types, hidden columns, counts, reasons and the table's version are all as promised."""
    world.send(csv_of((1, "a", "1.50"), (2, "", ""), ("x", "a", "1"), (3, "b", "-1"), (4, "b", "0.005")))
    (batch,) = world.load_all()
    assert batch.state is BatchState.COMMITTED
    counts = batch.counts
    assert (counts.read, counts.committed, counts.superseded, counts.quarantined) == (5, 2, 0, 3)
    assert counts.reasons == {"NOT_INTEGER": 1, "BELOW_MIN": 1, "TOO_MANY_DIGITS": 1}
    frame = world.rows().sort("visit")
    assert dict(frame.schema) == {
        "visit": pl.Int64(), "at": pl.Datetime("us", "UTC"), "ward": pl.String(), "fee": pl.Decimal(18, 2),
        "_batch_id": pl.String(), "_line": pl.Int64(), "_ingested_at": pl.Datetime("us", "UTC"),
    }  # fmt: skip
    assert frame["fee"].to_list() == [Decimal("1.50"), None]
    assert frame["ward"].to_list() == ["a", None]
    assert frame["_line"].to_list() == [2, 3]
    assert frame["_batch_id"].unique().to_list() == [batch.id]
    rows, total = world.read_quarantine.first(ACME, "visits", batch.id, 10)
    assert total == 3
    assert [(row.line, row.reason, row.column, row.value) for row in rows] == [
        (4, "NOT_INTEGER", "visit", "x"), (5, "BELOW_MIN", "fee", "-1"), (6, "TOO_MANY_DIGITS", "fee", "0.005"),
    ]  # fmt: skip


def test_the_quarantine_as_csv_can_be_mended_and_sent_again(world: World) -> None:
    """Each bad row stands whole beside its reason; one with a wrong number of fields stands in the last column."""
    world.send(b'visit,at,ward,fee\nx,2024-01-01 08:00,"a,b",1\n1,2\n5,2024-01-01 08:00,c,1\n')
    (batch,) = world.load_all()
    assert "".join(world.read_quarantine.as_csv(ACME, "visits", batch.id)).splitlines() == [
        "_line,_reason,_column,_value,_message,_also,visit,at,ward,fee,_record",
        '2,NOT_INTEGER,visit,x,visit: is not a whole number,,x,2024-01-01 08:00,"a,b",1,',
        '3,FIELD_COUNT,,,"the row has 2 fields, the header has 4",,,,,,"1,2"',
    ]


def test_of_rows_with_the_same_key_the_last_one_wins(world: World) -> None:
    """Within a file, also across chunks, and from file to file."""
    world.send(csv_of((1, "a", 1), (2, "a", 1), (1, "b", 2), (3, "a", 1), (1, "c", 3)))
    (batch,) = world.load_all()
    assert (batch.counts.read, batch.counts.committed, batch.counts.superseded) == (5, 3, 2)
    world.send(csv_of((2, "z", 9), (4, "z", 9)), "correction.csv")
    world.load_all()
    frame = world.rows().sort("visit")
    assert frame["ward"].to_list() == ["c", "z", "a", "z"]


def test_files_are_loaded_in_the_order_they_came(world: World) -> None:
    """A correction that was sent later wins although both wait."""
    world.send(csv_of((1, "first", 1)), "a.csv")
    world.send(csv_of((1, "second", 1)), "b.csv")
    assert [batch.file.name for batch in world.load_all()] == ["a.csv", "b.csv"]
    assert world.rows()["ward"].to_list() == ["second"]


def test_the_same_content_is_loaded_once(world: World) -> None:
    """The earlier batch is the answer, whatever the file is called."""
    first = world.send(csv_of((1, "a", 1)))
    waiting = world.send(csv_of((1, "a", 1)), "other.csv")
    world.load_all()
    loaded = world.send(csv_of((1, "a", 1)))
    assert (first.duplicate, waiting.duplicate, loaded.duplicate) == (False, True, True)
    assert waiting.batch.id == loaded.batch.id == first.batch.id
    assert loaded.batch.state is BatchState.COMMITTED
    assert world.load_all() == []


def test_a_file_is_taken_again_when_the_rules_have_changed(world: World) -> None:
    """Rows that were quarantined under a wrong contract come in by sending the file again; a new text changes nothing."""
    data = csv_of((1, "a", -1))
    world.send(data)
    (refused,) = world.load_all()
    assert refused.problem is not None
    assert refused.problem.reason == "NO_VALID_ROWS"
    world.send(csv_of((2, "a", 1), (3, "a", -1)), "both.csv")
    world.load_all()
    document = visits(description="says more")
    world.apply(document)
    assert world.send(csv_of((2, "a", 1), (3, "a", -1))).duplicate
    del document["columns"]["fee"]["min"]
    world.apply(document)
    assert not world.send(csv_of((2, "a", 1), (3, "a", -1))).duplicate
    world.load_all()
    assert list(keys(world.rows())) == [2, 3]


@pytest.mark.parametrize(
    ("data", "name", "reason", "line"),
    [
        (b"", "f.csv", "EMPTY_FILE", 1),
        (b"visit,at,ward,fee\n", "f.csv", "NO_ROWS", 1),
        (b"visit,ward\n1,a\n", "f.csv", "COLUMN_MISSING", 1),
        (csv_of(("x", "a", 1)), "f.csv", "NO_VALID_ROWS", 2),
        (csv_of((1, "a", 1)) + b'2,"', "f.csv", "QUOTE_UNTERMINATED", 3),
        (csv_of((1, "a", 1)), "f.csv.gz", "GZIP_CORRUPT", None),
        (gzip.compress(csv_of(*[(n, "a" * 100_000, 1) for n in range(20)])), "f.csv.gz", "TEXT_TOO_LARGE", None),
    ],
)
def test_a_refused_file_leaves_no_row_and_can_be_sent_again(
    world: World, data: bytes, name: str, reason: str, line: int | None
) -> None:
    """Nothing is committed, the reason names file and line, the raw file is kept."""
    receipt = world.send(data, name)
    (batch,) = world.load_all()
    assert batch.state is BatchState.REFUSED
    assert batch.problem is not None
    assert (batch.problem.reason, batch.problem.place.file, batch.problem.place.line) == (reason, name, line)
    assert world.batches.get(ACME, "visits", batch.id).problem == batch.problem
    assert world.datasets.table(ACME, "visits") is None
    with world.raw.open(ACME, "visits", receipt.batch.file.sha256) as stored:
        assert stored.read() == data
    assert not world.send(data, name).duplicate


def test_too_many_bad_rows_refuse_the_file_and_keep_the_quarantine(tmp_path: Path) -> None:
    """The declared share decides; the reasons can still be read."""
    world = World(tmp_path)
    world.apply(visits(maxBadRows=0.25))
    world.send(csv_of((1, "a", 1), (2, "a", 1), (3, "a", 1), ("x", "a", 1)), "quarter.csv")
    world.send(csv_of((4, "a", 1), (5, "a", 1), ("x", "a", 1)), "third.csv")
    quarter, third = world.load_all()
    assert (quarter.state, third.state) == (BatchState.COMMITTED, BatchState.REFUSED)
    assert third.problem is not None
    assert third.problem.reason == "TOO_MANY_BAD_ROWS"
    assert third.problem.message == "1 of the 3 rows of third.csv are not valid (NOT_INTEGER 1); maxBadRows allows 0.25"
    assert list(keys(world.rows())) == [1, 2, 3]
    assert world.read_quarantine.first(ACME, "visits", third.id, 10)[1] == 1


@pytest.mark.parametrize("point", ACCIDENTS)
@pytest.mark.parametrize("which", [0, 1])
def test_a_kill_at_any_point_loses_nothing_and_doubles_nothing(tmp_path: Path, point: str, which: int) -> None:
    """After an accident before or after any step, a restart (and a second sending where there was no answer) ends in
    exactly one commit of the file, one event, and the same counts."""
    world = World(tmp_path)
    world.apply()
    world.send(csv_of((1, "old", 1), (9, "old", 1)), "earlier.csv")
    world.load_all()
    data = csv_of((1, "new", 2), ("x", "a", 1), (2, "new", 2), (3, "b", -1), (4, "b", 1), (2, "newer", 3))
    world.accidents = {point: which}
    acknowledged = False
    try:
        world.send(data)
        acknowledged = True
        world.load_all()
    except Accident:
        pass
    world = world.reopen()
    world.load_all()
    if not acknowledged:
        world.send(data)
        world.load_all()
    found = [batch for batch in world.batches.list(ACME, "visits", 10) if batch.file.name == "visits.csv"]
    assert [batch.state for batch in found] == [BatchState.COMMITTED]
    counts = found[0].counts
    assert (counts.read, counts.committed, counts.superseded, counts.quarantined) == (6, 3, 1, 2)
    frame = world.rows().sort("visit")
    assert frame["visit"].to_list() == [1, 2, 4, 9]
    assert frame["ward"].to_list() == ["new", "newer", "b", "old"]
    assert found[0].table_version == 2
    assert world.lake.find(ACME, "visits", found[0].id) == world.datasets.table(ACME, "visits")
    assert len(world.read_quarantine.first(ACME, "visits", found[0].id, 10)[0]) == 2
    with world.database.engine.connect() as connection:
        events = connection.exec_driver_sql("select fields_json from outbox").all()
    assert sum(found[0].id in event[0] for event in events) == 1


def test_a_commit_that_was_followed_by_others_is_still_recognised(world: World) -> None:
    """A batch found again in the history gets the version it was committed as, not the newest one."""
    world.accidents = {"before SqlLoadQueue.commit": 0}
    world.send(csv_of((1, "a", 1)))
    with pytest.raises(Accident):
        world.load_all()
    batch = world.batches.list(ACME, "visits", 1)[0]
    rows = pl.read_delta(world.lake.uri(ACME, "visits")).with_columns(visit=pl.lit(7, pl.Int64))
    other = world.lake.upsert(ACME, world.datasets.get(ACME, "visits").spec, "another", 1, lambda: iter([rows]))
    found = world.lake.find(ACME, "visits", batch.id)
    assert found is not None
    assert (found.version, other.version, found.rows) == (1, 2, 1)


def test_new_nullable_columns_come_into_the_table(world: World) -> None:
    """Rows from before the change miss the value, also those of files that waited while it was made."""
    world.send(csv_of((1, "a", 1)))
    world.load_all()
    world.send(csv_of((2, "b", 1)), "waiting.csv")
    columns = visits()["columns"] | {"note": {"type": "string", "nullable": True}}
    world.apply(visits(columns=columns))
    world.send(b"visit,at,ward,fee,note\n3,2024-01-01 08:00,c,1,hello\n", "new.csv")
    assert [batch.state for batch in world.load_all()] == [BatchState.COMMITTED] * 2
    assert world.rows().sort("visit")["note"].to_list() == [None, None, "hello"]


files = st.lists(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 5), st.sampled_from(["x", ""])),
            st.sampled_from(["a", "b", ""]),
            st.sampled_from(["1", "2.50", "-1", "0.001", ""]),
        ),
        max_size=8,
    ),
    max_size=4,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files)
def test_the_table_is_what_replaying_all_good_rows_in_order_gives(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[tuple[object, str, str]]]
) -> None:
    """For any files, counts add up and the table equals a dictionary filled row by row."""
    world = World(tmp_path_factory.mktemp("ingest"))
    world.apply()
    expected: dict[object, tuple[str | None, Decimal | None]] = {}
    seen = set()
    for number, rows in enumerate(contents):
        data = csv_of(*rows)
        world.send(data, f"{number}.csv")
        if data not in seen:
            for visit, ward, fee in rows:
                if isinstance(visit, int) and fee in ("1", "2.50", ""):
                    expected[visit] = (ward or None, Decimal(fee) if fee else None)
        seen.add(data)
    for batch in world.load_all():
        counts = batch.counts
        assert counts.quarantined == sum(counts.reasons.values())
        if batch.state is BatchState.COMMITTED:
            assert counts.read == counts.committed + counts.superseded + counts.quarantined
        else:
            assert counts.committed == 0
    table = world.datasets.table(ACME, "visits")
    found = (
        {} if table is None else {row["visit"]: (row["ward"], row["fee"]) for row in world.rows().iter_rows(named=True)}
    )
    assert found == expected
    world.database.close()
