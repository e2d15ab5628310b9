"""Monitor as a real process on a real Redis, beside a registry of gRPC stubs: called as its clients call it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import redis

from tenon.api.monitor.v1 import monitor_pb2, monitor_pb2_grpc
from tenon.core.manifest import CategoricalBaseline, NumericBaseline
from tests.support.fakes_monitor import ADMIN_KEY, FakeRegistry, MonitorProcess, running, wait_for
from tests.support.monitor_data import DAY, batch_document, categorical_baseline, manifest, numeric_baseline
from tests.support.redis import RedisServer, redis_binary, running_redis

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

RNG = np.random.default_rng(0)
KEYS = {"north": "key-of-north", "south": "key-of-south", "east": "key-of-east-reader"}


def probability(x: np.ndarray) -> np.ndarray:
    """The model."""
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def registry() -> Iterator[tuple[FakeRegistry, int]]:
    """Two versions of one model for each of two tenants."""
    x = RNG.normal(size=10_000)
    trained: dict[str, NumericBaseline | CategoricalBaseline] = {
        "x": numeric_baseline(x),
        "ward": categorical_baseline(RNG.choice(["a", "b"], size=10_000).tolist()),
    }
    figures = {"roc_auc": 0.735, "log_loss": 0.60, "brier": 0.208}
    manifests = {
        (tenant, "cost", version): manifest(trained, numeric_baseline(probability(x)), tenant=tenant, metrics=figures)
        for tenant in ("north", "south")
        for version in (1, 2)
    }
    fake = FakeRegistry(keys=KEYS, manifests=manifests)
    server, port = fake.start()
    yield fake, port
    server.stop(0)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the module."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def monitor(
    redis_server: RedisServer, registry: tuple[FakeRegistry, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MonitorProcess]:
    """One monitor for the module; tests use models of their own."""
    yield from running(MonitorProcess(tmp_path_factory.mktemp("monitor"), redis_server.url, registry[1]))


def now() -> int:
    """Now, in microseconds."""
    return time.time_ns() // 1000


def rows(count: int, shift: float = 0.0) -> tuple[np.ndarray, dict[str, Any]]:
    """Scores and columns."""
    x = RNG.normal(loc=shift, size=count)
    return probability(x), {"x": x, "ward": RNG.choice(["a", "b"], size=count).tolist()}


def ship(server: RedisServer, document: dict[str, Any]) -> None:
    """Put a batch on the stream, as the predictor does."""
    with redis.Redis.from_url(server.url) as client:
        client.xadd("tenon:predictions", {"batch": json.dumps(document)})


def taken(monitor: MonitorProcess, tenant: str, model: str = "cost") -> int:
    """How many predictions monitor has of a model."""
    with monitor.client(ADMIN_KEY) as client:
        models = client.get(f"/v1/tenants/{tenant}/models").json()["models"]
    return sum(seen["predictions"] for seen in models if seen["model"] == model)


def test_from_the_stream_to_the_verdict(monitor: MonitorProcess, redis_server: RedisServer) -> None:
    """Predictions from the stream and labels by JSON, CSV and gRPC become one report at both doors, a page, a verdict and gauges."""
    score, columns = rows(450, shift=1.0)
    outcome = (RNG.random(450) < score).astype(int).tolist()
    document = batch_document(score, columns, at=now() - 3_600_000_000, event_time=now() - 30 * DAY)
    ids = document["prediction_id"]
    with monitor.client(KEYS["north"]) as client:
        early = {"labels": [{"prediction_id": ids[0], "value": outcome[0]}]}
        answer = client.post("/v1/tenants/north/models/cost/labels", json=early).json()
        assert answer == {"accepted": 1, "matched": 0, "unmatched": 1}
        ship(redis_server, document)
        wait_for(lambda: taken(monitor, "north") == 450, "450 predictions are taken", log=monitor.log)

        sent = [{"prediction_id": name, "value": value} for name, value in zip(ids[:150], outcome[:150], strict=True)]
        assert client.post("/v1/tenants/north/models/cost/labels", json={"labels": sent}).json()["matched"] == 150
        lines = [f"{name},{value}" for name, value in zip(ids[150:300], outcome[150:300], strict=True)]
        csv = "\n".join(["prediction_id,value", *lines])
        headers = {"content-type": "text/csv; charset=utf-8"}
        answer = client.post("/v1/tenants/north/models/cost/labels", content=csv, headers=headers).json()
        assert answer["matched"] == 150

        with grpc.insecure_channel(f"127.0.0.1:{monitor.grpc_port}") as channel:
            stub = monitor_pb2_grpc.MonitorServiceStub(channel)
            metadata = (("authorization", f"Bearer {KEYS['north']}"),)
            records = [
                monitor_pb2.LabelRecord(prediction_id=name, value=value)
                for name, value in zip(ids[300:], outcome[300:], strict=True)
            ]
            request = monitor_pb2.RecordLabelsRequest(tenant="north", model="cost", labels=records)
            assert stub.RecordLabels(request, metadata=metadata, timeout=60).matched == 150
            asked = monitor_pb2.GetReportRequest(tenant="north", model="cost")
            by_grpc = stub.GetReport(asked, metadata=metadata, timeout=60).report

        report = client.get("/v1/tenants/north/models/cost/report").json()
        assert (report["drift_verdict"], report["predictions"], report["labels"]) == ("drift", 450, 450)
        assert report["quality_verdict"] == "as_expected"
        assert [column["column"] for column in report["columns"]][-1] == "ward"
        assert report["versions"][0]["label_delay_median_seconds"] == pytest.approx(30 * 86_400, rel=0.01)
        assert by_grpc.summary == report["summary"]
        assert [column.column for column in by_grpc.columns] == [column["column"] for column in report["columns"]]
        assert [figure.value for figure in by_grpc.quality] == [figure["value"] for figure in report["quality"]]

        page = client.get("/v1/tenants/north/models/cost/report.html")
        assert page.headers["content-type"].startswith("text/html")
        assert "Drift from version 1" in page.text

        def verdict_is_given() -> bool:
            history = client.get("/v1/tenants/north/models/cost/verdicts").json()["verdicts"]
            return bool(history) and history[0]["labels"] == 450

        wait_for(verdict_is_given, "the evaluator has judged all labels", log=monitor.log)
        assert client.get("/v1/tenants/north/models").json()["models"][0]["latest_verdict"]["drift_verdict"] == "drift"
        metrics = client.get("/metrics").text
        assert 'tenon_monitor_verdict{kind="drift",model="cost",tenant="north",verdict="drift"} 1.0' in metrics
        assert 'tenon_monitor_labels_matured_ratio{model="cost",tenant="north"} 1.0' in metrics


def test_tenants_do_not_see_each_other(monitor: MonitorProcess, redis_server: RedisServer) -> None:
    """Without a key, with a wrong one, with another tenant's or without the scope, every route refuses as documented."""
    score, columns = rows(5)
    ship(redis_server, batch_document(score, columns, tenant="south", model="private", at=now() - 1_000_000))
    wait_for(lambda: taken(monitor, "south", "private") == 5, "five predictions are taken", log=monitor.log)
    base = "/v1/tenants/south/models"
    gets = [base, f"{base}/private/report", f"{base}/private/report.html", f"{base}/private/verdicts"]
    labels = {"labels": [{"prediction_id": "p", "value": 1}]}
    for key, status in ((KEYS["north"], 404), ("wrong", 401)):
        with monitor.client(key) as client:
            for path in gets:
                assert client.get(path).status_code == status, path
                # Another tenant's thing looks exactly like one that does not exist.
                if status == 404:
                    assert client.get(path).json()["error"] == "there is no tenant 'south'"
            assert client.post(f"{base}/private/labels", json=labels).status_code == status
    with monitor.client(KEYS["east"]) as client:
        refused = client.post("/v1/tenants/east/models/cost/labels", json=labels)
        assert (refused.status_code, refused.json()["reason"]) == (403, "SCOPE_MISSING")
    with grpc.insecure_channel(f"127.0.0.1:{monitor.grpc_port}") as channel:
        stub = monitor_pb2_grpc.MonitorServiceStub(channel)
        request = monitor_pb2.GetReportRequest(tenant="south", model="private")
        for metadata, code in (
            ((), grpc.StatusCode.UNAUTHENTICATED),
            ((("authorization", f"Bearer {KEYS['north']}"),), grpc.StatusCode.NOT_FOUND),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetReport(request, metadata=metadata, timeout=60)
            assert caught.value.code() is code


def test_mistakes_are_named(monitor: MonitorProcess) -> None:
    """Wrong bodies and parameters are 4xx with a reason, the place and, where there is one, a way out."""
    with monitor.client(KEYS["north"]) as client:
        path = "/v1/tenants/north/models/cost/labels"
        answers = {
            "LABELS_INVALID": client.post(path, json=[]),
            "JSON_INVALID": client.post(path, content=b"{", headers={"content-type": "application/json"}),
            "LABELS_MEDIA_UNSUPPORTED": client.post(path, content=b"x", headers={"content-type": "text/plain"}),
            "CSV_INVALID": client.post(path, content=b"value\n1\n", headers={"content-type": "text/csv"}),
            "NAME_INVALID": client.post(
                "/v1/tenants/north/models/No-Model/labels", json={"labels": [{"prediction_id": "p", "value": 1}]}
            ),
            "MODEL_NOT_SEEN": client.get("/v1/tenants/north/models/unheard/report"),
            "TIME_INVALID": client.get("/v1/tenants/north/models/cost/report", params={"from": "yesterday"}),
            "WINDOW_EMPTY": client.get("/v1/tenants/north/models/cost/report", params={"from": "2099-01-01"}),
            "VALUE_UNKNOWN": client.get("/v1/tenants/north/models/cost/report", params={"by": "eventtime"}),
            "PARAMETER_UNKNOWN": client.get("/v1/tenants/north/models/cost/report", params={"since": "1"}),
            "REQUEST_INVALID": client.get("/v1/tenants/north/models/cost/report", params={"version": "one"}),
        }
    for reason, answer in answers.items():
        assert 400 <= answer.status_code < 500, reason
        assert answer.json()["reason"] == reason


def test_a_broken_entry_is_set_aside(monitor: MonitorProcess, redis_server: RedisServer) -> None:
    """An entry that is no batch goes to the dead-letter stream with its reason; those behind it are taken."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd("tenon:predictions", {"batch": b'{"batch_id": 1}'})
        score, columns = rows(3)
        ship(redis_server, batch_document(score, columns, tenant="south", model="behind", at=now() - 1_000_000))
        wait_for(
            lambda: taken(monitor, "south", "behind") == 3, "the entry behind is taken", log=monitor.log, seconds=180
        )
        dead = client.xrange("tenon:predictions:dead")
    assert b"batch_id of a prediction log batch must be text" in dead[-1][1][b"error"]


def test_a_kill_at_any_moment_counts_every_row_once(registry: tuple[FakeRegistry, int], tmp_path: Path) -> None:
    """Killed again and again while it takes a stream with repeats, monitor ends with each prediction exactly once."""
    batches = []
    for number in range(60):
        score, columns = rows(50)
        batches.append(
            batch_document(score, columns, tenant="south", model="killed", at=now() - 1_000_000, batch_id=f"k{number}")
        )
    with running_redis() as own, redis.Redis.from_url(own.url) as client:
        process = MonitorProcess(tmp_path, own.url, registry[1])
        process.start()
        try:
            for begin in range(0, 60, 15):
                for document in [*batches[begin : begin + 15], *batches[begin : begin + 3]]:
                    client.xadd("tenon:predictions", {"batch": json.dumps(document)})
                time.sleep(float(RNG.uniform(0, 0.05)))  # not a wait: the moment of the kill
                process.kill()
                process.start()

            def settled() -> bool:
                pending: Any = client.xpending("tenon:predictions", "monitor")
                return taken(process, "south", "killed") >= 3_000 and pending["pending"] == 0

            wait_for(settled, "everything is taken", seconds=180, log=process.log)
            assert taken(process, "south", "killed") == 3_000
            with process.client(KEYS["south"]) as reader:
                report = reader.get("/v1/tenants/south/models/killed/report").json()
            assert report["predictions"] == 3_000
        finally:
            assert process.stop() == 0


def test_verdicts_go_on_without_redis_and_registry(tmp_path: Path) -> None:
    """With Redis gone and the registry gone, also over a restart, reports still answer from what was kept."""
    x = RNG.normal(size=5_000)
    fake = FakeRegistry(keys=KEYS)
    fake.manifests["north", "cost", 1] = manifest({"x": numeric_baseline(x)}, numeric_baseline(probability(x)))
    server, port = fake.start()
    with running_redis() as own:
        process = MonitorProcess(tmp_path, own.url, port)
        process.start()
        try:
            score, columns = rows(300)
            ship(own, batch_document(score, {"x": columns["x"]}, at=now() - 1_000_000))
            wait_for(lambda: taken(process, "north") == 300, "taken", log=process.log)
            with process.client(KEYS["north"]) as client:
                before = client.get("/v1/tenants/north/models/cost/report").json()
            assert before["drift_verdict"] == "no_drift"
            server.stop(0).wait()
            own.stop()
            assert process.stop() == 0
            process.start()
            with process.client(KEYS["north"]) as client:
                after = client.get("/v1/tenants/north/models/cost/report").json()
            assert (after["drift_verdict"], after["predictions"]) == ("no_drift", 300)
        finally:
            process.stop()
    assert fake.version_calls == 1
