"""A canary on trial, judged by a real monitor from what real predictors would tell: counted once, told, reported, kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from google.protobuf.timestamp_pb2 import Timestamp

from tenon.api.registry.v1 import registry_pb2 as pb
from tenon.core.operations import LATENCY_BOUNDS, Operations, OperationsRecord, pack_operations
from tenon.core.roles import Role
from tenon.core.tenancy import TenantId
from tenon.kit.events import OPERATIONS
from tests.support.fakes_monitor import ADMIN_KEY, FakeRegistry, MonitorProcess, wait_for
from tests.support.monitor_data import manifest, numeric_baseline
from tests.support.redis import RedisServer, redis_binary, running_redis

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

MINUTE = 60 * 10**6
ANSWERS = (4000, 400)
RECORDS = 20


@pytest.fixture
def registry() -> Iterator[tuple[FakeRegistry, int]]:
    """Version 2 beside version 1, with a tenth of the requests, going on by itself."""
    uniform = manifest({}, numeric_baseline(np.linspace(0, 1, 1000)))
    fake = FakeRegistry(keys={"north": "key"}, manifests={("north", "cost", version): uniform for version in (1, 2)})
    start = Timestamp()
    start.FromMicroseconds(time.time_ns() // 1000 - 10 * MINUTE)
    fake.trials.append(
        pb.Trial(
            tenant="north", model="cost", revision=5, stable_version=1, candidate_version=2, role=pb.ROLE_CANARY,
            stages=[pb.TrialStage(start=start, weight_permille=100)],
            automatic=pb.Automatic(steps_permille=[100], step_answers=10, needs=["errors", "latency"]),
        )
    )  # fmt: skip
    server, port = fake.start()
    yield fake, port
    server.stop(0)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis."""
    with running_redis() as server:
        yield server


def tell(server: RedisServer, number: int, broken: int) -> None:
    """One replica's record: some answers of both versions, and what broke of the canary's."""
    latency = [0] * (len(LATENCY_BOUNDS) + 1)
    parts = []
    for version, role, answers in ((1, Role.STABLE, ANSWERS[0]), (2, Role.CANARY, ANSWERS[1])):
        latency[4] = answers // RECORDS
        failures = (0, 0, broken if version == 2 else 0)
        parts.append(Operations(TenantId("north"), "cost", version, role, latency[4], failures, tuple(latency)))
    record = OperationsRecord(f"replica-{number}", time.time_ns() // 1000, tuple(parts))
    fields: dict[Any, Any] = dict(pack_operations(record))
    with redis.Redis.from_url(server.url) as client:
        client.xadd(OPERATIONS, fields)


def test_broken_canary_is_reported_once_counted(
    registry: tuple[FakeRegistry, int], redis_server: RedisServer, tmp_path: Path
) -> None:
    """Every record comes twice and monitor is killed in between: each counts once; the verdict is told at the door, reported
    with the revision that was judged, and shown; silence before was none."""
    fake, port = registry
    monitor = MonitorProcess(tmp_path, redis_server.url, port).start()
    try:

        def canary() -> dict[str, Any]:
            with monitor.client(ADMIN_KEY) as client:
                found: dict[str, Any] = client.get("/v1/tenants/north/models/cost/canary").json()
            return found

        assert canary()["verdict"] == "not_enough_evidence"
        assert fake.reported == []
        for number in range(RECORDS):
            tell(redis_server, number, broken=3)
        wait_for(lambda: canary()["answers"] > 0, "something is counted", log=monitor.log)
        monitor.kill()
        for number in range(RECORDS):
            tell(redis_server, number, broken=3)
        monitor.start()
        expected = ANSWERS[1] + 3 * RECORDS
        wait_for(lambda: canary()["answers"] == expected, "all is counted", log=monitor.log)
        wait_for(lambda: bool(fake.reported), "the registry is told", log=monitor.log)
        reported = fake.reported[-1]
        assert (reported.revision, reported.candidate_version) == (5, 2)
        assert reported.verdict == pb.TRIAL_VERDICT_ROLL_BACK
        assert "of requests failed" in reported.summary
        told = canary()
        assert (told["verdict"], told["answers"]) == ("roll_back", expected)
        with monitor.client(ADMIN_KEY) as client:
            kept = client.get("/v1/tenants/north/models/cost/canary/history").json()["verdicts"]
            other = client.get("/v1/tenants/north/models/other/canary")
            gauges = client.get("/metrics").text
        assert kept[0]["verdict"] == "roll_back"
        assert (other.status_code, other.json()["reason"]) == (404, "NO_CANARY_ON_TRIAL")
        assert (
            'tenon_monitor_canary_verdict{model="cost",role="canary",tenant="north",verdict="roll_back",version="2"} 1.0'
            in gauges
        )
    finally:
        monitor.kill()
