"""What was answered is on disk, and reaches the stream at least once, in batches with ids that do not change."""

from __future__ import annotations

import errno
import functools
import math
import os
import re
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from services.predictor.domain.logged import Logged, id_texts
from services.predictor.domain.model import Role, Source
from services.predictor.storage.leftovers import SUFFIX
from services.predictor.storage.place import Place, PlaceFile
from services.predictor.storage.records import MOST_ROWS
from services.predictor.storage.shipping import Shipper
from services.predictor.storage.spool import Spool
from services.predictor.storage.stream import StreamFull
from tenon.core.tenancy import TenantId
from tenon.kit.prediction_batches import unpack_batch


@functools.cache
def source_of(version: int, role: Role) -> Source:
    """What rows of a version have in common."""
    return Source(TenantId("acme"), "stay", version, role, "rest", ("age",), ("ward",))


def logged(first: int, rows: int = 1, *, version: int = 1, role: Role = Role.STABLE) -> Logged:
    """Rows with ids that count from `first`."""
    return Logged(
        source_of(version, role), f"r{first}", b"".join(raw(first + row) for row in range(rows)), 1_000_000, [5] * rows,
        np.arange(rows, dtype=np.float64), np.array([np.nan, *range(rows - 1)], np.float64), [[None, *(["é"] * (rows - 1))]],
    )  # fmt: skip


def raw(number: int) -> bytes:
    """An id that says its number."""
    return number.to_bytes(16, "big")


class FakeStream:
    """Takes batches, unless it is down or full; can also fail after it has taken them."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []
        self.down = False
        self.full = False
        self.lose_answers = False

    def send(self, entries: Sequence[Mapping[str, bytes]]) -> None:
        """See `Stream`."""
        if self.down:
            raise redis.ConnectionError("down")
        if self.full:
            raise StreamFull("full")
        for entry in entries:
            found = unpack_batch({name.encode(): value for name, value in entry.items()})
            found["columns"] = {name: plain(values) for name, values in found["columns"].items()}
            self.batches.append({name: plain(value) for name, value in found.items()})
        if self.lose_answers:
            raise redis.TimeoutError("no answer")

    def ids(self) -> list[str]:
        """Every prediction id that arrived, each batch once."""
        known = {batch["batch_id"]: batch for batch in self.batches}
        return [text for batch in known.values() for text in batch["prediction_id"]]


def plain(value: Any) -> Any:
    """Arrays as lists, NaN as None."""
    if not isinstance(value, np.ndarray):
        return value
    return [None if isinstance(item, float) and math.isnan(item) else item for item in value.tolist()]


def spool_in(folder: Path, **more: Any) -> Spool:
    """A spool."""
    return Spool(folder, "replica-1", **({"max_bytes": 10 << 20} | more))


def ship_all(shipper: Shipper) -> None:
    """Ship until nothing is left."""
    while shipper.step():
        pass


def shipper_for(spool: Spool, target: FakeStream) -> Shipper:
    """A shipper to a fake."""
    return Shipper(spool, target)


def ids(count: int, start: int = 0) -> list[str]:
    """Expected ids."""
    return id_texts(b"".join(raw(number) for number in range(start, start + count)))


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


def test_segments_are_removed_when_they_are_shipped(tmp_path: Path) -> None:
    """Only the one that is being written stays, and the one that lies ready."""
    spool, target = spool_in(tmp_path, segment_bytes=4096), FakeStream()
    for number in range(200):
        spool.append([logged(number)])
    spool.sync()
    assert len(spool.numbers()) > 3
    assert spool.waiting_bytes > 3 * 4000
    shipper = shipper_for(spool, target)
    ship_all(shipper)
    assert target.ids() == ids(200)
    assert len(spool.numbers()) == 1
    assert spool.waiting_bytes == 0
    rows, place, *spares = sorted(path.name for path in tmp_path.glob("*"))
    assert (rows, place) == (f"{spool.numbers()[0]:012d}{SUFFIX}", "shipped.place")
    assert len(spares) <= 2
    assert all(name.startswith("spare-") for name in spares)
    spool.append([logged(200)])
    spool.close()
    (left,) = tmp_path.glob(f"*{SUFFIX}")
    assert left.stat().st_size < 4096, "what was reserved and not used is given back"


def one_row(spool: Spool, source: Source, number: int, request_id: str = "r") -> None:
    """A row the quick way: its number as its only value and score."""
    spool.append_row(source, request_id, raw(number), 1_000_000 + number, 7, float(number), [float(number)])


def test_rows_of_numbers_and_others_share_the_log(tmp_path: Path) -> None:
    """Several versions in turns, single rows and many, request ids short, long and strange: each arrives as it was."""
    spool, target = spool_in(tmp_path, segment_bytes=8192), FakeStream()
    sources = [Source(TenantId("acme"), "stay", version, Role.STABLE, "grpc", ("x",)) for version in (1, 2)]
    names = ["r", "", "é" * 20, "f" * 256, "00112233445566aa"]
    for number in range(300):
        if number % 10 == 9:
            spool.append([logged(number)])
        else:
            one_row(spool, sources[number % 3 % 2], number, names[number % 5])
    ship_all(shipper_for(spool, target))
    assert sorted(target.ids()) == ids(300)
    for batch in target.batches:
        for place, text in enumerate(batch["prediction_id"]):
            number = int(text.replace("-", ""), 16)
            if number % 10 != 9:
                assert batch["version"] == (1, 2)[number % 3 % 2]
                assert batch["request_id"][place] == names[number % 5]
                assert (batch["score"][place], batch["columns"]["x"][place]) == (number, number)
                assert (batch["at"][place], batch["event_time"][place]) == (1_000_000 + number, 7)


def test_a_full_log_goes_through_memory_and_only_then_is_dropped_loudly(tmp_path: Path) -> None:
    """Disk and memory are bounded; what fits into neither is counted; logging resumes when rows have left."""
    dropped: list[int] = []
    spool, target = (
        spool_in(tmp_path, max_bytes=40_000, memory_bytes=20_000, on_dropped=dropped.append),
        FakeStream(),
    )
    count = 0
    while not spool.memory_bytes:
        spool.append([logged(2 * count, 2)])
        count += 1
    assert dropped == []
    assert sum(path.stat().st_size for path in tmp_path.glob(f"*{SUFFIX}")) <= 40_000
    while not dropped:
        spool.append([logged(2 * count, 2)])
        count += 1
    assert dropped == [2]
    ship_all(shipper_for(spool, target))
    assert target.ids() == ids(2 * count - 2)
    spool.append([logged(100_000)])
    spool.sync()
    spool.append([logged(100_001)])
    ship_all(shipper_for(spool, target))
    assert target.ids()[-2:] == ids(2, 100_000)
    assert spool.memory_bytes == 0, "there is a disk again"


class NoDisk:
    """A file system that has no space left, and later has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        reserve = os.posix_fallocate

        def fallocate(fd: int, start: int, size: int) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            reserve(fd, start, size)

        monkeypatch.setattr(os, "posix_fallocate", fallocate)


@pytest.mark.parametrize("mapped", [True, False])
def test_without_a_disk_rows_reach_the_stream_through_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    """Also from the start; nothing stays behind on the disk, and it is used again when it can be."""
    disk, target = NoDisk(monkeypatch), FakeStream()
    dropped: list[int] = []
    spool = spool_in(tmp_path, mapped=mapped, on_dropped=dropped.append)
    shipper = shipper_for(spool, target)
    for number in range(20):
        spool.append([logged(number)])
    assert spool.memory_bytes > 0
    assert list(tmp_path.glob(f"*{SUFFIX}")) == []
    ship_all(shipper)
    assert target.ids() == ids(20)
    assert spool.memory_bytes == 0
    disk.full = False
    spool.append([logged(20)])
    spool.sync()
    spool.append([logged(21)])
    assert len(list(tmp_path.glob(f"*{SUFFIX}"))) == 1
    ship_all(shipper)
    assert (target.ids(), dropped) == (ids(22), [])


def test_a_file_that_takes_only_a_piece_is_left_and_the_row_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that promises no space the disk may fill up under a segment; no row is lost by that."""
    spool, target = spool_in(tmp_path, mapped=False), FakeStream()
    spool.append([logged(0)])
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, place: write(fd, data[:-3], place) if len(data) > 80 else 0)
    source = Source(TenantId("acme"), "stay", 1, Role.STABLE, "rest", ("x",))
    one_row(spool, source, 1)
    spool.append([logged(2)])
    monkeypatch.undo()
    ship_all(shipper_for(spool, target))
    assert target.ids() == ids(3)


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


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("cut", [1, 5, 9, 40])
def test_a_record_cut_short_by_a_crash_is_skipped(tmp_path: Path, cut: int, mapped: bool) -> None:
    """Everything before it and after the restart arrives."""
    spool = spool_in(tmp_path, mapped=mapped)
    spool.append([logged(0)])
    spool.append([logged(1)])
    number = spool.numbers()[-1]
    end = spool.end(number)
    with spool.path(number).open("r+b") as file:
        file.seek(end - cut)
        file.write(bytes(cut - 1) + b"\1")
    again, target = spool_in(tmp_path), FakeStream()
    again.append([logged(2)])
    ship_all(shipper_for(again, target))
    assert target.ids() == [*ids(1), *ids(1, 2)]


def test_a_segment_is_found_complete_after_a_kill(tmp_path: Path) -> None:
    """Without a word at the end: what was reserved and never written is no damage, and numbers go on."""
    spool = spool_in(tmp_path)
    spool.append([logged(0)])
    spool.sync()
    again = spool_in(tmp_path)
    assert not list(tmp_path.glob("spare*"))
    assert again.numbers() == [1, 2]
    assert again.waiting_bytes == spool.waiting_bytes
    assert spool.path(1).stat().st_size == spool.waiting_bytes


def test_a_file_that_is_used_again_shows_nothing_of_what_was_in_it(tmp_path: Path) -> None:
    """Neither to the shipper nor, after a kill, to the next process; and files are used again."""
    spool, target = spool_in(tmp_path, segment_bytes=4096), FakeStream()
    shipper, source = shipper_for(spool, target), Source(TenantId("acme"), "stay", 1, Role.STABLE, "rest", ("x",))
    files = set()
    for number in range(500):
        one_row(spool, source, number)
        files |= {path.stat().st_ino for path in tmp_path.glob(f"*{SUFFIX}")}
        if number % 10 == 0:
            ship_all(shipper)
            spool.sync()
    assert len(files) <= 4
    ship_all(shipper)
    one_row(spool, source, 500)
    assert target.ids() == ids(500)
    # Killed here; records of earlier segments lie behind the last one.
    again = spool_in(tmp_path, segment_bytes=4096)
    one_row(again, source, 501)
    ship_all(shipper_for(again, target))
    assert target.ids() == ids(502)


def test_only_what_waits_is_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What left within the time between two calls needs no disk; what did not, is synced once."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    spool, target = spool_in(tmp_path), FakeStream()
    shipper = shipper_for(spool, target)
    for number in range(3):
        spool.append([logged(number)])
        spool.sync()
        ship_all(shipper)
    spool.sync()
    assert synced == []
    spool.append([logged(3)])
    spool.sync()
    spool.append([logged(4)])
    for _ in range(4):
        spool.sync()
    assert len(synced) == 1


def test_the_new_name_of_a_file_that_is_used_again_is_brought_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the machine's end could leave its rows under the name of a spare, which the next process deletes."""
    folders: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: folders.append(fd) if stat.S_ISDIR(os.fstat(fd).st_mode) else fsync(fd))
    spool, target = spool_in(tmp_path, segment_bytes=4096), FakeStream()
    shipper, seen = shipper_for(spool, target), spool.numbers()[-1]
    for number in range(200):
        spool.append([logged(number)])
        if number % 3:
            continue
        spool.sync()
        spool.sync()
        if spool.numbers()[-1] != seen:
            assert folders.pop(), "a segment was synced under a name that the disk may not know"
            seen = spool.numbers()[-1]
        ship_all(shipper)


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


def test_segments_of_a_former_format_are_refused_aloud_and_kept(tmp_path: Path, capsys: Any) -> None:
    """Whoever can read them still can."""
    former = [tmp_path / "000000000001.spool", tmp_path / "000000000001.rows"]
    for path in former:
        path.write_bytes(b"former")
    (tmp_path / "spare").write_bytes(bytes(9))
    spool, target = spool_in(tmp_path), FakeStream()
    spool.append([logged(0)])
    ship_all(shipper_for(spool, target))
    assert target.ids() == ids(1)
    assert [path.read_bytes() for path in former] == [b"former", b"former"]
    assert not (tmp_path / "spare").exists()
    assert "former format" in capsys.readouterr().out


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


def test_many_threads_append_while_segments_change(tmp_path: Path) -> None:
    """Every row arrives once."""
    spool, target = spool_in(tmp_path, segment_bytes=8192), FakeStream()
    source = Source(TenantId("acme"), "stay", 1, Role.STABLE, "grpc", ("x",))

    def work(first: int) -> None:
        for number in range(first, first + 400):
            if number % 7:
                one_row(spool, source, number)
            else:
                spool.append([logged(number)])
            if number % 100 == 0:
                spool.sync()

    threads = [threading.Thread(target=work, args=(400 * place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ship_all(shipper_for(spool, target))
    assert sorted(target.ids()) == ids(1600)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says which pages of a file are resident")
def test_a_backlog_is_not_held_in_memory(tmp_path: Path) -> None:
    """Of forty segments that wait for the stream few are resident; all of them arrive."""
    spool = Spool(tmp_path, "me", max_bytes=64 << 20, segment_bytes=64 << 10, mapped=True)
    stream = FakeStream()
    shipper = Shipper(spool, stream)
    first = 0
    while len(spool.numbers()) < 40:
        spool.append([logged(first, 200)])
        first += 200
    assert spool.waiting_bytes > 39 * (50 << 10)
    assert resident_bytes(tmp_path) < 8 * (64 << 10)
    while shipper.step():
        pass
    assert stream.ids() == ids(first)
    spool.close()


def resident_bytes(folder: Path) -> int:
    """How much of the files in a folder this process has in memory."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            counts = str(folder) in line
        elif counts and line.startswith("Rss:"):
            total += int(line.split()[1]) << 10
    return total
