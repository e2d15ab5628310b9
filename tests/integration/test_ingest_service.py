"""Ingest as a process: both doors with real clients, caps, keys, events, and nothing private in its log."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import polars as pl
import pytest
import redis

from tenon.api.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from tests.support.ingest_process import ADMIN_KEY, FakeRegistry, IngestProcess, eventually
from tests.support.ingest_world import csv_of, visits
from tests.support.redis import RedisServer, running_redis

TENANTS = ["acme", "globex"]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """A real Redis."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def ingest(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngestProcess]:
    """A running ingest with small caps, and a registry that knows two tenants."""
    registry = FakeRegistry(TENANTS)
    more = {"TENON_INGEST_MAX_FILE_MIB": "1", "TENON_INGEST_MAX_TEXT_MIB": "8", "TENON_MAX_BODY_MIB": "1"}
    service = IngestProcess(tmp_path_factory.mktemp("ingest"), registry, redis_server.url, more=more).start()
    yield service
    assert service.stop() == 0
    registry.stop()


@pytest.fixture
def acme(ingest: IngestProcess) -> Iterator[httpx.Client]:
    """acme's own client, with the contract of visits applied."""
    with ingest.client("acme") as client:
        assert client.put("/datasets/visits", json=visits()).status_code == 200
        yield client


def send(client: httpx.Client, data: bytes, name: str = "visits.csv", **more: Any) -> httpx.Response:
    """Send a file and wait for its outcome."""
    return client.post("/datasets/visits/files", params={"name": name, "wait": "true"}, content=data, **more)


def test_a_file_becomes_rows_and_an_event(ingest: IngestProcess, acme: httpx.Client, redis_server: RedisServer) -> None:
    """From the upload to the table, the quarantine, the event and the gRPC door, all say the same."""
    answer = send(acme, csv_of((1, "a", "1.5"), (2, "b", "x")))
    batch = answer.json()
    assert (answer.status_code, batch["state"], batch["duplicate"]) == (200, "committed", False)
    assert (batch["rows_read"], batch["rows_committed"], batch["rows_quarantined"]) == (2, 1, 1)
    assert batch["quarantine_reasons"] == {"NOT_DECIMAL": 1}
    assert send(acme, csv_of((1, "a", "1.5"), (2, "b", "x")), "again.csv").json()["duplicate"] is True

    table = acme.get("/datasets/visits/table").json()
    assert pl.read_delta(table["uri"], version=table["version"])["visit"].to_list() == [1]
    assert acme.get("/datasets/visits").json()["table"] == table
    del batch["duplicate"]
    assert acme.get(f"/datasets/visits/batches/{batch['id']}").json() == batch
    rows = acme.get(f"/datasets/visits/batches/{batch['id']}/quarantine").json()
    assert rows["total"] == 1
    assert rows["rows"][0] | {"message": ""} == {
        "line": 3, "reason": "NOT_DECIMAL", "column": "fee", "value": "x", "message": "", "also": [],
    }  # fmt: skip

    def event() -> dict[bytes, bytes] | None:
        with redis.Redis.from_url(redis_server.url) as client:
            entries: Any = client.xrange("tenon:events:dataset_committed")
            return next((fields for _, fields in entries if fields[b"batch_id"] == batch["id"].encode()), None)

    fields = eventually("the event", event)
    assert (fields[b"tenant"], fields[b"dataset"], fields[b"table_uri"].decode()) == (b"acme", b"visits", table["uri"])
    assert int(fields[b"table_version"]) == table["version"]

    with grpc.insecure_channel(f"127.0.0.1:{ingest.grpc_port}") as channel:
        stub = ingest_pb2_grpc.DatasetServiceStub(channel)
        key = (("authorization", "Bearer key-of-acme"),)
        found = stub.GetTable(ingest_pb2.GetTableRequest(tenant="acme", dataset="visits"), metadata=key, timeout=60)
        assert (found.uri, found.version, found.rows) == (table["uri"], table["version"], table["rows"])
        assert json.loads(found.dataset.spec_json)["primaryKey"] == ["visit"]
        listed = stub.ListBatches(ingest_pb2.ListBatchesRequest(tenant="acme"), metadata=key, timeout=60).batches
        told = next(item for item in listed if item.id == batch["id"])
        assert (told.state, told.rows_committed, dict(told.quarantine_reasons)) == ("committed", 1, {"NOT_DECIMAL": 1})
        assert told.received_at.ToJsonString() == batch["received_at"]
        datasets = stub.ListDatasets(ingest_pb2.ListDatasetsRequest(tenant="acme"), metadata=key, timeout=60).datasets
        assert "visits" in [item.name for item in datasets]
        one = stub.GetDataset(ingest_pb2.GetDatasetRequest(tenant="acme", dataset="visits"), metadata=key, timeout=60)
        assert one.dataset.revision == 1


def test_somebody_is_forgotten(acme: httpx.Client, redis_server: RedisServer) -> None:
    """Their rows leave the table, the answer names the files that had them, readers are told; whoever is not named is not."""
    batch = send(acme, csv_of((901, "gone", 1), (902, "stays", 1), (903, "gone", 2)), "forget.csv").json()
    assert acme.post("/datasets/visits/erasures", json={"key": {"ward": "gone", "visit": 1}}).status_code == 400
    assert acme.post("/datasets/visits/erasures", json=[]).json()["reason"] == "SUBJECT_MISSING"
    assert (
        acme.post("/datasets/visits/erasures", json={"key": {"wrad": "gone"}}).json()["hint"] == "did you mean `ward`?"
    )
    assert acme.post("/datasets/visit/erasures", json={"key": {"ward": "gone"}}).status_code == 404
    erased = acme.post("/datasets/visits/erasures", json={"key": {"ward": "gone"}}).json()
    (file,) = erased["files"]
    assert (erased["rows"], file["batch"], file["file_name"]) == (2, batch["id"], "forget.csv")
    table = acme.get("/datasets/visits/table").json()
    assert table["version"] == erased["table_version"]
    rows = pl.read_delta(table["uri"], version=table["version"])["visit"].to_list()
    assert set(rows) & {901, 902, 903} == {902}

    def told() -> bool:
        with redis.Redis.from_url(redis_server.url) as client:
            entries: Any = client.xrange("tenon:events:dataset_committed")
            return any(fields[b"table_version"] == str(table["version"]).encode() for _, fields in entries)

    eventually("the event", told)


def test_without_waiting_the_answer_comes_at_once(acme: httpx.Client) -> None:
    """The batch can be followed afterwards, and stands first in the list."""
    answer = acme.post("/datasets/visits/files?name=late.csv", content=csv_of((77, "a", 1)))
    assert answer.status_code == 202
    path = f"/datasets/visits/batches/{answer.json()['id']}"
    eventually("the load", lambda: acme.get(path).json()["state"] == "committed")
    assert acme.get("/datasets/visits/batches?limit=1").json()["batches"][0]["file_name"] == "late.csv"


@pytest.mark.parametrize("way", ["name", "header"])
def test_gzip_is_read_by_name_or_by_header(acme: httpx.Client, way: str) -> None:
    """Both ways of saying that a body is gzip work."""
    packed = gzip.compress(csv_of((500 + len(way), way, 1)))
    if way == "name":
        answer = send(acme, packed, "packed.csv.gz")
    else:
        answer = send(acme, packed, "packed.csv", headers={"content-encoding": "gzip"})
    assert answer.json()["rows_committed"] == 1


@pytest.mark.parametrize(
    ("data", "name", "reason", "place"),
    [
        (b"", "empty.csv", "EMPTY_FILE", {"file": "empty.csv", "line": 1}),
        (
            b"visit,at,wrad,fee\n",
            "typo.csv",
            "COLUMN_UNKNOWN",
            {"file": "typo.csv", "line": 1, "column": 3, "field": "wrad"},
        ),
        (csv_of(("x", "a", 1)), "bad.csv", "NO_VALID_ROWS", {"file": "bad.csv", "line": 2, "field": "visit"}),
        (csv_of((1, "a", 1)) + b'2,"', "cut.csv", "QUOTE_UNTERMINATED", {"file": "cut.csv", "line": 3, "column": 3}),
        (b"\x89PNG\r\n\x1a\n\0\0", "photo.csv", "NOT_TEXT", {"file": "photo.csv", "line": 1}),
        (gzip.compress(b"visit,at,ward,fee\n" * 1_000_000), "bomb.csv.gz", "TEXT_TOO_LARGE", {"file": "bomb.csv.gz"}),
    ],
)
def test_bad_files_are_answered_with_the_place(
    acme: httpx.Client, data: bytes, name: str, reason: str, place: dict[str, Any]
) -> None:
    """A refused file is a 400 that names file, line and column; the batch stays to be looked at."""
    answer = send(acme, data, name)
    body = answer.json()
    assert (answer.status_code, body["reason"], body["place"]) == (400, reason, place)
    kept = acme.get(f"/datasets/visits/batches/{body['data']['batch']['id']}").json()
    assert (kept["state"], kept["problem"]["reason"]) == ("refused", reason)


def test_files_over_the_cap_are_413_with_and_without_a_declared_length(acme: httpx.Client) -> None:
    """The cap holds for the body as it arrives, not only for what the header says."""
    data = b"x" * (2 << 20)
    declared = send(acme, data, "big.csv")
    streamed = send(acme, iter([data[: 1 << 19]] * 4), "big.csv")  # type: ignore[arg-type]
    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["reason"]) == (413, "FILE_TOO_LARGE")
    assert acme.put("/datasets/visits", content=b" " * (2 << 20)).status_code == 413


def test_forms_and_unknown_encodings_are_415(acme: httpx.Client) -> None:
    """The hint says how to send the file."""
    form = acme.post("/datasets/visits/files?name=a.csv", files={"file": b"a"})
    assert (form.status_code, form.json()["hint"]) == (415, "curl --data-binary @FILE …?name=FILE")
    assert send(acme, b"a", headers={"content-encoding": "br"}).status_code == 415


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/datasets/visits"),
        ("GET", "/datasets"),
        ("GET", "/datasets/visits"),
        ("GET", "/datasets/visits/table"),
        ("POST", "/datasets/visits/files?name=a.csv"),
        ("POST", "/datasets/visits/erasures"),
        ("GET", "/datasets/visits/batches"),
        ("GET", "/datasets/visits/batches/x"),
        ("GET", "/datasets/visits/batches/x/quarantine"),
    ],
)
def test_every_route_needs_the_right_key(ingest: IngestProcess, acme: httpx.Client, method: str, path: str) -> None:
    """No key and a wrong key are 401; another tenant's key gets what a missing tenant gets; a reader may not write."""
    body = json.dumps(visits())
    for header in ({"authorization": ""}, {"authorization": "Bearer wrong"}):
        assert acme.request(method, path, content=body, headers=header).status_code == 401
    with ingest.client("acme", "key-of-globex") as stranger, ingest.client("no-such", "key-of-globex") as lost:
        theirs, nobodys = (client.request(method, path, content=body) for client in (stranger, lost))
    assert theirs.status_code == nobodys.status_code == 404
    same = [answer.text.replace(answer.json()["request_id"], "") for answer in (theirs, nobodys)]
    assert same[0] == same[1].replace("no-such", "acme")
    with ingest.client("acme", "reader-of-acme") as reader:
        allowed = reader.request(method, path, content=body).status_code
    assert (allowed == 403) == (method != "GET")


def test_a_contract_for_an_unknown_tenant_is_404(ingest: IngestProcess) -> None:
    """The operator's key opens every tenant that exists, and only those."""
    with ingest.client("nobody", ADMIN_KEY) as operator:
        answer = operator.put("/datasets/visits", json=visits())
    assert (answer.status_code, "nobody" in answer.json()["error"]) == (404, True)


def test_grpc_refusals_have_fitting_codes(ingest: IngestProcess, acme: httpx.Client) -> None:
    """No key, another tenant, no such data set, no rows yet."""
    acme.put("/datasets/hollow", json=visits(name="hollow"))
    with grpc.insecure_channel(f"127.0.0.1:{ingest.grpc_port}") as channel:
        stub = ingest_pb2_grpc.DatasetServiceStub(channel)

        def code(dataset: str, key: str | None) -> grpc.StatusCode:
            metadata = (("authorization", f"Bearer {key}"),) if key else ()
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetTable(ingest_pb2.GetTableRequest(tenant="acme", dataset=dataset), metadata=metadata, timeout=60)
            return caught.value.code()

        assert code("visits", None) is grpc.StatusCode.UNAUTHENTICATED
        assert code("visits", "key-of-globex") is grpc.StatusCode.NOT_FOUND
        assert code("visist", "key-of-acme") is grpc.StatusCode.NOT_FOUND
        assert code("hollow", "key-of-acme") is grpc.StatusCode.NOT_FOUND


def test_no_value_of_a_row_reaches_the_log_and_metrics_count(ingest: IngestProcess, acme: httpx.Client) -> None:
    """Neither good nor bad values are logged; rows and files are counted by outcome and reason."""
    send(acme, csv_of((900, "VALUE-OF-A-GOOD-ROW", 1), (901, "w", "VALUE-OF-A-BAD-ROW")), "private.csv")
    send(acme, csv_of((902, "w", "VALUE-OF-A-BAD-ROW")), "private2.csv")
    log = ingest.log.read_text()
    assert "VALUE-OF" not in log
    assert "key-of-acme" not in log
    metrics = httpx.get(f"{ingest.url}/metrics", trust_env=False, timeout=60).text
    for sample in (
        'tenon_ingest_files_total{outcome="committed"}',
        'tenon_ingest_files_refused_total{reason="NO_VALID_ROWS"}',
        'tenon_ingest_rows_quarantined_total{reason="NOT_DECIMAL"}',
        "tenon_ingest_load_duration_seconds_count",
        "tenon_ingest_rows_committed_total",
    ):
        assert sample in metrics
