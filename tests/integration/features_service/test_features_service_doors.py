"""The doors of the running service: what they apply, show, look up and refuse."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
import pytest

from tenon.api.features.v1 import features_pb2 as pb
from tenon.core.timestamps import rfc3339
from tests.support.fake_ingest import FakeIngest, lake_frame
from tests.support.features_service import DATASET, START, VIEW, Client, eventually, visits
from tests.support.redis import redis_binary

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")


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
