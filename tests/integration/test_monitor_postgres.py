"""Monitor's storage on a real PostgreSQL: the same suite as on SQLite."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from services.monitor.storage.incidents.incidents import SqlIncidents
from services.monitor.storage.incidents.outbox import SqlOutbox
from tests.support.fakes_monitor import FakeRegistry, MonitorProcess, wait_for
from tests.support.incident_history_suite import IncidentHistorySuite, Kept
from tests.support.incident_storage_suite import IncidentStorageSuite
from tests.support.monitor_data import batch_document, manifest, numeric_baseline
from tests.support.monitor_storage_suite import MonitorStorageSuite, Store
from tests.support.postgres import PostgresServer
from tests.support.redis import redis_binary, running_redis


@pytest.fixture(scope="module")
def store(postgres_server: PostgresServer) -> Iterator[Store]:
    """One database for the module; tests clear it."""
    url = postgres_server.new_database()
    made = Store(url)
    yield made
    made.database.close()
    postgres_server.drop_database(url)


class TestPostgresIncidents(IncidentStorageSuite):
    """The suite of incidents."""


class TestPostgresHistory(IncidentHistorySuite):
    """The suite of histories."""

    @pytest.fixture
    def kept(self, store: Store) -> Kept:
        """Emptied."""
        store.clear()
        incidents = SqlIncidents(store.database)
        return Kept(incidents, incidents, SqlOutbox(store.database))


class TestPostgres(MonitorStorageSuite):
    """The suite."""


@pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
def test_two_replicas_share_the_work_on_postgres(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Two monitors on one database and one group take each batch once between them, and both give the same report."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=5_000)
    fake = FakeRegistry(
        keys={"north": "key"},
        manifests={("north", "cost", 1): manifest({"x": numeric_baseline(x)}, numeric_baseline(x))},
    )
    server, port = fake.start()
    url = postgres_server.new_database()
    with running_redis() as own, redis.Redis.from_url(own.url) as client:
        pair = [MonitorProcess(tmp_path / name, own.url, port, TENON_DATABASE_URL=url) for name in ("one", "two")]
        try:
            for process in pair:
                process.start()
            for _ in range(40):
                values = rng.normal(size=50)
                document = batch_document(values, {"x": values}, at=time.time_ns() // 1000 - 1_000_000)
                for _ in range(2):
                    client.xadd("tenon:predictions", {"batch": json.dumps(document)})

            def taken() -> int:
                with pair[0].client("key") as reader:
                    models = reader.get("/v1/tenants/north/models").json()["models"]
                return sum(seen["predictions"] for seen in models)

            wait_for(lambda: taken() >= 2_000, "everything is taken", log=pair[0].log, seconds=180)
            reports = []
            for process in pair:
                with process.client("key") as reader:
                    reports.append(reader.get("/v1/tenants/north/models/cost/report").json())
            assert [report["predictions"] for report in reports] == [2_000, 2_000]
            assert reports[0]["summary"] == reports[1]["summary"]
        finally:
            for process in pair:
                process.stop()
            server.stop(0)
            postgres_server.drop_database(url)
