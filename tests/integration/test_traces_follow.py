"""One request, one trace: across HTTP, gRPC and the queue, seen by a real OTLP receiver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from functools import partial
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc

from tests.support.platform import Platform, eventually, running_platform
from tests.support.redis import redis_binary

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Receiver(rpc.TraceServiceServicer):
    """Keeps which service made which spans in the trace of the test."""

    def __init__(self) -> None:
        self.spans: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def Export(
        self, request: pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> pb.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            names = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    if span.trace_id.hex() == TRACE:
                        with self._lock:
                            self.spans.add((names["service.name"], span.name))
        return pb.ExportTraceServiceResponse()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Receiver]]:
    receiver = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    rpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    extra = {"TENON_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with running_platform(tmp_path_factory.mktemp("traced") / "data", extra) as platform:
        example = tmp_path_factory.mktemp("example") / "shop"
        platform.result("init", str(example))
        platform.result("apply", "-f", str(example))
        platform.result("ingest", "orders", str(example / "orders.csv"))
        yield platform, receiver
    server.stop(0).wait()


def test_a_training_request_is_one_trace_through_the_queue(world: tuple[Platform, Receiver]) -> None:
    """From the HTTP door over Celery to the worker, and from there by gRPC to features, ingest and registry."""
    platform, receiver = world
    answer = httpx.post(
        f"{platform.urls['trainer']}/v1/tenants/corner-shop/models/returned/runs",
        headers={"authorization": f"Bearer {platform.admin_key}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
        content=b"{}",
        timeout=60,
    )
    assert answer.status_code == 202, answer.text
    wanted = {
        ("trainer", "POST /v1/tenants/{tenant}/models/{name}/runs"),
        ("features", "tenon.api.features.v1.FeatureService/BuildTrainingSet"),
        ("ingest", "tenon.api.ingest.v1.DatasetService/GetTable"),
        ("registry", "tenon.api.registry.v1.VersionService/RegisterVersion"),
    }
    eventually(lambda: wanted <= receiver.spans, f"the trace has {receiver.spans}, wanted {wanted}", seconds=180)


def test_the_log_lines_carry_the_trace(world: tuple[Platform, Receiver]) -> None:
    """A log line and its trace find each other by trace.id, in every service the request came through."""
    platform, _ = world
    for service in ("trainer", "features", "registry"):
        eventually(partial(_names_the_trace, platform.folder / "logs" / f"{service}.log"), f"{service} names the trace")


def _names_the_trace(log: Path) -> bool:
    return TRACE in log.read_text()


def test_nothing_is_exported_without_an_endpoint(tmp_path: Path) -> None:
    """The exporter is not even imported when no endpoint is set."""
    import subprocess
    import sys

    code = (
        "import sys; from tenon.kit.telemetry import configure_telemetry; configure_telemetry('x'); "
        "sys.exit(any('exporter.otlp' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path.cwd(), check=False).returncode == 0
