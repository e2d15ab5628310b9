"""What was answered reaches the stream at least once, in batches with ids that do not change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from services.predictor.domain.model import Role, Source
from services.predictor.storage.place import Place, PlaceFile
from services.predictor.storage.records import MOST_ROWS
from services.predictor.storage.shipping import Shipper
from tenon.core.tenancy import TenantId
from tests.support.predictor_spool import (
    FakeStream,
    ids,
    logged,
    raw,
    ship_all,
    shipper_for,
    spool_in,
)


def test_rows_reach_the_stream_in_order_and_column_wise(tmp_path: Path) -> None:
    """Missing values are null; version, role and protocol stand once for the batch."""
    spool, target = spool_in(tmp_path), FakeStream()
    spool.append([logged(0, 2)])
    spool.append([logged(2, 1, version=2, role=Role.CANARY)])
    spool.append([logged(3, 2)])
    ship_all(shipper_for(spool, target))
    stable, canary = sorted(target.batches, key=lambda batch: int(batch["version"]))
    assert stable["prediction_id"] == [*ids(2), *ids(2, 3)]
    assert stable["request_id"] == ["r0", "r0", "r3", "r3"]
    assert stable["columns"] == {"age": [None, 0.0, None, 0.0], "ward": [None, "é", None, "é"]}
    assert stable["score"] == [0.0, 1.0, 0.0, 1.0]
    assert (canary["role"], canary["version"], canary["tenant"], canary["model"], canary["protocol"], canary["replica"]) == (
        "canary", 2, "acme", "stay", "rest", "replica-1",
    )  # fmt: skip
    assert set(stable) == {
        "batch_id", "replica", "tenant", "model", "version", "role", "protocol", "prediction_id", "request_id", "at",
        "event_time", "score", "columns", "level",
    }  # fmt: skip


def test_what_waits_goes_on_after_an_outage_and_a_restart(tmp_path: Path) -> None:
    """Nothing is lost and nothing is sent twice under different ids."""
    target = FakeStream()
    spool = spool_in(tmp_path)
    shipper = shipper_for(spool, target)
    spool.append([logged(0, 3)])
    ship_all(shipper)
    target.down = True
    spool.append([logged(3, 3)])
    with pytest.raises(redis.ConnectionError):
        shipper.step()
    # The process ends without a word; another one goes on.
    again = spool_in(tmp_path)
    again.append([logged(6, 3)])
    target.down = False
    ship_all(shipper_for(again, target))
    assert target.ids() == ids(9)
    assert len(target.batches) == len({batch["batch_id"] for batch in target.batches})


def test_a_batch_that_may_have_arrived_is_sent_again_with_the_same_id_and_rows(tmp_path: Path) -> None:
    """Also when more rows have come meanwhile: they travel in batches of their own."""
    target = FakeStream()
    spool = spool_in(tmp_path)
    spool.append([logged(0, 2)])
    target.lose_answers = True
    with pytest.raises(redis.TimeoutError):
        shipper_for(spool, target).step()
    spool.append([logged(2, 2)])
    target.lose_answers = False
    ship_all(shipper_for(spool, target))
    first, second, third = target.batches
    assert first == second
    assert target.ids() == ids(4)
    assert third["prediction_id"] == ids(2, 2)


def test_a_kill_right_after_sending_repeats_only_the_last_range_with_the_same_ids(tmp_path: Path) -> None:
    """That a range arrived is written down with the next one, or when nothing waits: the reader drops what comes twice."""
    target = FakeStream()
    spool = spool_in(tmp_path)
    shipper = shipper_for(spool, target)
    for number in range(3):
        spool.append([logged(number)])
        assert shipper.step()
    assert target.ids() == ids(3)
    # Killed here; more rows come before the next process looks.
    spool.append([logged(3)])
    again = shipper_for(spool, target)
    ship_all(again)
    assert [batch["prediction_id"] for batch in target.batches] == [ids(1), ids(1, 1), ids(1, 2), ids(1, 2), ids(1, 3)]
    assert target.batches[2] == target.batches[3]
    assert target.ids() == ids(4)
    # It found nothing more, and that is on disk as well.
    ship_all(shipper_for(spool, target))
    assert len(target.batches) == 5


def test_a_shipper_on_its_thread_ships_all_and_ends(tmp_path: Path) -> None:
    """What comes while it runs travels in few ranges; what is there when it is stopped is shipped first."""
    target = FakeStream()
    spool = spool_in(tmp_path)
    shipper = Shipper(spool, target, pause_seconds=30)
    spool.append([logged(0)])
    shipper.start()
    deadline = time.monotonic() + 10
    while not target.batches and time.monotonic() < deadline:
        time.sleep(0.005)
    for number in range(1, 50):
        spool.append([logged(number)])
    shipper.stop()
    assert target.ids() == ids(50)
    assert len(target.batches) <= 3


def test_while_the_stream_is_full_nothing_leaves_and_nothing_is_lost(tmp_path: Path) -> None:
    """It is told, and untold."""
    spool, target = spool_in(tmp_path), FakeStream()
    told: list[bool] = []
    target.full = True
    shipper = Shipper(spool, target, pause_seconds=0.01, on_full=told.append)
    spool.append([logged(0)])
    shipper.start()
    until = time.monotonic() + 10
    while not told and time.monotonic() < until:
        time.sleep(0.005)
    assert told[0] is True
    assert spool.waiting_bytes > 0
    target.full = False
    while told[-1] is not False and time.monotonic() < until:
        time.sleep(0.005)
    shipper.stop()
    assert target.ids() == ids(1)


def test_a_restart_within_a_segment_knows_what_its_rows_are(tmp_path: Path) -> None:
    """What rows have in common stands once, before the place from which it goes on."""
    spool, target = spool_in(tmp_path), FakeStream()
    spool.append([logged(0)])
    ship_all(shipper_for(spool, target))
    spool.append([logged(1)])
    ship_all(shipper_for(spool_in(tmp_path), target))
    assert target.ids() == ids(2)
    assert [batch["model"] for batch in target.batches] == ["stay", "stay"]


def test_an_unreadable_place_sends_everything_again(tmp_path: Path) -> None:
    """At least once, never less."""
    spool, target = spool_in(tmp_path), FakeStream()
    spool.append([logged(0, 2)])
    ship_all(shipper_for(spool, target))
    (tmp_path / "shipped.place").write_text("{" * 100)
    ship_all(shipper_for(spool, target))
    assert target.ids() == ids(2)


def test_the_place_survives_a_line_that_was_cut_short(tmp_path: Path) -> None:
    """The line before counts then."""
    file = PlaceFile(tmp_path / "place")
    assert file.load() == Place()
    file.save(Place(3, 10, 20))
    file.save(Place(3, 20, None))
    assert PlaceFile(tmp_path / "place").load() == Place(3, 20, None)
    file.save(Place(4, 0, 5))
    data = bytearray((tmp_path / "place").read_bytes())
    data[45] ^= 1
    (tmp_path / "place").write_bytes(data)
    assert PlaceFile(tmp_path / "place").load() == Place(3, 20, None)


@pytest.mark.parametrize("sizes", [[MOST_ROWS + 7], [600, 600], [1] * 2200, [2 * MOST_ROWS]])
def test_batches_are_bounded(tmp_path: Path, sizes: Sequence[int]) -> None:
    """At most 1,000 rows each, in order, none lost."""
    spool, start = spool_in(tmp_path), 0
    for size in sizes:
        spool.append([logged(start, size)])
        start += size
    target = FakeStream()
    ship_all(shipper_for(spool, target))
    assert max(len(batch["prediction_id"]) for batch in target.batches) <= MOST_ROWS
    assert target.ids() == ids(start)


def test_rows_larger_than_a_chunk_and_than_a_segment_are_shipped(tmp_path: Path) -> None:
    """Megabytes in one answer, and in one row."""
    spool, target = spool_in(tmp_path, max_bytes=100 << 20, segment_bytes=1 << 20), FakeStream()
    spool.append([logged(0, 40_000)])
    wide = tuple(f"x{place}" for place in range(150_000))
    source = Source(TenantId("acme"), "stay", 1, Role.STABLE, "rest", wide)
    spool.append_row(source, "r", raw(40_000), 1, 1, 0.5, [0.25] * len(wide))
    spool.append([logged(40_001)])
    ship_all(shipper_for(spool, target))
    assert target.ids() == ids(40_002)
