"""Monitor's programs killed at random instants, on a real Redis and both databases: everything is there exactly once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.monitor.domain.kept.segment import segment_of
from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.log.take import TakePredictions
from services.monitor.domain.model import Window
from services.monitor.storage.log.archiving import Archiving
from services.monitor.storage.log.read import SqlPredictionLog
from services.monitor.storage.log.take import SqlSegments
from services.monitor.storage.models import ModelIds
from services.monitor.storage.segments.archive import Archive
from tenon.kit.blobs import open_blobs
from tenon.kit.sql import open_database
from tests.support.monitor_data import batch_document
from tests.support.monitor_fakes import MemoryVersions
from tests.support.monitor_kills import NORTH, Killing, kill_at_random
from tests.support.monitor_taker import start_dying_move, trained
from tests.support.postgres import PostgresServer
from tests.support.redis import redis_binary, running_redis


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'monitor.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
def test_killed_programs_leave_everything_there_once(database_url: str, tmp_path: Path) -> None:
    """Two replicas take, move into the lake and record labels; one after the other is killed (SIGKILL) somewhere in it."""
    with running_redis() as server:
        killed = kill_at_random(database_url, server.url, tmp_path / "blobs", Killing(kills=8))
    assert killed.at_work


@pytest.mark.parametrize("instant", ["before the commit", "after the commit", "before the note"])
def test_a_move_that_is_killed_is_finished_once(database_url: str, tmp_path: Path, instant: str) -> None:
    """The process that moves is killed between the lake's commit and the database's: the next one moves each row once."""
    blob_url = f"file://{tmp_path / 'blobs'}"
    database, ids = open_database(database_url, "services.monitor.migrations"), ModelIds()
    archive = Archive(open_blobs(blob_url))
    log, archiving = SqlPredictionLog(database, ids, archive), Archiving(database, archive)
    layouts = Layouts(MemoryVersions({1: trained(1)}), time.monotonic)
    take = TakePredictions(SqlSegments(database, ids), layouts, lambda _: None)
    for number in range(3):
        document = batch_document(np.linspace(0, 1, 50), {"x00": np.arange(50.0)}, at=number)
        take([segment_of(batch_from_document(document))])
    process = start_dying_move(database_url, blob_url, instant)
    process.join(180)
    assert process.exitcode == -signal.SIGKILL

    def rows() -> int:
        return sum(len(some.score) for some in log.rows(NORTH, "cost", Window(0, 2**60), 1, []))

    assert rows() == 150
    while archiving.move(2**60):
        pass
    assert rows() == 150
    assert archiving.oldest() is None
    assert {segment for segment, _ in archive.segments(NORTH, "cost")}
    database.close()
