"""Programs that take, archive and label at once, killed (SIGKILL) at random instants; and whether everything is there once.

Shared by the integration test (some kills) and by `make bench-monitor-kills` (many).
"""

from __future__ import annotations

import itertools
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import redis
from deltalake import DeltaTable, QueryBuilder

from services.monitor.domain.kept.prediction_ids import PredictionIds
from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.model import Window
from services.monitor.storage.labels.by_prediction import SqlLabels
from services.monitor.storage.log.answered import SqlAnswered
from services.monitor.storage.log.archiving import Archiving
from services.monitor.storage.log.read import SqlPredictionLog
from services.monitor.storage.models import ModelIds
from services.monitor.storage.segments.archive import Archive
from services.monitor.storage.windows.serve import SqlWindows
from services.monitor.worker import GROUP
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tenon.kit.events import PREDICTIONS
from tenon.kit.prediction_batches import row_dtype
from tenon.kit.sql import open_database
from tests.support.monitor_fakes import MemoryVersions
from tests.support.monitor_taker import AT_WORK, LABELS, LABELS_DONE, REQUEST_WIDTH, entries, start_keeper, trained

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NORTH = TenantId("north")
ALWAYS = 2**60
REPLICAS = 2
ENTRIES_A_CALL = 8
# What comes last before a kill comes at once, so that the kill falls into the taking of it; a transaction takes less than this.
_AT_ONCE, _LONGEST_TAKING = 4, 0.03


@dataclass(frozen=True, slots=True)
class Killing:
    """How much comes and how often somebody is killed."""

    kills: int
    entries_a_kill: int = 16
    rows: int = 40
    features: int = 4
    longest: float = 0.35
    """Seconds from one kill to the next, at most."""
    seed: int = 11
    look_into_the_lake: bool = False

    @property
    def records(self) -> int:
        """All that come."""
        return self.kills * self.entries_a_kill * self.rows


@dataclass(frozen=True, slots=True)
class Killed:
    """How the kills fell."""

    at_work: int
    """Kills that left entries taken and not acknowledged."""
    half_moved: int
    """Kills after which the lake had rows that the database did not know of yet."""


def kill_at_random(database_url: str, redis_url: str, folder: Path, killing: Killing) -> Killed:
    """Feed two replicas, kill one of them again and again, let the rest be done, and see that all is there once."""
    database = open_database(database_url, "services.monitor.migrations")
    blob_url = f"file://{folder}"
    chance = random.Random(killing.seed)
    start = time.time_ns() // 1000 - 7_200_000_000
    made = entries(killing.kills * killing.entries_a_kill, killing.rows, killing.features, start=start)
    at_work = half_moved = 0
    with redis.Redis.from_url(redis_url) as client:
        client.xgroup_create(PREDICTIONS, GROUP, id="0", mkstream=True)
        some = (database_url, redis_url, blob_url, killing.features, 0.3)
        keepers = [start_keeper(*some) for _ in range(REPLICAS)]
        try:
            for kill in range(killing.kills):
                place = kill % REPLICAS
                _wait_for(client, keepers[place].pid)
                pause = chance.random() * killing.longest / killing.entries_a_kill
                some_more = list(itertools.islice(made, killing.entries_a_kill))
                _feed(client, some_more[:-_AT_ONCE], killing.features, pause)
                _feed(client, some_more[-_AT_ONCE:], killing.features, 0.0)
                _until_at_work(client, chance.random() * _LONGEST_TAKING)
                keepers[place].kill()
                keepers[place].join()
                at_work += _unacknowledged(client) > 0
                if killing.look_into_the_lake:
                    half_moved += _half_moved(database_url, folder)
                keepers[place] = start_keeper(*some)
            _wait(client, killing.kills)
        finally:
            for keeper in keepers:
                keeper.kill()
                keeper.join()
        assert client.xlen(f"{PREDICTIONS}:dead") == 0
    Archiving(database, Archive(open_blobs(blob_url))).move(ALWAYS)
    _all_once(database_url, folder, killing)
    database.close()
    return Killed(at_work, half_moved)


def _feed(client: redis.Redis, made: Iterable[Mapping[str, bytes]], features: int, pause: float) -> None:
    """Entries of predictions, and calls that bring the labels of every second row, some of them before the rows."""
    waiting: list[str] = []
    for number, fields in enumerate(made):
        table = np.frombuffer(fields["rows"], row_dtype(REQUEST_WIDTH, features))
        waiting += PredictionIds.of_bytes(np.ascontiguousarray(table["id"]).tobytes()).texts()[::2]
        if number % ENTRIES_A_CALL == ENTRIES_A_CALL // 2:
            client.rpush(LABELS, json.dumps([[name, place % 2] for place, name in enumerate(waiting)]))
            waiting = []
        client.xadd(PREDICTIONS, dict(fields))  # type: ignore[arg-type]
        time.sleep(pause)
    client.rpush(LABELS, json.dumps([[name, place % 2] for place, name in enumerate(waiting)]))


def _wait_for(client: redis.Redis, pid: int | None) -> None:
    """Until a program has begun: whoever is killed before is killed at nothing."""
    deadline = time.monotonic() + 180
    while not client.sismember(AT_WORK, str(pid)):
        assert time.monotonic() < deadline, "a program does not begin"
        time.sleep(0.02)


def _until_at_work(client: redis.Redis, then: float) -> None:
    """Until somebody has entries in hand, and a moment more. Who has done with them already is killed at something else."""
    deadline = time.monotonic() + 0.25
    while not _unacknowledged(client) and time.monotonic() < deadline:
        pass
    time.sleep(then)


def _unacknowledged(client: redis.Redis) -> int:
    groups: Any = client.xinfo_groups(PREDICTIONS)
    return int(groups[0]["pending"])


def _half_moved(database_url: str, folder: Path) -> bool:
    """Whether the lake has rows of segments that the database does not know to be there. The other replica may be at it, too."""
    database = open_database(database_url, "services.monitor.migrations", migrating=False)
    try:
        there = {part for _, part in Archive(open_blobs(f"file://{folder}")).segments(NORTH, "cost")}
        found = SqlAnswered(database, ModelIds())._reads.find(NORTH, "cost", None)
        return bool(there & {one.id for one in found if not one.place})
    finally:
        database.close()


def _wait(client: redis.Redis, kills: int) -> None:
    deadline = time.monotonic() + 240 + 5 * kills

    def left() -> int:
        groups: Any = client.xinfo_groups(PREDICTIONS)
        stream = int(groups[0]["pending"]) + int(groups[0]["lag"] or 0)
        return stream + client.llen(LABELS) - client.scard(LABELS_DONE)

    while left():
        assert time.monotonic() < deadline, "not everything is taken"
        time.sleep(0.05)


def _all_once(database_url: str, folder: Path, killing: Killing) -> None:
    database = open_database(database_url, "services.monitor.migrations")
    ids, records = ModelIds(), killing.records
    archive = Archive(open_blobs(f"file://{folder}"))
    layouts = Layouts(MemoryVersions({1: trained(killing.features)}), time.monotonic)
    for by in ("at", "event_time"):
        (total,) = SqlWindows(database, ids, layouts, archive).counted(NORTH, "cost", Window(0, ALWAYS, by))
        assert total.sketch is not None
        assert total.rows == total.sketch.rows == total.sketch.tallied()["x00"].rows == records
    seen = SqlPredictionLog(database, ids, archive).seen_model(NORTH, "cost")
    assert seen is not None
    assert (seen.predictions, seen.labels) == (records, records // 2)
    names = [
        name
        for one in SqlAnswered(database, ids, archive).answered(NORTH, "cost", Window(0, ALWAYS))
        for name in one.prediction_ids
    ]
    assert len(names) == len(set(names)) == records
    labelled = SqlLabels(database, ids, archive).labelled(NORTH, "cost", Window(0, ALWAYS), None)
    (values,) = (rows.value for rows in labelled.values())
    assert (len(values), int(values.sum())) == (records // 2, records // 4)
    table = QueryBuilder().register("t", DeltaTable(archive.uri(NORTH, "cost")))
    ((count, different),) = _rows(table.execute("SELECT COUNT(*) AS n, COUNT(DISTINCT prediction_id) AS d FROM t"))
    assert (count, different) == (records, records)
    database.close()


def _rows(batches: Any) -> list[tuple[Any, ...]]:
    return pl.concat([pl.DataFrame(batch) for batch in batches]).rows()
