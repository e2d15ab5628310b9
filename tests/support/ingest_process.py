"""A real ingest process for tests, and a small registry in the test's own process that it asks."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx

from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tests.support.ports import free_port
from tests.support.service_process import ADMIN_KEY, ROOT, SERVICE_TOKEN

__all__ = ["ADMIN_KEY", "FakeRegistry", "IngestProcess", "eventually"]

T = TypeVar("T")


def eventually(what: str, check: Callable[[], T | None], seconds: float = 120.0) -> T:
    """The first truthy answer of `check`; fails after `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = check()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class FakeRegistry(registry_pb2_grpc.TenantServiceServicer, registry_pb2_grpc.CredentialServiceServicer):
    """Knows some tenants; the key of each is `key-of-<tenant>`, and `reader-of-<tenant>` may only read."""

    def __init__(self, tenants: Iterable[str]) -> None:
        self.tenants = set(tenants)
        self.asked: list[str] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        registry_pb2_grpc.add_TenantServiceServicer_to_server(self, self._server)
        registry_pb2_grpc.add_CredentialServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        """End at once."""
        self._server.stop(None).wait()

    def GetTenant(self, request: Any, context: Any) -> Any:
        """See the proto."""
        self.asked.append(request.tenant)
        if request.tenant not in self.tenants:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no tenant {request.tenant!r}")
        return registry_pb2.GetTenantResponse(tenant=registry_pb2.Tenant(name=request.tenant, revision=1))

    def ListCredentials(self, request: Any, context: Any) -> Any:
        """See the proto."""

        def credential(tenant: str, kind: str, scopes: list[str]) -> Any:
            digest = hashlib.sha256(f"{kind}-of-{tenant}".encode()).hexdigest()
            return registry_pb2.Credential(key_id=f"{kind}-{tenant}", key_sha256=digest, tenant=tenant, scopes=scopes)

        found = [credential(tenant, "key", ["predict", "read", "write"]) for tenant in sorted(self.tenants)]
        found += [credential(tenant, "reader", ["read"]) for tenant in sorted(self.tenants)]
        return registry_pb2.ListCredentialsResponse(revision=1, credentials=found)


@dataclass
class IngestProcess:
    """`python -m services.ingest` on free ports, with everything it keeps under one folder."""

    folder: Path
    registry: FakeRegistry
    redis_url: str
    database_url: str = ""
    more: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.http_port, self.grpc_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.log = self.folder / "ingest.log"

    def start(self, *, wait: bool = True) -> IngestProcess:
        """Start (again), by default until ready."""
        env = os.environ | {
            "TENON_HTTP_PORT": str(self.http_port),
            "TENON_GRPC_PORT": str(self.grpc_port),
            "TENON_DATABASE_URL": self.database_url or f"sqlite:///{self.folder / 'ingest.db'}",
            "TENON_REDIS_URL": self.redis_url,
            "TENON_BLOB_URL": (self.folder / "blobs").absolute().as_uri(),
            "TENON_DATA_DIR": str(self.folder / "private"),
            "TENON_REGISTRY_GRPC": f"127.0.0.1:{self.registry.port}",
            "TENON_ADMIN_KEY": ADMIN_KEY,
            "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
            "TENON_FINISH_SECONDS": "1",
            **self.more,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest"], cwd=ROOT, env=env, stdout=log, stderr=log
            )
        if wait:
            eventually("readiness of ingest", self._ready, 180)
        return self

    def _ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"ingest ended with {self.process.returncode}: {self.log.read_text()[-3000:]}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it as a power cut would, as far as a process can tell."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(180)

    def stop(self) -> int:
        """End it politely; gives the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(180)

    def client(self, tenant: str, key: str | None = None) -> httpx.Client:
        """An HTTP client at the tenant's address, by default with the tenant's key."""
        return httpx.Client(
            base_url=f"{self.url}/v1/tenants/{tenant}",
            headers={"authorization": f"Bearer {key or f'key-of-{tenant}'}"},
            timeout=120,
            trust_env=False,
        )
