"""What the running service answers online and gives to train on: the same values, erased and rebuilt ones too."""

from __future__ import annotations

import math
import random
import struct
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
import pytest
import redis
from deltalake import DeltaTable

from tenon.api.features.v1 import features_pb2 as pb
from tests.support.fake_ingest import FakeIngest, lake_frame
from tests.support.features_service import DATASET, START, VIEW, WARD, Client, eventually, visits
from tests.support.redis import RedisServer, redis_binary

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")


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
    assert erased["erased"]["rows"] is None, "nobody says which file brought a row of this table"
    assert list((tmp_path / "blobs/features/north/training").glob("*.parquet")) == []
    again = client.training_set(["bill"], ["patient_history"])
    assert again.rows == sum(visit["patient"] != "p1" for visit in visits(100))
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
