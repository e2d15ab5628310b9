"""Pushed rows on a real Redis: beside builds that run at the same time, and through the service's doors."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import polars as pl
import pytest

from services.features.domain.build_online import BuildOnline, Pushes
from services.features.domain.known_keys import KnownKeys
from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.model import EntityKeys
from services.features.domain.push_events import PushEvents
from services.features.storage.online import RedisOnlineStore
from services.features.storage.pushed import RedisPushedRows
from tenon.api.features.v1 import features_pb2 as pb
from tenon.api.features.v1 import features_pb2_grpc
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.redis import connect
from tests.support.fake_ingest import lake_frame, running_ingest
from tests.support.features_fakes import FakeLake, FakeMeter, FakeViews
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis_binary, running_redis
from tests.support.service_process import ADMIN_KEY, running_service

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

NORTH = TenantId("north")
START = datetime(2025, 1, 1, tzinfo=UTC)
DATASET = DatasetSpec.model_validate(
    {
        "name": "d", "primaryKey": ["id"], "eventTime": "at",
        "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"},
                    "x": {"type": "decimal", "scale": 2}},
    }
)  # fmt: skip
VIEWS = [
    FeatureViewSpec.model_validate(
        {"name": name, "dataset": "d", "entity": entity,
         "aggregates": [{"functions": ["count"], "windows": ["all"]},
                        {"column": "x", "functions": ["sum"], "windows": ["all"]}]}
    )
    for name, entity in (("v", ["who"]), ("w", ["who", "x"]))
]  # fmt: skip
LATER = int((START + timedelta(days=2)).timestamp() * 1e6)
HEADERS = {"authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A real Redis."""
    with running_redis() as running:
        yield running


def row(number: int, who: str = "a") -> dict[str, Any]:
    """A row as it is pushed."""
    return {"id": number, "at": f"2025-01-01T{number % 24:02}:00:00Z", "who": who, "x": "0.25"}


def in_lake(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The same rows as the table has them."""
    return lake_frame(DATASET, [one | {"at": datetime.fromisoformat(one["at"])} for one in rows])


def test_no_row_is_lost_or_counted_twice_at_any_moment(server: RedisServer) -> None:
    """While two push and one commits, extends, rebuilds and forgets, a reader never sees fewer rows than were pushed, nor
    more than are being pushed."""
    store = RedisOnlineStore(connect(server.url, timeout_seconds=60), connect(server.url, timeout_seconds=60))
    views, lake, meter, rows = (
        FakeViews(),
        FakeLake(),
        FakeMeter(),
        RedisPushedRows(connect(server.url, timeout_seconds=60)),
    )
    lake.specs[NORTH, "d"] = DATASET
    for view in VIEWS:
        views.apply(NORTH, view, dry_run=False)
    known = KnownKeys(lake)
    pushing = PushEvents(views, lake, store, rows, known, meter, lambda: LATER)
    builds = BuildOnline(views, lake, lake, store, meter, slack=10**15, now=lambda: LATER,
                         pushes=Pushes(rows, known, pushing))  # fmt: skip
    lake.commit(NORTH, "d", in_lake([row(0)]))
    assert not builds.build_for(NORTH, "d")
    begun, done, wrong = [1], [1], list[object]()
    ending, lock = threading.Event(), threading.Lock()
    table = [row(0)]

    def push(first: int) -> None:
        number = first
        while not ending.is_set():
            some = [row(number + 2 * n) for n in range(3)]
            with lock:
                begun[0] += 3
            made = pushing.push(NORTH, "d", [*some, some[0]])
            with lock:
                done[0] += 3
                table.extend(some)
            wrong.extend([made] if made.accepted != 3 else [])
            number += 6
            # A retry of what was pushed before, perhaps committed by now.
            pushing.push(NORTH, "d", [row(first)])

    def read() -> None:
        looking = LookUpOnline(store, views, meter)
        while not ending.is_set():
            least = done[0]
            found = looking.look_up(NORTH, ["v", "w"], [EntityKeys({"who": "a", "x": "0.25"}, LATER)]).rows[0].values
            most = begun[0]
            counts, sums = found[0::2], [value * 4 for value in found[1::2]]
            if counts != sums or not all(least <= count <= most for count in counts):
                wrong.append((least, found, most))

    def guarded(work: Any, *args: Any) -> None:
        try:
            work(*args)
        except BaseException as err:
            wrong.append(err)
            raise

    threads = [threading.Thread(target=guarded, args=args) for args in ((push, 1), (push, 2), (read,), (read,))]
    for thread in threads:
        thread.start()
    deadline, rounds = time.monotonic() + 6, 0
    while (time.monotonic() < deadline or rounds < 3) and not wrong:
        with lock:
            some = list(table)
        if rounds % 3 == 2:
            # Another order of rows is a commit that changed rows: built whole.
            some.reverse()
        lake.commit(NORTH, "d", in_lake(some))
        wrong.extend(builds.build_for(NORTH, "d").values())
        rounds += 1
    ending.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    lake.commit(NORTH, "d", in_lake(table))
    assert not builds.build_for(NORTH, "d")
    assert rows.all(NORTH, "d") == {}
    with connect(server.url, timeout_seconds=60) as client:
        for view in VIEWS:
            state = store.state(NORTH, view.name)
            assert state is not None
            (blob,) = [key for key in client.scan_iter("*=*") if f":{view.name}:".encode() in key]
            assert (state.entities, state.blob_bytes) == (1, client.strlen(blob))


def test_pushed_through_the_doors(tmp_path: Path, server: RedisServer) -> None:
    """HTTP and gRPC show a row at once; a killed service still has it; the commit takes its place; a Redis that was
    emptied goes back to the lake; a wrong row is refused whole; other tenants see nothing."""
    with running_ingest(tmp_path / "lake") as ingest:
        ingest.define("north", DATASET)
        ingest.commit("north", "d", in_lake([row(1)]))
        environment = {
            "TENON_REDIS_URL": server.url, "TENON_BLOB_URL": (tmp_path / "blobs").as_uri(),
            "TENON_INGEST_GRPC": ingest.target, "TENON_REGISTRY_GRPC": f"127.0.0.1:{free_port()}",
            "TENON_FEATURES_RECONCILE_SECONDS": "0.5",
        }  # fmt: skip
        with running_service("features", tmp_path / "features", environment) as service:
            door = httpx.Client(
                base_url=f"{service.http}/v1/tenants/north", headers=HEADERS, trust_env=False, timeout=60
            )
            assert door.put("/feature-views/v", json=VIEWS[0].canonical()).status_code == 200
            wait_for(door, 1)
            pushed = door.post("/datasets/d/events", json={"rows": [row(2), row(1), row(3, "b")]})
            assert pushed.json() == {"accepted": 2, "known": 1, "views": ["v"]}
            assert (counted(door, "a"), counted(door, "b"), counted(door, "c")) == (2, 1, 0)
            with grpc.insecure_channel(service.grpc) as channel:
                stub = features_pb2_grpc.FeatureServiceStub(channel)
                request = pb.PushEventsRequest(tenant="north", dataset="d", rows=[json.dumps(row(4)).encode()])
                answer = stub.PushEvents(request, metadata=list(HEADERS.items()))
                assert (answer.accepted, answer.known, list(answer.views)) == (1, 0, ["v"])
            refused = door.post("/datasets/d/events", json={"rows": [row(5), row(6) | {"x": "0.255"}]})
            assert (refused.status_code, refused.json()["place"]) == (400, {"field": "rows.1.x"}), refused.text
            assert door.post("/datasets/d/events", json={"rows": [row(n) for n in range(1001)]}).status_code == 413
            assert door.post("/datasets/other/events", json={"rows": [row(7)]}).status_code == 404
            door.post("/datasets/d/events", json={"rows": [row(8, "gone")]})
            assert door.post("/datasets/d/events/withdraw", json={"column": "who", "value": "gone"}).json() == {
                "withdrawn": 1
            }
            assert online(door, "gone")["status"] == "UNKNOWN_ENTITY"
            assert counted(door, "a") == 3
            service.process.kill()
        with running_service("features", tmp_path / "features", environment) as service:
            door = httpx.Client(
                base_url=f"{service.http}/v1/tenants/north", headers=HEADERS, trust_env=False, timeout=60
            )
            assert counted(door, "a") == 3
            ingest.commit("north", "d", in_lake([row(2), row(4), row(9)]))
            wait_for(door, 4)
            assert door.post("/datasets/d/events", json={"rows": [row(9)]}).json()["known"] == 1
            assert counted(door, "a") == 4
            with connect(server.url, timeout_seconds=60) as client:
                client.flushall()
            wait_for(door, 4)
            assert online(door, "b")["status"] == "UNKNOWN_ENTITY"


def online(door: httpx.Client, who: str) -> dict[str, Any]:
    """The entity's count as the door tells it."""
    found = door.post(
        "/online-features", json={"views": ["v"], "rows": [{"keys": {"who": who}, "at": "2025-02-01T00:00:00Z"}]}
    )
    if found.status_code == 503:
        return {"value": -1, "status": "NOT_BUILT"}
    value: dict[str, Any] = found.raise_for_status().json()["rows"][0]["values"]["v.count_all"]
    return value


def counted(door: httpx.Client, who: str) -> float:
    """How many events there are."""
    return float(online(door, who)["value"])


def wait_for(door: httpx.Client, count: int) -> None:
    """Until `a` has so many events."""
    deadline = time.monotonic() + 60
    while counted(door, "a") != count:
        assert time.monotonic() < deadline, counted(door, "a")
        time.sleep(0.05)
