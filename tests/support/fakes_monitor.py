"""A registry for monitor's tests: real gRPC, made-up credentials and versions; and monitor as a real process."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx

from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenon.core.manifest import Manifest

ROOT = Path(__file__).resolve().parent.parent.parent
ADMIN_KEY = "test-admin-key"
SERVICE_TOKEN = "test-service-token"


@dataclass
class FakeRegistry(
    registry_pb2_grpc.CredentialServiceServicer, registry_pb2_grpc.VersionServiceServicer,
    registry_pb2_grpc.TenantServiceServicer, registry_pb2_grpc.ReleaseServiceServicer,
):  # fmt: skip
    """Answers what monitor asks: credentials, manifests, tenants and releases."""

    keys: dict[str, str] = field(default_factory=dict)  # tenant to key
    manifests: dict[tuple[str, str, int], Manifest] = field(default_factory=dict)
    version_calls: int = 0
    releases: list[registry_pb2.Release] = field(default_factory=list)  # the newest of a model last
    trials: list[registry_pb2.Trial] = field(default_factory=list)
    reported: list[registry_pb2.ReportVerdictRequest] = field(default_factory=list)

    def ListCredentials(self, request: Any, context: grpc.ServicerContext) -> Any:
        credentials = [
            registry_pb2.Credential(
                key_id=f"key-{tenant}", key_sha256=hashlib.sha256(key.encode()).hexdigest(), tenant=tenant,
                scopes=["predict", "read"] if key.endswith("-reader") else ["predict", "read", "write"],
            )
            for tenant, key in self.keys.items()
        ]  # fmt: skip
        return registry_pb2.ListCredentialsResponse(revision=1, credentials=credentials)

    def GetVersion(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.version_calls += 1
        manifest = self.manifests.get((request.tenant, request.model, request.version))
        if manifest is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such version")
        assert manifest is not None
        return registry_pb2.GetVersionResponse(
            version=registry_pb2.Version(
                tenant=request.tenant, model=request.model, version=request.version, bundle_sha256="0" * 64,
                manifest_json=manifest.model_dump_json().encode(),
            )
        )  # fmt: skip

    def ListTenants(self, request: Any, context: grpc.ServicerContext) -> Any:
        return registry_pb2.ListTenantsResponse(tenants=[registry_pb2.Tenant(name=name) for name in self.keys])

    def WatchReleases(self, request: Any, context: grpc.ServicerContext) -> Any:
        newest = {(one.tenant, one.model): one for one in self.releases}
        for release in newest.values():
            if not request.tenants or release.tenant in request.tenants:
                yield registry_pb2.WatchReleasesResponse(release=release)
        yield registry_pb2.WatchReleasesResponse(synced=True)

    def ListReleaseHistory(self, request: Any, context: grpc.ServicerContext) -> Any:
        of_it = [one for one in self.releases if (one.tenant, one.model) == (request.tenant, request.model)]
        return registry_pb2.ListReleaseHistoryResponse(releases=of_it[::-1])

    def ListTrials(self, request: Any, context: grpc.ServicerContext) -> Any:
        return registry_pb2.ListTrialsResponse(trials=self.trials)

    def ReportVerdict(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.reported.append(request)
        return registry_pb2.ReportVerdictResponse(acted=True)

    def start(self) -> tuple[grpc.Server, int]:
        """A server on a free port."""
        server = grpc.server(futures.ThreadPoolExecutor(4))
        registry_pb2_grpc.add_CredentialServiceServicer_to_server(self, server)
        registry_pb2_grpc.add_VersionServiceServicer_to_server(self, server)
        registry_pb2_grpc.add_TenantServiceServicer_to_server(self, server)
        registry_pb2_grpc.add_ReleaseServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, port


class MonitorProcess:
    """`python -m services.monitor` on free ports, as `tenon up` starts it."""

    def __init__(self, folder: Path, redis_url: str, registry_port: int, **settings: str) -> None:
        self.http_port, self.grpc_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "monitor.log"
        self._environment = {
            **os.environ,
            "TENON_HTTP_PORT": str(self.http_port),
            "TENON_GRPC_PORT": str(self.grpc_port),
            "TENON_DATABASE_URL": f"sqlite:///{folder}/monitor.db",
            "TENON_REDIS_URL": redis_url,
            "TENON_DATA_DIR": str(folder),
            "TENON_REGISTRY_GRPC": f"127.0.0.1:{registry_port}",
            "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
            "TENON_ADMIN_KEY": ADMIN_KEY,
            "TENON_MONITOR_EVALUATE_SECONDS": "0.5",
            "TENON_MONITOR_CANARY_SECONDS": "0.5",
            "TENON_MONITOR_CLAIM_AFTER_SECONDS": "1",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> MonitorProcess:
        """Start, and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.monitor"], cwd=ROOT, env=self._environment, stderr=log, stdout=log
            )
        wait_for(self._ready, "monitor is ready", seconds=180, log=self.log)
        return self

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-4000:]
        try:
            return httpx.get(f"{self.url}/readyz", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=180)

    def stop(self) -> int:
        """End it with SIGTERM; gives the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=180)

    def client(self, key: str) -> httpx.Client:
        """An HTTP client with a key."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=60)


def wait_for(condition: Any, what: str, *, seconds: float = 120.0, log: Path | None = None) -> None:
    """Poll until `condition()` holds; fails after a deadline, with the end of the log."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            tail = log.read_text()[-4000:] if log is not None else ""
            raise AssertionError(f"not within {seconds} s: {what}\n{tail}")
        time.sleep(0.02)


def running(process: MonitorProcess) -> Iterator[MonitorProcess]:
    """For fixtures: started, and ended whatever happens."""
    process.start()
    try:
        yield process
    finally:
        process.stop()
