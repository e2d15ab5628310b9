"""Redis answers before it keeps what it was given: what it may have lost is sent again, under the same ids."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.storage.place import Place, PlaceFile, Sent
from services.predictor.storage.shipping import Shipper
from services.predictor.storage.spool import Spool
from tests.support.predictor_spool import FakeStream, ids, logged, ship_all, spool_in


class World:
    """A spool, its shipper and a Redis; both may end at any instant."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder, self._more = folder, more
        self.seconds, self.stream = 0.0, FakeStream()
        self._runs = 0
        self.start()

    def start(self) -> None:
        """A fresh process on the folder that there is."""
        self.spool: Spool = spool_in(self.folder, **self._more)
        self.shipper = Shipper(self.spool, self.stream, clock=lambda: self.seconds)

    def turn(self) -> None:
        """What the shipper's thread does in one round."""
        self.seconds += 1
        self.shipper.settle()
        ship_all(self.shipper)

    def lose(self, batches: int) -> None:
        """Redis ends and comes back without its last batches."""
        self._runs += 1
        self.stream.name = f"run {self._runs}"
        del self.stream.batches[len(self.stream.batches) - batches :]


def test_what_a_redis_lost_is_sent_again_from_all_segments(tmp_path: Path) -> None:
    """Its last seconds are there again when it is, with the rows that came meanwhile; nothing has two ids."""
    world = World(tmp_path, segment_bytes=4096)
    for number in range(150):
        world.spool.append([logged(number)])
        ship_all(world.shipper)
    before = {batch["batch_id"] for batch in world.stream.batches}
    assert len(world.spool.numbers()) > 3
    world.turn()
    world.lose(120)
    world.spool.append([logged(150)])
    world.turn()
    assert sorted(world.stream.ids()) == ids(151)
    assert len({batch["batch_id"] for batch in world.stream.batches} - before) == 1


def test_what_the_same_redis_has_for_long_enough_is_let_go(tmp_path: Path) -> None:
    """The segments are deleted, and a Redis that is another one later is not given them again."""
    world = World(tmp_path, segment_bytes=4096)
    for number in range(150):
        world.spool.append([logged(number)])
    for _ in range(14):
        world.turn()
    assert len(world.spool.numbers()) == 1
    sent = len(world.stream.batches)
    world.lose(0)
    world.turn()
    assert len(world.stream.batches) == sent


def test_a_backlog_leaves_the_disk_while_it_is_sent(tmp_path: Path) -> None:
    """What waited for an outage to end need not lie there until all of it has been sent."""
    spool, seconds = spool_in(tmp_path, segment_bytes=4096), itertools.count()
    left: list[int] = []

    class Watched(FakeStream):
        def send(self, entries: Sequence[Mapping[str, bytes]]) -> None:
            super().send(entries)
            left.append(len(spool.numbers()))

    for number in range(1500):
        spool.append([logged(number)])
    stream = Watched()
    shipper = Shipper(spool, stream, pause_seconds=30, clock=lambda: float(next(seconds)))
    shipper.start()
    until = time.monotonic() + 60
    while len(stream.ids()) < 1500 and time.monotonic() < until:
        time.sleep(0.01)
    shipper.stop()
    assert stream.ids() == ids(1500)
    assert left[0] > 30
    assert left[-1] < 15


def test_time_without_redis_lets_nothing_go(tmp_path: Path) -> None:
    """Only a Redis that answers, and is the same one, can say that it kept what it was given."""
    world = World(tmp_path)
    world.spool.append([logged(0)])
    world.turn()
    world.turn()
    world.stream.down = True
    for _ in range(60):
        with pytest.raises(redis.ConnectionError):
            world.turn()
    world.stream.down = False
    world.lose(len(world.stream.batches))
    world.turn()
    assert world.stream.ids() == ids(1)


def test_a_process_that_was_killed_together_with_redis_sends_its_last_seconds_again(tmp_path: Path) -> None:
    """What was sent in them stands beside the place, by the clock of the one that sent it."""
    world = World(tmp_path, segment_bytes=4096)
    for number in range(150):
        world.spool.append([logged(number)])
        ship_all(world.shipper)
    before = {batch["batch_id"] for batch in world.stream.batches}
    world.lose(130)
    world.start()
    world.turn()
    assert sorted(world.stream.ids()) == ids(150)
    assert {batch["batch_id"] for batch in world.stream.batches} == before


@settings(max_examples=40)
@given(
    steps=st.lists(
        st.sampled_from(["row", "rows", "turn", "ship", "redis", "process", "both", "outage"]), min_size=1, max_size=40
    ),
    lost=st.integers(0, 9),
)
def test_whatever_ends_when_every_row_arrives_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], lost: int
) -> None:
    """In any order of rows, rounds and ends of both; a batch that comes again is the same one."""
    folder = tmp_path_factory.mktemp("spool")
    world, count = World(folder, segment_bytes=4096), 0
    known: dict[str, Any] = {}

    def remember() -> None:
        for batch in world.stream.batches:
            assert known.setdefault(batch["batch_id"], batch) == batch

    for step in steps:
        if step in ("row", "rows"):
            rows = 1 if step == "row" else 30
            world.spool.append([logged(count, rows)])
            count += rows
        elif step == "turn":
            world.turn()
        elif step == "ship":
            world.shipper.step()
        elif step == "outage":
            world.stream.lose_answers = True
            world.spool.append([logged(count)])
            count += 1
            with contextlib.suppress(redis.TimeoutError):
                world.shipper.step()
            world.stream.lose_answers = False
        remember()
        if step in ("redis", "both"):
            # No more than it was given in its last seconds: of these steps, all.
            world.lose(min(lost, len(world.stream.batches)) if world.seconds < 9 else 0)
        if step in ("process", "both"):
            world.start()
    world.turn()
    world.turn()
    remember()
    assert sorted(world.stream.ids()) == ids(count)
    shutil.rmtree(folder)


def test_the_ranges_that_were_sent_last_stand_behind_the_place(tmp_path: Path) -> None:
    """Without the one that is being sent and without those of a damaged line; a file of before has none."""
    path = tmp_path / "place"
    file = PlaceFile(path)
    for start in range(0, 50, 10):
        file.save(Place(3, start, start + 10))
    assert PlaceFile(path).load() == Place(3, 40, 50)
    assert PlaceFile(path).sent(10) == [Sent(3, start, start + 10) for start in range(0, 40, 10)]
    data = bytearray(path.read_bytes())
    data[80 + 2 * 48 + 3] ^= 1
    path.write_bytes(data)
    assert [sent.start for sent in PlaceFile(path).sent(10)] == [0, 20, 30]
    path.write_bytes(data[:80])
    assert PlaceFile(path).load() == Place(3, 40, 50)
    assert PlaceFile(path).sent(10) == []
