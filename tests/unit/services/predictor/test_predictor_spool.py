"""What was answered is on disk, and reaches the stream at least once, in batches with ids that do not change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import redis

from services.predictor.domain.logged import Logged, id_texts
from services.predictor.domain.model import Role, Source
from services.predictor.storage.shipping import MAX_ROWS, STREAM, Shipper, batches
from services.predictor.storage.spool import Spool, frame, records
from tenon.core.tenancy import TenantId


def logged(first: int, rows: int = 1, *, version: int = 1, role: Role = Role.STABLE) -> Logged:
    """Rows with ids that count from `first`."""
    source = Source(TenantId("acme"), "stay", version, role, "rest", ("age",), ("ward",))
    return Logged(
        source, f"r{first}", b"".join(raw(first + row) for row in range(rows)), 1_000_000, [5] * rows,
        np.arange(rows, dtype=np.float64), np.array([np.nan, *range(rows - 1)], np.float64), [[None, *(["é"] * (rows - 1))]],
    )  # fmt: skip


def raw(number: int) -> bytes:
    """An id that says its number."""
    return number.to_bytes(16, "big")


class FakeRedis:
    """Takes batches, unless it is down; can also fail after it has taken them."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []
        self.down = False
        self.lose_answers = False

    def pipeline(self, transaction: bool = True) -> FakePipeline:
        """A pipeline."""
        return FakePipeline(self)

    def ids(self) -> list[str]:
        """Every prediction id that arrived, each batch once."""
        known = {batch["batch_id"]: batch for batch in self.batches}
        return [text for batch in known.values() for text in batch["prediction_id"]]


class FakePipeline:
    """Collects, then sends."""

    def __init__(self, target: FakeRedis) -> None:
        self._target = target
        self._waiting: list[Any] = []

    def __enter__(self) -> FakePipeline:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def xadd(self, stream: str, fields: dict[str, bytes], **_: Any) -> None:
        """Collect."""
        assert stream == STREAM
        self._waiting.append(orjson.loads(fields["batch"]))

    def execute(self) -> None:
        """Send."""
        if self._target.down:
            raise redis.ConnectionError("down")
        self._target.batches += self._waiting
        if self._target.lose_answers:
            raise redis.TimeoutError("no answer")


def spool_in(folder: Path, **more: Any) -> Spool:
    """A spool."""
    return Spool(folder, "replica-1", **({"max_bytes": 10 << 20} | more))


def ship_all(shipper: Shipper) -> None:
    """Ship until nothing is left."""
    while shipper.step():
        pass


def shipper_for(spool: Spool, target: FakeRedis) -> Shipper:
    """A shipper to a fake."""
    return Shipper(spool, target)  # type: ignore[arg-type]


def ids(count: int, start: int = 0) -> list[str]:
    """Expected ids."""
    return id_texts(b"".join(raw(number) for number in range(start, start + count)))


def test_rows_reach_the_stream_in_order_and_column_wise(tmp_path: Path) -> None:
    """Missing values are null; version, role and protocol stand once for the batch."""
    spool, target = spool_in(tmp_path), FakeRedis()
    spool.append([logged(0, 2)])
    spool.append([logged(2, 1, version=2, role=Role.CANARY)])
    spool.append([logged(3, 2)])
    ship_all(shipper_for(spool, target))
    stable, canary = sorted(target.batches, key=lambda batch: batch["version"])
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
    target = FakeRedis()
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
    target = FakeRedis()
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
    target = FakeRedis()
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
    target = FakeRedis()
    spool = spool_in(tmp_path)
    shipper = Shipper(spool, target, pause_seconds=30)  # type: ignore[arg-type]
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


def test_segments_are_removed_when_they_are_shipped(tmp_path: Path) -> None:
    """Only the one that is being written stays."""
    spool, target = spool_in(tmp_path, segment_bytes=400), FakeRedis()
    for number in range(20):
        spool.append([logged(number)])
    assert len(spool.segments()) > 3
    shipper = shipper_for(spool, target)
    ship_all(shipper)
    assert target.ids() == ids(20)
    assert len(spool.segments()) == 1
    assert spool.size == spool.path(spool.segments()[0]).stat().st_size


def test_at_the_cap_answers_are_dropped_loudly_and_logging_resumes(tmp_path: Path) -> None:
    """The disk is bounded; what could not be logged is counted."""
    dropped: list[int] = []
    spool, target = spool_in(tmp_path, max_bytes=2000, segment_bytes=500, on_dropped=dropped.append), FakeRedis()
    for number in range(30):
        spool.append([logged(number, 2)])
    assert spool.size <= 2000
    assert sum(dropped) > 0
    kept = 60 - sum(dropped)
    ship_all(shipper_for(spool, target))
    assert len(target.ids()) == kept
    spool.append([logged(1000)])
    ship_all(shipper_for(spool, target))
    assert target.ids()[-1] == ids(1, 1000)[0]


@pytest.mark.parametrize("cut", [1, 5, 9, 40])
def test_a_record_cut_short_by_a_crash_is_skipped(tmp_path: Path, cut: int) -> None:
    """Everything before it and after the restart arrives."""
    spool = spool_in(tmp_path)
    spool.append([logged(0)])
    spool.append([logged(1)])
    path = spool.path(spool.end()[0])
    path.write_bytes(path.read_bytes()[:-cut])
    again, target = spool_in(tmp_path), FakeRedis()
    again.append([logged(2)])
    ship_all(shipper_for(again, target))
    assert target.ids() == [*ids(1), *ids(1, 2)]


def test_an_unreadable_place_sends_everything_again(tmp_path: Path) -> None:
    """At least once, never less."""
    spool, target = spool_in(tmp_path), FakeRedis()
    spool.append([logged(0, 2)])
    ship_all(shipper_for(spool, target))
    (tmp_path / "shipped.json").write_text("{")
    ship_all(shipper_for(spool, target))
    assert target.ids() == ids(2)


@pytest.mark.parametrize("sizes", [[MAX_ROWS + 7], [300, 300], [1] * 1200, [2 * MAX_ROWS]])
def test_batches_are_bounded(tmp_path: Path, sizes: Sequence[int]) -> None:
    """At most 500 rows each, in order, none lost."""
    spool, start = spool_in(tmp_path), 0
    for size in sizes:
        spool.append([logged(start, size)])
        start += size
    target = FakeRedis()
    ship_all(shipper_for(spool, target))
    assert max(len(batch["prediction_id"]) for batch in target.batches) <= MAX_ROWS
    assert target.ids() == ids(start)


def test_a_record_larger_than_a_chunk_is_shipped(tmp_path: Path) -> None:
    """A megabyte and more in one answer."""
    spool, target = spool_in(tmp_path, max_bytes=100 << 20), FakeRedis()
    spool.append([logged(0, 40_000)])
    assert spool.size > 1 << 20
    ship_all(shipper_for(spool, target))
    assert len(target.ids()) == 40_000


def test_damage_inside_a_record_is_noticed() -> None:
    """By its checksum."""
    data = frame(b'{"a":1}') + frame(b'{"a":2}')
    assert [record for _, record in records(data)] == [{"a": 1}, {"a": 2}]
    damaged = data.replace(b'"a":2', b'"a":3')
    assert [record for _, record in records(damaged)] == [{"a": 1}]


def test_records_of_different_columns_are_not_joined() -> None:
    """Two versions of a model may have other inputs."""
    base = {"replica": "r", "tenant": "a", "model": "m", "version": 1, "role": "stable", "protocol": "rest"}
    rows = {"prediction_id": ["x"], "request_id": "q", "at": 1, "event_time": [1], "score": [0.5]}
    found = list(batches([base | rows | {"columns": {"a": [1]}}, base | rows | {"columns": {"b": [1]}}]))
    assert [list(batch["columns"]) for batch in found] == [["a"], ["b"]]
