"""The online store on a real Redis, and the service after a kill."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from services.features.domain.model import OnlineState
from services.features.domain.plan import compile_view
from services.features.storage.online import RedisOnlineStore
from tenon.api.features.v1 import features_pb2 as pb
from tenon.api.features.v1 import features_pb2_grpc
from tenon.core.errors import Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.redis import connect
from tenon.windows.blob import EntityBlob, decode_blob
from tenon.windows.events import Column, Events
from tests.support.fake_ingest import lake_frame, running_ingest
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis_binary, running_redis
from tests.support.service_process import ADMIN_KEY, SERVICE_TOKEN, running_service

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

NORTH, SOUTH = TenantId("north"), TenantId("south")
DATASET = DatasetSpec.model_validate(
    {
        "name": "d", "primaryKey": ["id"], "eventTime": "at",
        "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"},
                    "x": {"type": "integer"}},
    }
)  # fmt: skip


def view_over(window: str) -> FeatureViewSpec:
    """The view under one of its definitions."""
    return FeatureViewSpec.model_validate(
        {"name": "v", "dataset": "d", "entity": ["who"],
         "aggregates": [{"column": "x", "functions": ["sum"], "windows": [window]}]}
    )  # fmt: skip


def blob(entity: str, value: int) -> EntityBlob:
    """An entity with one event."""
    one = np.array([1], np.int64)
    return EntityBlob(entity, 1, 0, Events(one, (Column(), Column(value=one * value))))


def value_in(data: bytes | None) -> int | None:
    """What `blob` put in."""
    column = decode_blob(data).events.columns[1] if data is not None else None
    return None if column is None or column.value is None else int(column.value[0])


def publish(store: RedisOnlineStore, view: FeatureViewSpec, blobs: list[EntityBlob], version: int = 1) -> OnlineState:
    """Publish a definition's blobs."""
    state = OnlineState(
        plan_digest=compile_view(view, DATASET).digest, view_digest="d", revision=1, table_uri="u",
        table_version=version, horizon=0, newest_event=1, entities=0, blob_bytes=0, built_at=2,
    )  # fmt: skip
    return store.publish(NORTH, "v", (view, DATASET), state, blobs)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A real Redis."""
    with running_redis() as running:
        yield running


@pytest.fixture
def store(server: RedisServer) -> RedisOnlineStore:
    """A store on it."""
    return RedisOnlineStore(connect(server.url, timeout_seconds=60), connect(server.url, timeout_seconds=60))


def test_what_is_published_is_served(store: RedisOnlineStore, server: RedisServer) -> None:
    """Any entity text comes back, what is gone is gone, other tenants and other processes see what they should."""
    names = ["a", "", "ünï|\\|code", "x" * 500, "x" * 501]
    state = publish(store, view_over("1d"), [blob(name, number) for number, name in enumerate(names)])
    assert (state.entities, store.state(NORTH, "v")) == (5, state)
    for reader in (
        store,
        RedisOnlineStore(connect(server.url, timeout_seconds=60), connect(server.url, timeout_seconds=60)),
    ):
        for _ in range(2):
            served = reader.serve(NORTH, ["v", "other"], lambda _: [*names, "nobody"])
            assert served["other"] is None
            assert served["v"] is not None
            assert served["v"].state == state
            values = {name: value_in(found) for name, found in zip([*names, "nobody"], served["v"].blobs, strict=True)}
            assert values == {name: number for number, name in enumerate(names)} | {"nobody": None}
    assert store.serve(SOUTH, ["v"], lambda _: names) == {"v": None}
    publish(store, view_over("1d"), [blob("a", 9)], version=2)
    served = store.serve(NORTH, ["v"], lambda _: names)
    assert served["v"] is not None
    assert [name for name, found in zip(names, served["v"].blobs, strict=True) if found] == ["a"]


def test_who_has_no_events_any_more_leaves(store: RedisOnlineStore, server: RedisServer) -> None:
    """Entities all of whose events are from before what any time can see are removed, unless pushed ones wait."""
    waiting = replace(blob("waits", 3), pushed=np.array([77]))
    before = publish(store, view_over("1d"), [blob("old", 1), blob("new", 2), waiting])
    assert 0 < before.median_bytes <= before.p99_bytes <= before.largest_bytes < before.blob_bytes
    later = replace(
        blob("new", 7), table_version=2, events=Events(np.array([9]), (Column(), Column(value=np.array([7]))))
    )
    made = store.extend(NORTH, "v", before, replace(before, table_version=2), [later], 5)
    assert made is not None
    assert (made.entities, store.state(NORTH, "v")) == (2, made)
    served = store.serve(NORTH, ["v"], lambda _: ["old", "new", "waits"])["v"]
    assert served is not None
    assert [value_in(data) for data in served.blobs] == [None, 7, 3]
    assert made.blob_bytes == sum(len(data or b"") for data in served.blobs)
    store.retire(NORTH, "v")
    with connect(server.url, timeout_seconds=60) as redis:
        assert redis.dbsize() == 0


def test_held_values_are_extended_or_left_alone(store: RedisOnlineStore, server: RedisServer) -> None:
    """Events are added to the entities that have some; what is of another version, or gone, is published whole instead."""
    before = publish(store, view_over("1d"), [blob("a", 1), blob("b", 2)])
    after = replace(before, table_version=2)
    fresh = [replace(blob(name, 7), table_version=2) for name in ("b", "c")]
    made = store.extend(NORTH, "v", before, after, fresh, 0)
    assert made is not None
    assert (made.entities, made.table_version, store.state(NORTH, "v")) == (3, 2, made)
    served = store.serve(NORTH, ["v"], lambda _: ["a", "b", "c"])["v"]
    assert served is not None
    events = {name: decode_blob(data or b"").events for name, data in zip("abc", served.blobs, strict=True)}
    assert {name: found.columns[1].value.tolist() for name, found in events.items()
            if found.columns[1].value is not None} == {"a": [1], "b": [2, 7], "c": [7]}  # fmt: skip
    assert made.blob_bytes == sum(len(data or b"") for data in served.blobs)
    # As after a kill between the blobs and the switch: b and c are newer than what is said to be held.
    with connect(server.url, timeout_seconds=60) as redis:
        half = replace(made, table_version=1)
        redis.set("tenon:features:north:v:serving", json.dumps(asdict(half), sort_keys=True))
        assert store.extend(NORTH, "v", half, after, fresh, 0) is None
        assert store.extend(NORTH, "v", before, after, fresh, 0) is None
        redis.flushall()
        assert store.extend(NORTH, "v", half, after, fresh, 0) is None
        assert redis.dbsize() == 0


def test_a_retired_definition_leaves_nothing(store: RedisOnlineStore, server: RedisServer) -> None:
    """After the switch to another definition the old one's keys are removed."""
    publish(store, view_over("1d"), [blob(f"p{n}", n) for n in range(2500)])
    with connect(server.url, timeout_seconds=60) as redis:
        before = redis.dbsize()
        publish(store, view_over("2d"), [blob(f"p{n}", n) for n in range(2500)])
        assert redis.dbsize() == before


def test_readers_never_see_a_mix(store: RedisOnlineStore, server: RedisServer) -> None:
    """While definitions switch back and forth, the plan and the blobs of each answer belong together."""
    views = {compile_view(view_over(w), DATASET).digest: (view_over(w), n) for n, w in enumerate(("1d", "2d"))}
    first, second = views.values()
    names = [f"p{n}" for n in range(50)]
    publish(store, first[0], [blob(name, first[1]) for name in names])
    wrong: list[object] = []
    reads = 0
    ending = threading.Event()

    def read() -> None:
        nonlocal reads
        reader = RedisOnlineStore(connect(server.url, timeout_seconds=60), connect(server.url, timeout_seconds=60))
        while not ending.is_set():
            try:
                served = reader.serve(NORTH, ["v"], lambda _: names)["v"]
            except Unavailable as err:
                wrong.extend([err] if err.reason != "VIEW_CHANGING" else [])
                continue
            values = {value_in(found) for found in (served.blobs if served else ())}
            if served is None or values != {views[served.plan.digest][1]}:
                wrong.append((served and served.plan.digest, values))
            reads += 1

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        for view, value in (second, first):
            publish(store, view, [blob(name, value) for name in names])
    ending.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert reads > 10


def test_one_builder_at_a_time(store: RedisOnlineStore) -> None:
    """A second builder of the same view is turned away until the first is done; other views are free."""
    with store.lock(NORTH, "v"):
        with pytest.raises(Unavailable, match="another replica"), store.lock(NORTH, "v"):
            pass
        with store.lock(SOUTH, "v"):
            pass
    with store.lock(NORTH, "v"):
        pass


def test_an_unreadable_state_is_no_state(store: RedisOnlineStore, server: RedisServer) -> None:
    """What another version of the program left is built again instead of read wrongly."""
    state = publish(store, view_over("1d"), [blob("a", 1)])
    with connect(server.url, timeout_seconds=60) as redis:
        redis.set("tenon:features:north:v:serving", b'{"layout": "of tomorrow"}')
    assert store.state(NORTH, "v") is None
    assert publish(store, view_over("1d"), [blob("a", 1)]) == replace(state, built_at=2)


def both_ways(target: str, asked: list[tuple[str, datetime]], deadline: float) -> tuple[bytes, bytes]:
    """The view's values online, as soon as there are any, and computed anew from the lake."""
    metadata = [("authorization", f"Bearer {SERVICE_TOKEN}")]
    lookup = pb.GetOnlineFeaturesRequest(tenant="north", views=["v"], packed=True)
    for who, at in asked:
        lookup.rows.add(keys={"who": who}).at.FromDatetime(at)
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = features_pb2_grpc.FeatureServiceStub(channel)
        again = pb.GetHistoricalFeaturesRequest(tenant="north", views=["v"], rows=lookup.rows)
        offline: bytes = stub.GetHistoricalFeatures(again, metadata=metadata, timeout=60).values
        while True:
            try:
                return stub.GetOnlineFeatures(lookup, metadata=metadata, timeout=60).columns.values, offline
            except grpc.RpcError as err:
                if err.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)


def test_a_killed_service_catches_up(tmp_path: Path, server: RedisServer) -> None:
    """Killed in the middle of its work and started again, the service brings the store to the lake's version; killed with an
    emptied Redis, what it rebuilds is what the lake gives, bit for bit."""
    with running_ingest(tmp_path / "lake") as ingest:
        ingest.define("north", DATASET)
        start = datetime(2025, 1, 1, tzinfo=UTC)
        rows = [{"id": n, "at": start + timedelta(minutes=n), "who": f"p{n % 900}", "x": n} for n in range(5000)]
        ingest.commit("north", "d", lake_frame(DATASET, rows))
        environment = {
            "TENON_REDIS_URL": server.url,
            "TENON_BLOB_URL": (tmp_path / "blobs").as_uri(),
            "TENON_INGEST_GRPC": ingest.target,
            "TENON_REGISTRY_GRPC": f"127.0.0.1:{free_port()}",
            "TENON_FEATURES_RECONCILE_SECONDS": "0.5",
        }
        url, headers = "/v1/tenants/north/feature-views/v", {"authorization": f"Bearer {ADMIN_KEY}"}
        with running_service("features", tmp_path / "features", environment) as service:
            body = view_over("1d").canonical()
            assert (
                httpx.put(service.http + url, json=body, headers=headers, trust_env=False, timeout=60).status_code
                == 200
            )
            service.process.kill()
        version = ingest.commit("north", "d", lake_frame(DATASET, rows), replace=True)
        with running_service("features", tmp_path / "features", environment) as service:
            deadline = time.monotonic() + 180
            while True:
                online = httpx.get(service.http + url, headers=headers, trust_env=False, timeout=60).json()["online"]
                if online and online["table_version"] == version:
                    break
                assert time.monotonic() < deadline, service.log.read_text()[-3000:]
                time.sleep(0.1)
            assert online["entities"] == 900
        # Killed again, and Redis with it, which comes back empty: all there is to start from is the lake.
        with running_service("features", tmp_path / "features", environment) as service:
            service.process.kill()
        server.stop()
        server.start()
        with running_service("features", tmp_path / "features", environment) as service:
            asked = [(f"p{n}", start + timedelta(minutes=7 * n)) for n in range(0, 920, 3)]
            online_values, offline_values = both_ways(service.grpc, asked, deadline=time.monotonic() + 180)
            assert online_values == offline_values
            assert not np.isnan(np.frombuffer(offline_values)).all()
