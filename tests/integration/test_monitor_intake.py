"""Consumers of the prediction log killed at random instants, on a real Redis: every record is counted exactly once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.model import Window
from services.monitor.storage.log.read import SqlPredictionLog
from services.monitor.storage.models import ModelIds
from services.monitor.storage.windows.serve import SqlWindows
from services.monitor.worker import GROUP
from tenon.core.tenancy import TenantId
from tenon.kit.events import PREDICTIONS
from tenon.kit.sql import open_database
from tests.support.monitor_fakes import MemoryVersions
from tests.support.monitor_taker import entries, start_taker, trained
from tests.support.postgres import PostgresServer
from tests.support.redis import redis_binary, running_redis

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

ENTRIES, ROWS, FEATURES, KILLS = 400, 40, 6, 10
NORTH = TenantId("north")


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


def test_killed_consumers_count_every_record_once(database_url: str) -> None:
    """Two consumers share the stream; ten times one of them is killed (SIGKILL) somewhere in its work and replaced."""
    database = open_database(database_url, "services.monitor.migrations")
    chance = random.Random(11)
    start = time.time_ns() // 1000 - 7_200_000_000
    with running_redis() as server, redis.Redis.from_url(server.url) as client:
        client.xgroup_create(PREDICTIONS, GROUP, id="0", mkstream=True)
        takers = [start_taker(database_url, server.url, FEATURES, 0.5) for _ in range(2)]
        try:
            made = entries(ENTRIES, ROWS, FEATURES, start=start)
            for kill in range(KILLS):
                for _ in range(ENTRIES // KILLS):
                    client.xadd(PREDICTIONS, dict(next(made)))
                    time.sleep(chance.random() * 0.01)
                takers[kill % 2].kill()
                takers[kill % 2].join()
                takers[kill % 2] = start_taker(database_url, server.url, FEATURES, 0.5)
            deadline = time.monotonic() + 60

            def left() -> int:
                groups: Any = client.xinfo_groups(PREDICTIONS)
                return next(
                    int(one["pending"]) + int(one["lag"] or 0) for one in groups if one["name"] == GROUP.encode()
                )

            while left():
                assert time.monotonic() < deadline, "the stream is not taken"
                time.sleep(0.05)
        finally:
            for taker in takers:
                taker.kill()
                taker.join()
        assert client.xlen(f"{PREDICTIONS}:dead") == 0
    ids = ModelIds()
    layouts = Layouts(MemoryVersions({1: trained(FEATURES)}), time.monotonic)
    store = SqlPredictionLog(database, ids)
    for by in ("at", "event_time"):
        windows = SqlWindows(database, ids, layouts)
        (total,) = windows.counted(NORTH, "cost", Window(0, 2**60, by))
        assert total.sketch is not None
        assert total.rows == total.sketch.rows == ENTRIES * ROWS
        assert total.sketch.tallied()["x00"].rows == ENTRIES * ROWS
    seen = store.seen_model(NORTH, "cost")
    assert seen is not None
    assert seen.predictions == ENTRIES * ROWS
    assert sum(len(rows.score) for rows in store.rows(NORTH, "cost", Window(0, 2**60), 1, [])) == ENTRIES * ROWS
    database.close()
