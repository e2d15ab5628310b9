"""The features service as a process, with a real Redis, real Delta tables and a stand-in for ingest."""

from __future__ import annotations

import math
import random
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import polars as pl
import pytest
import redis
from deltalake import DeltaTable

from tenon.api.features.v1 import features_pb2 as pb
from tenon.api.features.v1 import features_pb2_grpc
from tenon.core.specs import DatasetSpec
from tenon.core.timestamps import rfc3339
from tests.support.fake_ingest import FakeIngest, lake_frame, running_ingest
from tests.support.ports import free_port
from tests.support.redis import RedisServer, redis_binary, running_redis
from tests.support.service_process import ADMIN_KEY, SERVICE_TOKEN, ServiceProcess, running_service

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

DATASET = DatasetSpec.model_validate(
    {
        "name": "visits",
        "primaryKey": ["visit_id"],
        "eventTime": "arrived",
        "columns": {
            "visit_id": {"type": "integer"},
            "arrived": {"type": "timestamp"},
            "billed": {"type": "timestamp", "nullable": True},
            "patient": {"type": "string", "nullable": True},
            "ward": {"type": "integer"},
            "urgent": {"type": "boolean"},
            "fever": {"type": "float", "nullable": True, "knownAt": "billed"},
            "doctor": {"type": "string", "nullable": True, "knownAt": "billed"},
            "building": {"type": "string"},
            "bill": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "billed"},
        },
    }
)
VIEW = {
    "name": "patient_history",
    "dataset": "visits",
    "entity": ["patient"],
    "aggregates": [
        {"functions": ["count"], "windows": ["7d", "30d"]},
        {
            "column": "bill",
            "functions": ["count", "sum", "mean", "min", "max", "rate"],
            "windows": ["30d"],
            "above": 100,
        },
    ],
}
WARD = {
    "name": "ward_history",
    "dataset": "visits",
    "entity": ["ward", "urgent"],
    "aggregates": [
        {"column": "bill", "functions": ["mean", "max", "std", "first", "last", "distinct", "quantile", "since_last"],
         "quantiles": [0.5, 0.9], "windows": ["7d", "all"]},
        {"column": "patient", "functions": ["distinct"], "windows": ["7d"]},
        {"column": "fever", "functions": ["sum", "mean", "std", "max", "quantile"], "quantiles": [0.5], "windows": ["7d", "all"]},
        {"column": "doctor", "functions": ["first"], "windows": ["7d"]},
        {"column": "bill", "functions": ["sum"], "windows": ["30d"], "as": "dear", "where": {"bill": {"above": 99.99}}},
    ],
    "latest": [{"column": "bill", "ttl": "2d"}, {"column": "doctor", "ttl": "5d"}],
    "static": ["ward", "building"],
    "expressions": {"trend": "bill_mean_7d / bill_p50_all"},
}  # fmt: skip
START = datetime(2025, 1, 1, tzinfo=UTC)
HEADERS = {"authorization": f"Bearer {ADMIN_KEY}"}


def visits(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Visits over 60 days with bills that are known up to ten days later."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        arrived = START + timedelta(minutes=rng.randrange(60 * 24 * 60))
        rows.append(
            {
                "visit_id": number,
                "arrived": arrived,
                "billed": None if rng.random() < 0.05 else arrived + timedelta(minutes=rng.randrange(10 * 24 * 60)),
                "patient": None if rng.random() < 0.02 else f"p{rng.randrange(25)}",
                "ward": rng.randrange(4),
                "urgent": rng.random() < 0.3,
                "fever": None if number % 7 == 0 else 35 + (number * 2654435761 % 7919) / 1000,
                "doctor": None if number % 5 == 0 else f"Dr. {'ABÇD'[number % 4]}",
                "building": f"house {number % 2}",
                "bill": None if rng.random() < 0.1 else Decimal(rng.randrange(-500, 30_000)) / 100,
            }
        )
    return rows


def eventually(check: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The check's answer as soon as it is truthy."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Client:
    """Both doors of the service."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.http = httpx.Client(base_url=service.http, headers=HEADERS, timeout=60, trust_env=False)
        self._channel = grpc.insecure_channel(service.grpc, [("grpc.enable_http_proxy", 0)])
        self.stub = features_pb2_grpc.FeatureServiceStub(self._channel)
        self.metadata = [("authorization", f"Bearer {SERVICE_TOKEN}")]

    def apply(self, view: dict[str, Any], tenant: str = "north", **params: str) -> httpx.Response:
        """Put a view."""
        return self.http.put(f"/v1/tenants/{tenant}/feature-views/{view['name']}", json=view, params=params)

    def online_version(self, view: str, tenant: str = "north") -> int | None:
        """The table version that is online."""
        answer = self.http.get(f"/v1/tenants/{tenant}/feature-views/{view}").json()["online"]
        return answer["table_version"] if answer and answer["serves_this_revision"] else None

    def online(
        self, views: list[str], rows: list[tuple[dict[str, str], datetime]], *, packed: bool = False, digest: str = ""
    ) -> pb.GetOnlineFeaturesResponse:
        """Look up by gRPC; `digest` is the definition wanted of each view."""
        digests = dict.fromkeys(views, digest) if digest else {}
        request = pb.GetOnlineFeaturesRequest(tenant="north", views=views, packed=packed, view_digests=digests)
        for keys, at in rows:
            request.rows.add(keys=keys).at.FromDatetime(at)
        return self.stub.GetOnlineFeatures(request, metadata=self.metadata, timeout=60)

    def historical(
        self, views: list[str], rows: list[tuple[dict[str, str], datetime]]
    ) -> pb.GetHistoricalFeaturesResponse:
        """Compute anew by gRPC."""
        known = {"ward_history": ("ward", "urgent"), "patient_history": ("patient",)}
        names = {name for view in views for name in known[view]}
        request = pb.GetHistoricalFeaturesRequest(tenant="north", views=views)
        for keys, at in rows:
            request.rows.add(keys={name: text for name, text in keys.items() if name in names}).at.FromDatetime(at)
        return self.stub.GetHistoricalFeatures(request, metadata=self.metadata, timeout=60)

    def training_set(self, columns: list[str], views: list[str]) -> pb.BuildTrainingSetResponse:
        """Build by gRPC."""
        request = pb.BuildTrainingSetRequest(tenant="north", spine="visits", columns=columns, views=views)
        return self.stub.BuildTrainingSet(request, metadata=self.metadata, timeout=60)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A real Redis."""
    with running_redis() as server:
        yield server


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[FakeIngest]:
    """A stand-in for ingest, with the data set defined."""
    with running_ingest(tmp_path / "lake of tests") as fake:
        fake.define("north", DATASET)
        yield fake


@pytest.fixture
def environment(tmp_path: Path, redis_server: RedisServer, ingest: FakeIngest) -> dict[str, str]:
    """What the process is started with; the registry is not there, and platform keys work all the same."""
    return {
        "TENON_REDIS_URL": redis_server.url,
        "TENON_BLOB_URL": (tmp_path / "blobs").as_uri(),
        "TENON_INGEST_GRPC": ingest.target,
        "TENON_REGISTRY_GRPC": f"127.0.0.1:{free_port()}",
        "TENON_FEATURES_RECONCILE_SECONDS": "0.5",
    }


@pytest.fixture
def client(tmp_path: Path, environment: dict[str, str]) -> Iterator[Client]:
    """The running service."""
    with running_service("features", tmp_path / "features", environment) as service:
        yield Client(service)


def text_or_number(answer: Any, place: int, value: float) -> float | str:
    """The value of a feature by its place: texts are in the answer's table."""
    return answer.texts[int(value)] if place in answer.text_features and not math.isnan(value) else value


def bits(value: float | str | None) -> bytes:
    """The float's bytes, all missing values alike; a text's."""
    if isinstance(value, str):
        return b"text " + value.encode()
    return struct.pack("<d", math.nan if value is None or math.isnan(value) else value)


def test_online_equals_training_set(client: Client, ingest: FakeIngest, redis_server: RedisServer) -> None:
    """Every value of a training set is found online at the row's time, bit for bit, also after late corrections."""
    rows = visits(900)
    ingest.commit("north", "visits", lake_frame(DATASET, rows[:500]))
    for view in (VIEW, WARD):
        assert client.apply(view).json()["change"] == "created"
    eventually(lambda: client.online_version("patient_history") == 0 and client.online_version("ward_history") == 0)
    rows[3]["bill"], rows[4]["patient"] = Decimal("299.99"), "p1"
    shuffled = rows[:800]
    random.Random(2).shuffle(shuffled)
    version = ingest.commit("north", "visits", lake_frame(DATASET, shuffled), replace=True)
    with redis.Redis.from_url(redis_server.url) as events:
        events.xadd("tenon:events:dataset_committed", {"tenant": "north", "dataset": "visits", "batch_id": "b2",
                                                       "table_version": str(version), "table_uri": ""})  # fmt: skip
    eventually(lambda: client.online_version("patient_history") == version)
    eventually(lambda: client.online_version("ward_history") == version)

    # Rows that are only added, among them late ones, are added to what is held.
    version = ingest.commit("north", "visits", lake_frame(DATASET, rows[800:]))
    eventually(lambda: client.online_version("patient_history") == version)
    eventually(lambda: client.online_version("ward_history") == version)

    made = client.training_set(["bill", "urgent", "patient", "ward"], ["patient_history", "ward_history"])
    frame = pl.read_parquet(made.uri.removeprefix("file://").replace("%20", " "))
    assert frame.height == made.rows == 900
    assert frame["arrived"].dtype == pl.Int64
    assert frame["bill"].dtype == pl.Float64
    assert frame["urgent"].dtype == pl.Boolean
    assert frame["billed"].dtype == pl.Int64, "a carried column's knownAt column comes along"
    assert dict(made.dataset_versions) == {"visits": version}

    features = [name for name in frame.columns if "." in name]
    asked = []
    for row in frame.iter_rows(named=True):
        keys = {"ward": str(row["ward"]), "urgent": str(row["urgent"]).lower()}
        asked.append((keys | ({"patient": row["patient"]} if row["patient"] is not None else {}),
                      START + timedelta(microseconds=row["arrived"] - int(START.timestamp() * 1e6))))  # fmt: skip
    online = client.online(["patient_history", "ward_history"], asked)
    assert list(online.features) == features
    wrong = [
        (row, name)
        for row, (offline, answer) in enumerate(zip(frame.iter_rows(named=True), online.rows, strict=True))
        for place, (name, value) in enumerate(zip(features, answer.values, strict=True))
        if bits(offline[name]) != bits(text_or_number(online, place, value))
    ]
    assert not wrong
    assert {features[place] for place in online.text_features} == {
        f"ward_history.{name}" for name in ("doctor_first_7d", "doctor_latest", "building")
    }
    assert frame["ward_history.doctor_latest"].drop_nulls().n_unique() == 4
    keys = {name: asked[0][0][name] for name in ("ward", "urgent")}
    shown = client.http.post(
        "/v1/tenants/north/online-features",
        json={"views": ["ward_history"], "rows": [{"keys": keys, "at": asked[0][1].isoformat()}]},
    )
    assert shown.json()["rows"][0]["values"]["ward_history.building"]["value"] == frame["ward_history.building"][0]
    historical = client.historical(["ward_history"], asked[:40])
    recomputed = np.frombuffer(historical.values, "<f8").reshape(len(historical.features), -1)
    for place, name in enumerate(historical.features):
        found = [bits(text_or_number(historical, place, value)) for value in recomputed[place].tolist()]
        assert found == [bits(value) for value in frame[name][:40].to_list()], name
    packed = client.online(["patient_history", "ward_history"], asked, packed=True)
    assert (list(packed.features), list(packed.data_until)) == (list(online.features), list(online.data_until))
    columns = np.frombuffer(packed.columns.values, "<f8").reshape(len(features), -1)
    assert columns.T.tobytes() == np.array([row.values for row in online.rows]).tobytes()
    assert (list(packed.texts), list(packed.text_features)) == (list(online.texts), list(online.text_features))
    assert list(packed.columns.statuses[:900]) == [row.statuses[0] for row in online.rows]
    known = np.frombuffer(packed.columns.known_until, "<i8")[900:]
    assert np.maximum(known, 0).tolist() == [row.known_until[1].ToMicroseconds() for row in online.rows]
    assert frame["ward_history.trend"].null_count() < 700
    assert frame["ward_history.ward"].to_list() == frame["ward"].to_list()
    assert frame["patient_history.bill_mean_30d"].null_count() < 700


def test_training_sets_are_made_once_and_the_same(client: Client, ingest: FakeIngest, tmp_path: Path) -> None:
    """The same inputs give the same fingerprint and bytes; new data gives a new fingerprint."""
    ingest.commit("north", "visits", lake_frame(DATASET, visits(300)))
    client.apply(VIEW)
    first = client.training_set(["bill"], ["patient_history"])
    (path,) = (tmp_path / "blobs/features/north/training").glob("*.parquet")
    data = path.read_bytes()
    assert client.training_set(["bill"], ["patient_history"]) == first
    for file in path.parent.iterdir():
        file.unlink()
    again = client.training_set(["bill"], ["patient_history"])
    assert again.file_sha256 == first.file_sha256
    assert path.read_bytes() == data
    ingest.commit("north", "visits", lake_frame(DATASET, visits(310)[300:]))
    assert client.training_set(["bill"], ["patient_history"]).fingerprint != first.fingerprint


def test_erased_rows_leave_training_sets(
    client: Client, ingest: FakeIngest, redis_server: RedisServer, tmp_path: Path
) -> None:  # fmt: skip
    """The commit's event deletes the files of training sets that read erased rows; what they were stays, and says why."""
    ingest.commit("north", "visits", lake_frame(DATASET, visits(100)))
    table = DeltaTable(ingest.uri("north", "visits"))
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    client.apply(VIEW)
    made = client.training_set(["bill"], ["patient_history"])
    DeltaTable(ingest.uri("north", "visits")).delete("patient = 'p1'")
    with redis.Redis.from_url(redis_server.url) as events:
        events.xadd("tenon:events:dataset_committed", {"tenant": "north", "dataset": "visits"})

    def record() -> dict[str, Any] | None:
        (found,) = client.http.get("/v1/tenants/north/training-sets").json()["training_sets"]
        return found if found["erased"] else None

    erased = eventually(record)
    assert (erased["fingerprint"], erased["spine"], erased["rows"]) == (made.fingerprint, "visits", 100)
    assert erased["erased"]["rows"] == sum(visit["patient"] == "p1" for visit in visits(100))
    assert list((tmp_path / "blobs/features/north/training").glob("*.parquet")) == []
    again = client.training_set(["bill"], ["patient_history"])
    assert again.rows == 100 - erased["erased"]["rows"]
    newest, oldest = client.http.get("/v1/tenants/north/training-sets").json()["training_sets"]
    assert (newest["fingerprint"], newest["erased"]) == (again.fingerprint, None)
    assert oldest == erased
    assert client.http.get("/v1/tenants/south/training-sets").json() == {"training_sets": []}


def test_an_emptied_redis_is_rebuilt(client: Client, ingest: FakeIngest, redis_server: RedisServer) -> None:
    """With Redis down a lookup is refused quickly as unavailable; when it comes back empty the values are rebuilt."""
    ingest.commit("north", "visits", lake_frame(DATASET, visits(300)))
    client.apply(VIEW)
    eventually(lambda: client.online_version("patient_history") == 0)
    row = ({"patient": "p1"}, START + timedelta(days=58))
    before = client.online(["patient_history"], [row])
    redis_server.stop()
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as refused:
        client.online(["patient_history"], [row])
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    # Redis itself is given up on after a moment; the client would wait a minute.
    assert time.monotonic() - began < 30
    assert client.http.get("/readyz").status_code == 503
    redis_server.start()

    def answered() -> pb.GetOnlineFeaturesResponse | None:
        try:
            return client.online(["patient_history"], [row])
        except grpc.RpcError as err:
            if err.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return None

    assert eventually(answered, 30).SerializeToString() == before.SerializeToString()


def test_a_changed_view_is_swapped_whole(client: Client, ingest: FakeIngest) -> None:
    """While a definition changes, each answer is wholly the old or wholly the new one."""
    ingest.commit("north", "visits", lake_frame(DATASET, visits(500)))
    client.apply(VIEW)
    eventually(lambda: client.online_version("patient_history") == 0)
    row = ({"patient": "p1"}, START + timedelta(days=58))
    old = list(client.online(["patient_history"], [row]).rows[0].values)
    changed = VIEW | {"aggregates": VIEW["aggregates"][:1]}
    assert client.apply(changed).json() | {"spec": None} == {
        "change": "updated", "tenant": "north", "name": "patient_history", "revision": 2, "spec": None,
        "digest": client.http.get("/v1/tenants/north/feature-views/patient_history").json()["digest"],
        "features": ["patient_history.count_7d", "patient_history.count_30d"],
    }  # fmt: skip

    def swapped() -> bool:
        answer = client.online(["patient_history"], [row])
        values = list(answer.rows[0].values)
        assert len(answer.features) == len(values)
        assert values in (old, old[:2])
        return len(values) == 2

    eventually(swapped)


def test_a_model_keeps_its_definition(client: Client, ingest: FakeIngest, redis_server: RedisServer) -> None:
    """Asked for by digest, the definition of before answers without a gap while another takes its place, takes in new
    data beside it, and comes back after Redis was emptied."""
    ingest.commit("north", "visits", lake_frame(DATASET, visits(500)))
    digest = client.apply(VIEW).json()["digest"]
    eventually(lambda: client.online_version("patient_history") == 0)
    row = ({"patient": "p1"}, START + timedelta(days=58))
    old = list(client.online(["patient_history"], [row], digest=digest).rows[0].values)
    client.apply(VIEW | {"aggregates": VIEW["aggregates"][:1]})

    def both() -> bool:
        kept = client.online(["patient_history"], [row], digest=digest, packed=True)
        assert np.frombuffer(kept.columns.values).tolist() == old
        return len(client.online(["patient_history"], [row]).features) == 2

    eventually(both)
    assert both()
    late = [visit | {"arrived": row[1] - timedelta(hours=1), "patient": "p1"} for visit in visits(501)[500:]]
    ingest.commit("north", "visits", lake_frame(DATASET, late))

    def grown() -> bool:
        try:
            return client.online(["patient_history"], [row], digest=digest).rows[0].values[0] == old[0] + 1
        except grpc.RpcError as err:
            if err.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False

    eventually(grown)
    with redis.Redis.from_url(redis_server.url) as emptied:
        emptied.flushall()
    eventually(grown, 180)
    with pytest.raises(grpc.RpcError) as refused:
        client.online(["patient_history"], [row], digest="0" * 64)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_http_door(client: Client, ingest: FakeIngest) -> None:
    """The HTTP door applies, shows and looks up; what it refuses names the thing and the place."""
    ingest.commit("north", "visits", lake_frame(DATASET, visits(300)))
    assert client.apply(VIEW, dry_run="true").json()["change"] == "created"
    assert client.http.get("/v1/tenants/north/feature-views").json() == {"feature_views": []}
    assert client.apply(VIEW).json()["revision"] == 1
    assert client.apply(VIEW).json()["change"] == "unchanged"
    eventually(lambda: client.online_version("patient_history") == 0)
    body = {
        "views": ["patient_history"],
        "rows": [{"keys": {"patient": "p1"}, "at": "2025-02-20T00:00:00Z"}, {"keys": {"patient": "nobody"}},
                 {"keys": {}}, {"keys": {"patient": "p1"}, "at": "2020-01-01T00:00:00Z"}],
    }  # fmt: skip
    answer = client.http.post("/v1/tenants/north/online-features", json=body).json()
    values = [row["values"]["patient_history.count_30d"] for row in answer["rows"]]
    assert [value["status"] for value in values] == ["PRESENT", "UNKNOWN_ENTITY", "MISSING", "BEFORE_HORIZON"]
    assert values[0]["value"] > 0
    assert values[1]["value"] == 0
    assert values[2]["value"] is None
    assert answer["rows"][0]["known_until"]["patient_history"].endswith("Z")
    assert answer["data_until"]["patient_history"] >= answer["rows"][0]["known_until"]["patient_history"][:10]
    message = client.online(["patient_history"], [({"patient": "p1"}, START)])
    assert rfc3339(message.data_until[0].ToMicroseconds()) == answer["data_until"]["patient_history"]

    wrong_column = VIEW | {"entity": ["pateint"]}
    refused = client.apply(wrong_column)
    assert refused.status_code == 400
    assert refused.json()["place"] == {"field": "entity.0"}
    assert "patient" in refused.json()["hint"]
    assert client.apply(VIEW | {"dataset": "visit"}).status_code == 400
    misspelt = {"views": ["patient_history"], "rows": [{"keys": {"patiant": "p1"}}]}
    refused = client.http.post("/v1/tenants/north/online-features", json=misspelt)
    assert refused.status_code == 400
    assert refused.json()["reason"] == "ENTITY_KEY_UNKNOWN"
    refused = client.http.post("/v1/tenants/north/online-features", json={"views": ["patient_histor"], "rows": []})
    assert refused.status_code == 404
    assert "patient_history" in refused.json()["hint"]
    assert client.http.get("/v1/tenants/south/feature-views/patient_history").status_code == 404
    assert (
        httpx.get(f"{client.service.http}/v1/tenants/north/feature-views", trust_env=False, timeout=60).status_code
        == 401
    )
    assert "tenon_features_online_lag_versions" in client.http.get("/metrics").text


def test_feast_s_clients_are_answered(client: Client, ingest: FakeIngest) -> None:
    """`/get-online-features` takes Feast's request and answers in its form, a column for each name."""
    ingest.commit("north", "visits", lake_frame(DATASET, visits(300)))
    client.apply(VIEW)
    eventually(lambda: client.online_version("patient_history") == 0)
    body: dict[str, Any] = {
        "entities": {"patient": ["p1", "nobody", None]},
        "features": ["patient_history:count_30d", "patient_history:bill_mean_30d"],
        "full_feature_names": True,
    }
    for path, headers in (
        ("/v1/tenants/north/get-online-features", {}),
        ("/get-online-features", {"x-tenon-tenant": "north"}),
    ):
        answer = client.http.post(path, json=body, headers=headers).json()
        assert answer["metadata"] == {
            "feature_names": ["patient", "patient_history__count_30d", "patient_history__bill_mean_30d"]
        }
        keys, counts, means = answer["results"]
        assert keys["values"] == ["p1", "nobody", None]
        assert keys["statuses"] == ["PRESENT", "PRESENT", "NULL_VALUE"]
        # Nothing of 2025 is in the last 30 days: a count is 0 then, a mean is missing.
        assert (counts["values"], counts["statuses"]) == ([0, 0, None], ["PRESENT", "NOT_FOUND", "NULL_VALUE"])
        assert (means["values"], means["statuses"]) == ([None] * 3, ["NULL_VALUE", "NOT_FOUND", "NULL_VALUE"])
        assert means["event_timestamps"] == ["1970-01-01T00:00:00Z"] * 3
    for change, reason in (
        ({"features": ["patient_history:cuont"]}, "FEATURE_UNKNOWN"), ({"features": ["count_30d"]}, "FEATURE_INVALID"),
        ({"entities": {"patient": ["a"], "x": []}}, "ENTITIES_UNEVEN"), ({"features": None}, "FEATURES_MISSING"),
        ({"features": body["features"][:1] * 2}, "FEATURE_TWICE"),
    ):  # fmt: skip
        refused = client.http.post("/v1/tenants/north/get-online-features", json=body | change)
        assert (refused.status_code, refused.json()["reason"]) == (400, reason)
    assert client.http.post("/get-online-features", json=body).json()["reason"] == "TENANT_MISSING"


def test_nothing_ingested_yet(client: Client, ingest: FakeIngest) -> None:
    """A view of an empty data set is served (nobody was ever seen); a training set of it is refused with a way out."""
    client.apply(VIEW)
    eventually(lambda: client.online_version("patient_history") == -1)
    answer = client.online(["patient_history"], [({"patient": "p1"}, START)])
    assert answer.rows[0].statuses[0] == pb.FEATURE_STATUS_UNKNOWN_ENTITY
    assert answer.rows[0].values[0] == 0
    with pytest.raises(grpc.RpcError) as refused:
        client.training_set(["bill"], ["patient_history"])
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
