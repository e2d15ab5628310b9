"""What was answered is on disk, whatever the disk does."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from services.predictor.domain.model import Role, Source
from services.predictor.storage.leftovers import SUFFIX
from services.predictor.storage.shipping import Shipper
from services.predictor.storage.spool import Spool
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
