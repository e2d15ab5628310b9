"""A registry as a process of its own, and clients of both doors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.bundle.keys import generate_key_pair, load_signing_key
from tests.support.ports import free_port
from tests.support.registry_bundles import make_bundle, sha256

ROOT = Path(__file__).resolve().parent.parent.parent
ADMIN_KEY, SERVICE_TOKEN = "test-admin-key", "test-service-token"
START_SECONDS = 180.0
CHUNK = 64 << 10


@dataclass
class RegistryProcess:
    """One registry on free ports of loopback, with its data under `folder`."""

    folder: Path
    database_url: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    http_port: int = 0
    grpc_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "sign.pem").exists():
            private, public = generate_key_pair()
            (self.folder / "sign.pem").write_bytes(private)
            (self.folder / "verify.pem").write_bytes(public)
        self.database_url = self.database_url or f"sqlite:///{self.folder}/registry.db"
        self.http_port = self.http_port or free_port()
        self.grpc_port = self.grpc_port or free_port()

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        """What a trainer would sign with."""
        return load_signing_key(self.folder / "sign.pem")

    @property
    def log(self) -> str:
        """What the process has said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def environment(self) -> dict[str, str]:
        """The variables the process reads."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "TENON_HTTP_PORT": str(self.http_port),
            "TENON_GRPC_PORT": str(self.grpc_port),
            "TENON_DATABASE_URL": self.database_url,
            "TENON_BLOB_URL": f"file://{self.folder}/blobs",
            "TENON_DATA_DIR": str(self.folder),
            "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
            "TENON_ADMIN_KEY": ADMIN_KEY,
            "TENON_VERIFY_KEY_FILE": str(self.folder / "verify.pem"),
            **self.extra,
        }

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the program and do not wait."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.registry"], env=self.environment(), cwd=ROOT, stdout=log, stderr=log
            )
        return self.process

    def start(self) -> RegistryProcess:
        """Start the program and wait until it is ready."""
        process = self.launch()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the registry did not start:\n{self.log}")
            time.sleep(0.05)

    def stop(self) -> int:
        """Ask the program to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(180)

    def kill(self) -> None:
        """End the program at once, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def url(self) -> str:
        """Of the HTTP door."""
        return f"http://127.0.0.1:{self.http_port}"

    def http(self, key: str | None = ADMIN_KEY) -> httpx.Client:
        """A client of the HTTP door."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def make_tenant(self, tenant: str, *scopes: str) -> str:
        """Apply a tenant and give a key for it."""
        with self.http() as admin:
            admin.put(f"/v1/tenants/{tenant}", json={"name": tenant}).raise_for_status()
            wanted = list(scopes or ("predict", "read", "write"))
            answer = admin.post(f"/v1/tenants/{tenant}/keys", json={"scopes": wanted})
            return str(answer.raise_for_status().json()["key"])


class GrpcClient:
    """A client of the gRPC door that shows one key."""

    def __init__(self, registry: RegistryProcess, key: str = SERVICE_TOKEN) -> None:
        self._registry = registry
        self.channel = grpc.insecure_channel(f"127.0.0.1:{registry.grpc_port}", [("grpc.enable_http_proxy", 0)])
        self.metadata = (("authorization", f"Bearer {key}"),)
        self.versions = registry_pb2_grpc.VersionServiceStub(self.channel)
        self.releases = registry_pb2_grpc.ReleaseServiceStub(self.channel)
        self.tenants = registry_pb2_grpc.TenantServiceStub(self.channel)
        self.credentials = registry_pb2_grpc.CredentialServiceStub(self.channel)

    def register(
        self, tenant: str, model: str, run_id: str, failed_gates: tuple[str, ...] = (), padding: int = 0
    ) -> registry_pb2.Version:
        """Send a good bundle."""
        data = make_bundle(self._registry.signing_key, tenant, model, run_id, failed_gates, padding)
        return self.send(tenant, model, run_id, data)

    def send(self, tenant: str, model: str, run_id: str, data: bytes, **header: Any) -> registry_pb2.Version:
        """Send any bytes, under a header that may lie."""
        values = {"bundle_sha256": sha256(data), "size_bytes": len(data)} | header
        return self.send_messages(tenant, model, run_id, data, values)

    def send_messages(
        self, tenant: str, model: str, run_id: str, data: bytes, values: dict[str, Any]
    ) -> registry_pb2.Version:
        """The stream itself."""

        def messages() -> Iterator[registry_pb2.RegisterVersionRequest]:
            header = registry_pb2.RegisterVersionHeader(tenant=tenant, model=model, run_id=run_id, **values)
            yield registry_pb2.RegisterVersionRequest(header=header)
            for start in range(0, len(data), CHUNK):
                yield registry_pb2.RegisterVersionRequest(chunk=data[start : start + CHUNK])

        answer = self.versions.RegisterVersion(messages(), metadata=self.metadata, timeout=60)
        return answer.version

    def set_release(self, tenant: str, model: str, stable: int, **wish: Any) -> registry_pb2.Release:
        """Release versions."""
        request = registry_pb2.SetReleaseRequest(tenant=tenant, model=model, stable_version=stable, **wish)
        return self.releases.SetRelease(request, metadata=self.metadata, timeout=60).release

    def watch(self, *tenants: str) -> Any:
        """The stream of releases."""
        request = registry_pb2.WatchReleasesRequest(tenants=tenants)
        return self.releases.WatchReleases(request, metadata=self.metadata)

    def close(self) -> None:
        """Hang up."""
        self.channel.close()


def next_release(stream: Iterator[registry_pb2.WatchReleasesResponse]) -> registry_pb2.Release:
    """The next release that a watch tells of; what it says in between only shows that it lives."""
    return next(message.release for message in stream if message.HasField("release"))


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    """The gRPC code and text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    assert isinstance(error, grpc.Call)
    return error.code().name, error.details() or ""
