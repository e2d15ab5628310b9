"""Several workers behind one port: one is killed under load, and nobody but its own connections notices."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tests.support.fakes_predictor import FakeRegistry
from tests.support.ports import free_port
from tests.support.predictor_bundles import KEYS, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess, wait_until

HEADERS = {"authorization": f"Bearer {KEYS['acme']}"}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with one released version of `stay`."""
    fake = FakeRegistry().start()
    fake.add("acme", "stay", 1, visit_bundle())
    fake.add("acme", "stay", 2, visit_bundle(shift=1.0))
    fake.release("acme", "stay", 1)
    yield fake
    fake.stop()


@pytest.fixture
def started() -> Iterator[list[PredictorProcess]]:
    """Parents to end after the test; workers end with them."""
    found: list[PredictorProcess] = []
    yield found
    for predictor in found:
        if predictor.process is not None and predictor.process.poll() is None:
            predictor.stop()


def workers_of(predictor: PredictorProcess) -> dict[int, int]:
    """The process of each worker, as the parent said."""
    found = {}
    for line in predictor.log.read_text().splitlines():
        if "a worker was started" in line:
            said = json.loads(line)
            found[said["tenon.worker"]] = said["tenon.process"]
    return found


def ready(predictor: PredictorProcess) -> httpx.Response:
    """Ask on a fresh connection."""
    return httpx.get(f"{predictor.url}/readyz", timeout=60)


class Caller:
    """One keep-alive connection that asks without end, and opens a new one when it breaks."""

    def __init__(self, predictor: PredictorProcess) -> None:
        self.predictor = predictor
        self.answers: list[tuple[float, float, str]] = []
        self.broken: list[float] = []
        self.refused: list[str] = []
        self.ending = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        body = json.dumps(visit_request())
        while not self.ending:
            with httpx.Client(timeout=60, headers=HEADERS) as client:
                try:
                    while not self.ending:
                        answer = client.post(f"{self.predictor.url}/v2/models/stay/infer", content=body)
                        if answer.status_code != 200:
                            self.refused.append(answer.text)
                            continue
                        found = answer.json()
                        moment, version = time.monotonic(), found["parameters"]["version"]
                        self.answers.append((moment, found["outputs"][0]["data"][0], version))
                except httpx.HTTPError:
                    self.broken.append(time.monotonic())


def test_a_killed_worker_is_replaced_and_only_its_connections_break(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """Two workers under load, one killed: no request is refused, no answer is wrong, no caller waits long, readiness
    is gone until the replacement answers, and every answer of the dead is in the log of its folder."""
    predictor = PredictorProcess(tmp_path, registry=registry.port, extra={"TENON_PREDICTOR_WORKERS": "2"})
    started.append(predictor.start())
    wait_until(lambda: ready(predictor).status_code == 200, "both workers up")
    before = workers_of(predictor)
    assert sorted(before) == [0, 1]
    callers = [Caller(predictor) for _ in range(8)]
    wait_until(lambda: all(len(caller.answers) > 5 for caller in callers), "answers to all")
    killed_at = time.monotonic()
    os.kill(before[1], signal.SIGKILL)
    seen: list[tuple[float, int, Any]] = []

    def replaced() -> bool:
        answer = ready(predictor)
        seen.append((time.monotonic() - killed_at, answer.status_code, answer.json()["problems"]))
        return answer.status_code == 200 and any(code == 503 for _, code, _ in seen)

    wait_until(replaced, "not ready, then ready again")
    back_after = seen[-1][0]
    counts = [len(caller.answers) for caller in callers]
    wait_until(
        lambda: all(len(caller.answers) > count + 5 for caller, count in zip(callers, counts, strict=True)),
        "answers after the replacement",
    )
    for caller in callers:
        caller.ending = True
    for caller in callers:
        caller.thread.join(180)
    assert [caller.refused for caller in callers if caller.refused] == []
    answers = [item for caller in callers for item in caller.answers]
    assert len({(score, version) for _, score, version in answers}) == 1, "one version, one score"
    assert max(len(caller.broken) for caller in callers) <= 1, "a caller's connection breaks once at most"
    gaps = []
    for caller in callers:
        moments = [moment for moment, _, _ in caller.answers if moment > killed_at - 0.5]
        gaps.append(max(later - earlier for earlier, later in itertools.pairwise(moments)))
    assert max(gaps) < 15, f"the longest outage of a caller: {max(gaps):.3f} s"
    not_ready = [problems for _, code, problems in seen if code == 503]
    assert {"workers": "1 of 2 workers cannot answer: 1"} in not_ready
    after = workers_of(predictor)
    assert after[0] == before[0]
    assert after[1] != before[1]
    print(f"\nlongest gap of a caller {max(gaps):.3f} s, ready again after {back_after:.2f} s")
    assert "a worker ended; it is replaced" in predictor.log.read_text()


def test_metrics_are_everybodys_and_health_is_the_whole(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """Whichever worker answers /metrics: counts of both, each once, by worker. A release reaches both; gRPC is shared too."""
    predictor = PredictorProcess(tmp_path, registry=registry.port, extra={"TENON_PREDICTOR_WORKERS": "2"})
    started.append(predictor.start())
    for _ in range(60):
        # Without a client that keeps connections each goes to either of them.
        assert predictor.infer("stay", visit_request()).status_code == 200
    rows: dict[str, float] = {}
    lines = httpx.get(f"{predictor.url}/metrics", timeout=60).text.splitlines()
    for line in lines:
        if line.startswith("tenon_predictor_rows_total{"):
            rows[line.partition('worker="')[2][:1]] = float(line.rpartition(" ")[2])
    assert sorted(rows) == ["0", "1"]
    assert all(count > 5 for count in rows.values()), rows
    assert sum(rows.values()) == 60
    assert sum(line == "# TYPE tenon_predictor_rows_total counter" for line in lines) == 1
    assert {'tenon_workers_up{worker="0"} 1', 'tenon_workers_up{worker="1"} 1'} <= set(lines)
    for _ in range(10):
        assert predictor.metric("tenon_predictor_rows_total") == 60
    target = f"127.0.0.1:{predictor.grpc}"
    for number in range(6):
        # A channel of its own each time, or they would share a connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("tenon.number", number)]
        with grpc.insecure_channel(target, options=options) as channel:
            request = pb.ModelInferRequest(model_name="stay")
            for name, kind, field, value in (
                ("age", "FP64", "fp64_contents", 61.5), ("count", "INT64", "int64_contents", 3),
                ("urgent", "BOOL", "bool_contents", True), ("ward", "BYTES", "bytes_contents", b"north"),
            ):  # fmt: skip
                item = request.inputs.add(name=name, datatype=kind, shape=[1])
                getattr(item.contents, field).append(value)
            stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            metadata = [("authorization", HEADERS["authorization"])]
            assert stub.ModelInfer(request, timeout=60, metadata=metadata).model_version == "1"
            health = health_pb2_grpc.HealthStub(channel)
            asked = health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
            assert health.Check(asked, timeout=60).status == health_pb2.HealthCheckResponse.SERVING
    registry.release("acme", "stay", 2)
    wait_until(
        lambda: all(predictor.infer("stay", visit_request()).json()["parameters"]["version"] == "2" for _ in range(12)),
        "version 2 at both",
    )
    assert predictor.stop() == 0


def test_workers_end_when_their_parent_is_killed(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """Nobody is left on the port, and another parent can have it."""
    predictor = PredictorProcess(tmp_path, registry=registry.port, extra={"TENON_PREDICTOR_WORKERS": "2"})
    started.append(predictor.start())
    workers = workers_of(predictor)
    predictor.kill()

    def gone() -> bool:
        return not any(Path(f"/proc/{pid}/cmdline").exists() and alive(pid) for pid in workers.values())

    def alive(pid: int) -> bool:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    wait_until(gone, "the end of the workers", 180)
    predictor.start()
    assert predictor.infer("stay", visit_request()).status_code == 200


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"TENON_PREDICTOR_WORKERS": "many"}, 2, "TENON_PREDICTOR_WORKERS"),
        ({"TENON_PREDICTOR_WORKERS": "0"}, 2, "TENON_PREDICTOR_WORKERS"),
        ({"TENON_HTTP_PORT": "0"}, 2, "TENON_HTTP_PORT"),
        ({"TENON_VERIFY_KEY_FILE": "/nowhere.pem"}, 2, "TENON_VERIFY_KEY_FILE"),
    ],
)
def test_a_wrong_setting_is_said_once(tmp_path: Path, change: dict[str, str], code: int, word: str) -> None:
    """Not by each worker, and not again and again."""
    extra = {"TENON_PREDICTOR_WORKERS": "2", **change}
    predictor = PredictorProcess(tmp_path, registry=1, extra=extra)
    run = subprocess.run(predictor.command, env=predictor.env, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == code
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert word in line


def test_a_port_in_use_is_refused_also_where_ports_can_be_shared(tmp_path: Path) -> None:
    """Another service that would share it must not get half of the requests."""
    import socket

    port = free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        extra = {"TENON_PREDICTOR_WORKERS": "2", "TENON_HTTP_PORT": str(port)}
        predictor = PredictorProcess(tmp_path, registry=1, extra=extra)
        run = subprocess.run(
            predictor.command, env=predictor.env, capture_output=True, text=True, timeout=180, check=False
        )
    assert run.returncode == 3
    assert f"127.0.0.1:{port} cannot be listened on" in run.stderr


def test_the_parent_imports_next_to_nothing() -> None:
    """It is there to be small and to live."""
    code = "import tenon.kit.workers, sys; print(sorted({'pydantic', 'grpc', 'numpy', 'uvicorn', 'orjson'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    assert run.stdout.strip() == "[]"
