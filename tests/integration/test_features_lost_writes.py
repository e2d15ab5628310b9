"""Redis loses the last that it has acknowledged, as when it is killed: what was lost comes back from the lake."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest

from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.model import EntityKeys, OnlineState
from services.features.domain.plan import compile_view
from services.features.storage import online_keys
from services.features.storage.online import RedisOnlineStore
from tenon.core.errors import Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.redis import connect
from tenon.windows.blob import EntityBlob
from tenon.windows.events import Column, Events
from tenon.windows.pieces import Sizes
from tests.integration.test_features_online_store import both_ways
from tests.support.fake_ingest import lake_frame, running_ingest
from tests.support.features_fakes import FakeMeter, FakeViews
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis_binary, running_redis
from tests.support.service_process import ADMIN_KEY, running_service

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

NORTH = TenantId("north")
DATASET = DatasetSpec.model_validate(
    {
        "name": "d", "primaryKey": ["id"], "eventTime": "at",
        "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"},
                    "x": {"type": "integer"}},
    }
)  # fmt: skip
VIEW = FeatureViewSpec.model_validate(
    {"name": "v", "dataset": "d", "entity": ["who"],
     "aggregates": [{"column": "x", "functions": ["sum", "std", "last"], "windows": ["1h", "1d", "all"]}]}
)  # fmt: skip
STATE = OnlineState(
    plan_digest=compile_view(VIEW, DATASET).digest, view_digest="d", revision=1, table_uri="u", table_version=1,
    horizon=0, newest_event=1, entities=0, blob_bytes=0, built_at=2,
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A real Redis."""
    with running_redis() as running:
        yield running


def blobs(version: int, events: int = 1, then: Callable[[], None] = lambda: None) -> Iterator[EntityBlob]:
    """Thirty entities with their events; something happens after twenty-five."""
    for number in range(30):
        if number == 25:
            then()
        time, value = np.arange(1, 1 + events), np.full(events, version)
        yield EntityBlob(f"p{number}", version, 0, Events(time, (Column(), Column(value=value))))


def sums(store: RedisOnlineStore) -> set[float]:
    """Of all entities, the sum of all values."""
    online = LookUpOnline(store, FakeViews(), FakeMeter())
    rows = [EntityKeys({"who": f"p{number}"}, 10**6) for number in range(30)]
    return {row.values[2] for row in online.look_up(NORTH, ["v"], rows).rows}


def test_a_build_notices_that_its_writes_were_lost(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Redis is killed under a build and comes back without what was written a moment ago, what is left is not taken
    for the whole."""
    monkeypatch.setattr(online_keys, "CHUNK", 10)
    store = RedisOnlineStore(connect(server.url, timeout_seconds=60), connect(server.url, timeout_seconds=60))
    before = store.publish(NORTH, "v", (VIEW, DATASET), STATE, blobs(1))
    after = replace(STATE, table_version=2)
    server.keep_copy()
    assert store.extend(NORTH, "v", before, after, blobs(2, then=server.lose_the_last), 0) is None
    assert store.state(NORTH, "v") == before
    with pytest.raises(Unavailable, match="lost values of view 'v'"):
        store.publish(NORTH, "v", (VIEW, DATASET), after, blobs(3, then=server.lose_the_last))
    assert store.state(NORTH, "v") == before
    made = store.publish(NORTH, "v", (VIEW, DATASET), after, blobs(2))
    assert (made.table_version, made.entities, sums(store)) == (2, 30, {2.0})
    # Another build began meanwhile, as if this one were dead: it writes nothing more.
    third = replace(STATE, table_version=3)

    def other() -> None:
        assert store.extend(NORTH, "v", made, third, blobs(3), 0) is not None

    with pytest.raises(Unavailable, match="lost values"):
        store.publish(NORTH, "v", (VIEW, DATASET), after, blobs(2, then=other))
    with connect(server.url, timeout_seconds=60) as redis:
        assert all(redis.ttl(name) > 0 for name in redis.scan_iter("*:building"))
    state = store.state(NORTH, "v")
    assert state is not None
    assert (state.table_version, sums(store)) == (3, {5.0})


def test_what_is_damaged_is_built_whole(server: RedisServer) -> None:
    """A lookup that meets a blob that is none, or a chunk that is gone, says so once, until the view is built whole."""
    store = RedisOnlineStore(
        connect(server.url, timeout_seconds=60), connect(server.url, timeout_seconds=60), Sizes(60, 20, 20)
    )
    asked: list[str] = []

    def publish(version: int) -> OnlineState:
        state = replace(STATE, table_version=version)
        return store.publish(NORTH, "v", (VIEW, DATASET), state, blobs(version, events=200))

    def damage(pattern: str, data: bytes | None) -> None:
        with connect(server.url, timeout_seconds=60) as redis:
            for name in [*redis.scan_iter(f"tenon:features:north:v:*{pattern}*")]:
                redis.delete(name)
                if data is not None:
                    redis.set(name, data)

    state = publish(1)
    for version, (pattern, data, problem) in enumerate([("=p7", b"TNF", "cannot be read"), ("~", None, "changing")], 2):
        assert not store.is_damaged(NORTH, "v", state)
        damage(pattern, data)
        online = LookUpOnline(store, FakeViews(), FakeMeter(), lambda _, view: asked.append(view))
        for _ in range(3):
            with pytest.raises(Unavailable, match=problem):
                online.look_up(NORTH, ["v"], [EntityKeys({"who": "p7"}, 50)])
        assert (store.is_damaged(NORTH, "v", state), asked) == (True, ["v"] * (version - 1))
        state = publish(version)
        assert sums(store) == {200.0 * version}
    damage(":plan", None)
    assert store.is_damaged(NORTH, "v", state)
    store.retire(NORTH, "v")
    with connect(server.url, timeout_seconds=60) as redis:
        assert all(redis.ttl(name) > 0 for name in redis.scan_iter())


def test_a_service_brings_back_what_redis_lost(tmp_path: Path, server: RedisServer) -> None:
    """Under a running service Redis is killed and comes back as it was before the last commits, of which one also corrected
    rows: soon all values, also of an entity in pieces, are those of the lake, bit for bit."""
    with running_ingest(tmp_path / "lake") as ingest:
        ingest.define("north", DATASET)
        start = datetime(2025, 1, 1, tzinfo=UTC)

        def rows(first: int, count: int, minutes: float) -> list[dict[str, object]]:
            return [
                {"id": n, "at": start + timedelta(minutes=(n - first) * minutes), "x": n % 997,
                 "who": "hot" if n % 10 else f"p{n % 300}"}
                for n in range(first, first + count)
            ]  # fmt: skip

        def wait_for(version: int) -> None:
            deadline = time.monotonic() + 180
            while True:
                found = httpx.get(service.http + url, headers=headers, trust_env=False, timeout=60)
                online = found.json()["online"] if found.status_code == 200 else None
                if online and online["table_version"] == version:
                    return
                assert time.monotonic() < deadline, service.log.read_text()[-3000:]
                time.sleep(0.05)

        ingest.commit("north", "d", lake_frame(DATASET, rows(0, 6000, 1)))
        url, headers = "/v1/tenants/north/feature-views/v", {"authorization": f"Bearer {ADMIN_KEY}"}
        push = "/v1/tenants/north/datasets/d/events"
        environment = {
            "TENON_REDIS_URL": server.url,
            "TENON_BLOB_URL": (tmp_path / "blobs").as_uri(),
            "TENON_INGEST_GRPC": ingest.target,
            "TENON_REGISTRY_GRPC": f"127.0.0.1:{free_port()}",
            "TENON_FEATURES_RECONCILE_SECONDS": "0.2",
        }
        asked = [
            (who, start + timedelta(minutes=7 * n)) for n in range(0, 920, 9) for who in ("hot", f"p{10 * (n % 30)}")
        ]
        with running_service("features", tmp_path / "features", environment) as service:
            body = VIEW.canonical()
            assert (
                httpx.put(service.http + url, json=body, headers=headers, trust_env=False, timeout=60).status_code
                == 200
            )
            wait_for(0)
            server.keep_copy()
            # More, some of it late; then a correction of much.
            ingest.commit("north", "d", lake_frame(DATASET, rows(6000, 500, 10.0) + rows(6500, 40, 0.5)))
            wait_for(1)
            corrected = [row | {"x": 5} if n % 3 else row for n, row in enumerate(rows(0, 6000, 1))]
            ingest.commit("north", "d", lake_frame(DATASET, corrected), replace=True)
            wait_for(2)
            fresh = {"id": 10**6, "at": (start + timedelta(hours=1)).isoformat(), "who": "fresh", "x": 7}
            pushed = httpx.post(
                service.http + push, json={"rows": [fresh]}, headers=headers, trust_env=False, timeout=60
            )
            assert pushed.json()["accepted"] == 1
            server.lose_the_last()
            wait_for(2)
            online_values, offline_values = both_ways(service.grpc, asked, deadline=time.monotonic() + 180)
            assert online_values == offline_values
            with connect(server.url, timeout_seconds=60) as redis:
                assert any(redis.scan_iter("*~*"))
                # What was pushed a moment before is given to the new Redis again.
                deadline = time.monotonic() + 180
                while not any(redis.scan_iter("*=fresh")):
                    assert time.monotonic() < deadline, service.log.read_text()[-3000:]
                    time.sleep(0.05)
