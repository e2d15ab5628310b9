"""SIGTERM: readiness goes first, answers go on, connections are handed back in order, and nothing is lost."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.kit.events import PREDICTIONS
from tenon.kit.prediction_batches import unpack_batch
from tests.integration.test_services_start import SERVICES, settings
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import KEYS, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess, wait_until
from tests.support.redis import RedisServer, redis_binary
from tests.support.service_process import ROOT

NO_PROXY = [("grpc.enable_http_proxy", 0)]
AUTH = [("authorization", f"Bearer {KEYS['acme']}")]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry that releases one model."""
    fake = FakeRegistry().start()
    fake.add("acme", "stay", 1, visit_bundle())
    fake.release("acme", "stay", 1)
    yield fake
    fake.stop()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_says_that_it_leaves_and_goes_on_answering(service: str, tmp_path: Path) -> None:
    """Not ready and NOT_SERVING at once, while requests are answered for TENON_DRAIN_SECONDS; a second signal hurries, for
    somebody at a terminal need not wait for endpoints that nobody withdraws."""
    environment = settings(tmp_path, TENON_DRAIN_SECONDS="600", TENON_FINISH_SECONDS="2")
    url = f"http://127.0.0.1:{environment['TENON_HTTP_PORT']}"
    with (tmp_path / "log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        wait_until(lambda: answers(url), f"/healthz of {service}", 180)
        kept = http.client.HTTPConnection("127.0.0.1", int(environment["TENON_HTTP_PORT"]), timeout=60)
        assert get(kept, "/healthz") == (200, None)
        with grpc.insecure_channel(f"127.0.0.1:{environment['TENON_GRPC_PORT']}", NO_PROXY) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1
            process.terminate()
            wait_until(lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 2, "NOT_SERVING")
        # The connection of before is handed back with the next answer, not cut.
        assert get(kept, "/healthz") == (200, "close")
        answer = httpx.get(f"{url}/readyz", timeout=60, trust_env=False)
        assert answer.status_code == 503
        assert answer.json()["problems"] == {"stopping": "the process was told to stop"}
        assert answer.headers["connection"] == "close"
        process.terminate()
        assert process.wait(180) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_it_ends_by_itself_when_the_time_is_over(tmp_path: Path) -> None:
    """Nobody needs to tell it twice."""
    environment = settings(tmp_path, TENON_DRAIN_SECONDS="1.5")
    process = subprocess.Popen([sys.executable, "-m", "services.monitor"], cwd=ROOT, env=environment)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{environment['TENON_HTTP_PORT']}"), "/healthz", 180)
        told = time.monotonic()
        process.terminate()
        assert process.wait(180) == 0
        assert time.monotonic() - told >= 1.5
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=10, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str | None]:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection")


class Endpoints:
    """What a Kubernetes Service is to its clients: the replicas that said they are ready a moment ago."""

    def __init__(self, replicas: list[PredictorProcess]) -> None:
        self.replicas = replicas
        self.ready = list(replicas)
        self.asked: Counter[tuple[str, int]] = Counter()
        self.failures: list[str] = []
        self.answered: list[str] = []
        self.ending = False
        self._lock = threading.Lock()

    def watch(self) -> None:
        """As the kubelet and the endpoints' controller: slowly."""
        while not self.ending:
            self.ready = [item for item in self.replicas if self._is_ready(item)]
            time.sleep(0.2)

    def of(self, replica: PredictorProcess) -> int:
        """How many requests a replica has answered."""
        return sum(count for (_, port), count in self.asked.copy().items() if port == replica.http)

    def _is_ready(self, replica: PredictorProcess) -> bool:
        try:
            return httpx.get(f"{replica.url}/readyz", timeout=60, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, door: str, open_client: Callable[[PredictorProcess], Callable[[], str]]) -> None:
        """One client after another request, with a connection for each replica that it keeps."""
        clients: dict[int, Callable[[], str]] = {}
        turn = 0
        while not self.ending:
            ready, turn = self.ready, turn + 1
            replica = ready[turn % len(ready)]
            client = clients.get(replica.http) or clients.setdefault(replica.http, open_client(replica))
            try:
                prediction = client()
            except (OSError, http.client.HTTPException, AssertionError, grpc.RpcError) as err:
                self.failures.append(f"{door}: {err!r}")
                return
            with self._lock:
                self.asked[door, replica.http] += 1
                self.answered.append(prediction)


BODY = json.dumps(visit_request())


def rest(replica: PredictorProcess) -> Callable[[], str]:
    """A client that keeps its connection for as long as the server wants it."""
    connection = http.client.HTTPConnection("127.0.0.1", replica.http, timeout=60)

    def ask() -> str:
        connection.request("POST", "/v2/models/stay/infer", BODY, {"authorization": AUTH[0][1]})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status == 200, found
        return str(found["parameters"]["prediction_id"])

    return ask


def rpc(replica: PredictorProcess) -> Callable[[], str]:
    """A client with one channel."""
    channel = grpc.insecure_channel(f"127.0.0.1:{replica.grpc}", NO_PROXY)
    stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
    inputs = []
    for column in visit_request()["inputs"]:
        field = {"FP64": "fp64", "INT64": "int64", "BOOL": "bool", "BYTES": "bytes"}[column["datatype"]]
        data = [item.encode() if isinstance(item, str) else item for item in column["data"]]
        tensor = pb.ModelInferRequest.InferInputTensor(
            name=column["name"], datatype=column["datatype"], shape=column["shape"]
        )
        getattr(tensor.contents, f"{field}_contents").extend(data)
        inputs.append(tensor)
    request = pb.ModelInferRequest(model_name="stay", inputs=inputs)

    def ask() -> str:
        return str(stub.ModelInfer(request, metadata=AUTH, timeout=60).parameters["prediction_id"].string_param)

    return ask


def logged(url: str) -> set[str]:
    """Every prediction in the stream."""
    with redis.Redis.from_url(url) as client:
        return {text for _, fields in client.xrange(PREDICTIONS) for text in unpack_batch(fields)["prediction_id"]}


@pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_replica_that_leaves_fails_nobody(
    workers: str, tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """One of two replicas is told to stop under load over both doors: no request fails, it answers until its clients have
    gone elsewhere, and all its answers are in the log when it has ended."""
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    server.start()
    extra = {"TENON_PREDICTOR_WORKERS": workers}
    replicas: list[PredictorProcess] = []
    try:
        for name, drain in (("a", "600"), ("b", "0")):
            # One after the other: a port that was free is not for long on a busy machine.
            replicas.append(
                PredictorProcess(
                    tmp_path / name,
                    registry=registry.port,
                    redis_url=server.url,
                    extra={**extra, "TENON_DRAIN_SECONDS": drain},
                )
            )
            started.append(replicas[-1].start())
        endpoints = Endpoints(replicas)
        threads = [threading.Thread(target=endpoints.watch)]
        threads += [threading.Thread(target=endpoints.ask, args=("REST", rest)) for _ in range(3)]
        threads += [threading.Thread(target=endpoints.ask, args=("gRPC", rpc)) for _ in range(3)]
        for thread in threads:
            thread.start()
        leaver = replicas[0]
        assert leaver.process is not None
        wait_until(lambda: min(endpoints.asked[door, leaver.http] for door in ("REST", "gRPC")) > 100, "load", 180)
        leaver.process.terminate()
        before = endpoints.asked.copy()
        seen = 0

        def left_alone() -> bool:
            """Whether all its clients have gone elsewhere since the last look."""
            nonlocal seen
            looked, seen = seen, endpoints.of(leaver)
            rest = endpoints.of(replicas[1])
            wait_until(
                lambda: endpoints.of(replicas[1]) > rest + 60 or endpoints.failures, "load on the other one", 180
            )
            return leaver not in endpoints.ready and seen == looked

        wait_until(left_alone, "the clients to go elsewhere", 180)
        leaver.process.terminate()  # It need not wait any longer.
        assert leaver.process.wait(180) == 0
        left = endpoints.asked.copy()
        wait_until(lambda: endpoints.asked.total() > left.total() + 200 or endpoints.failures, "load on the other one")
        endpoints.ending = True
        for thread in threads:
            thread.join(timeout=180)
        assert endpoints.failures == []
        assert left["REST", leaver.http] > before["REST", leaver.http]
        assert left["gRPC", leaver.http] > before["gRPC", leaver.http]
        assert replicas[1].stop() == 0
        assert set(endpoints.answered) <= logged(server.url)
    finally:
        server.stop()
