"""What the predictor talks to, as in-process gRPC servers that a test drives."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np

from tenon.api.features.v1 import features_pb2, features_pb2_grpc
from tenon.api.registry.v1 import registry_pb2 as pb
from tenon.api.registry.v1 import registry_pb2_grpc
from tests.support.predictor_bundles import KEYS, sha256


class FakeRegistry:
    """Credentials, bundles, releases and serving reports, in memory."""

    def __init__(self, port: int = 0) -> None:
        self.bundles: dict[tuple[str, str, int], bytes] = {}
        self.releases: dict[tuple[str, str], pb.Release] = {}
        self.reports: list[pb.ReportServingRequest] = []
        self.downloads = 0
        self.chunk_bytes = 1000
        self.keys = dict(KEYS)
        self.quotas: dict[str, dict[str, Any]] = {}
        self._watchers: list[queue.Queue[Any]] = []
        self._lock = threading.Lock()
        self.port = port
        self._server: grpc.Server | None = None

    def start(self) -> FakeRegistry:
        """Listen (on the same port again after a stop)."""
        server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        registry_pb2_grpc.add_CredentialServiceServicer_to_server(_Credentials(self), server)
        registry_pb2_grpc.add_TenantServiceServicer_to_server(_Tenants(self), server)
        registry_pb2_grpc.add_VersionServiceServicer_to_server(_Versions(self), server)
        registry_pb2_grpc.add_ReleaseServiceServicer_to_server(_Releases(self), server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        server.start()
        self._server = server
        return self

    def stop(self) -> None:
        """Go down at once; open streams end."""
        with self._lock:
            for watcher in self._watchers:
                watcher.put(None)
            self._watchers.clear()
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def add(self, tenant: str, model: str, version: int, data: bytes) -> None:
        """Have a version to download."""
        self.bundles[(tenant, model, version)] = data

    def release(
        self, tenant: str, model: str, stable: int, *, canary: int = 0, permille: int = 0, shadow: int = 0,
        digest: str | None = None,
    ) -> int:  # fmt: skip
        """Make a release and tell everybody; gives the revision. Version 0 as stable withdraws."""
        old = self.releases.get((tenant, model))
        release = pb.Release(tenant=tenant, model=model, revision=(old.revision if old else 0) + 1)
        for role, version, weight in (
            (pb.ROLE_STABLE, stable, 0), (pb.ROLE_CANARY, canary, permille), (pb.ROLE_SHADOW, shadow, 0),
        ):  # fmt: skip
            if version:
                found = digest or sha256(self.bundles[(tenant, model, version)])
                release.tracks.add(role=role, version=version, bundle_sha256=found, weight_permille=weight)
        self.releases[(tenant, model)] = release
        with self._lock:
            for watcher in self._watchers:
                watcher.put(release)
        return release.revision

    def served(self, tenant: str, model: str) -> pb.ServedModel | None:
        """The newest report of a model."""
        for report in reversed(self.reports[-1:]):
            for item in report.models:
                if (item.tenant, item.model) == (tenant, model):
                    return item
        return None

    def watch(self) -> queue.Queue[Any]:
        """A queue of what is released from now on."""
        fresh: queue.Queue[Any] = queue.Queue()
        with self._lock:
            self._watchers.append(fresh)
        return fresh


class _Credentials(registry_pb2_grpc.CredentialServiceServicer):
    def __init__(self, fake: FakeRegistry) -> None:
        self._fake = fake

    def ListCredentials(self, request: Any, context: Any) -> Any:
        answer = pb.ListCredentialsResponse(revision=1)
        for tenant, key in self._fake.keys.items():
            digest = hashlib.sha256(key.encode()).hexdigest()
            answer.credentials.add(key_id=f"{tenant}-1", key_sha256=digest, tenant=tenant, scopes=["predict", "read"])
        return answer


class _Tenants(registry_pb2_grpc.TenantServiceServicer):
    def __init__(self, fake: FakeRegistry) -> None:
        self._fake = fake

    def ListQuotas(self, request: Any, context: Any) -> Any:
        quotas = [pb.TenantQuotas(tenant=tenant, **given) for tenant, given in self._fake.quotas.items()]
        return pb.ListQuotasResponse(revision=0, quotas=quotas)


class _Versions(registry_pb2_grpc.VersionServiceServicer):
    def __init__(self, fake: FakeRegistry) -> None:
        self._fake = fake

    def GetVersion(self, request: Any, context: Any) -> Any:
        data = self._fake.bundles.get((request.tenant, request.model, request.version))
        if data is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such version")
            raise AssertionError
        return pb.GetVersionResponse(version=pb.Version(version=request.version, bundle_sha256=sha256(data)))

    def DownloadBundle(self, request: Any, context: Any) -> Iterator[Any]:
        self._fake.downloads += 1
        data = self._fake.bundles.get((request.tenant, request.model, request.version))
        if data is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such version")
            return
        size = self._fake.chunk_bytes
        for start in range(0, len(data), size):
            yield pb.DownloadBundleResponse(chunk=data[start : start + size])


class _Releases(registry_pb2_grpc.ReleaseServiceServicer):
    def __init__(self, fake: FakeRegistry) -> None:
        self._fake = fake

    def WatchReleases(self, request: Any, context: Any) -> Iterator[Any]:
        news = self._fake.watch()
        for release in list(self._fake.releases.values()):
            yield pb.WatchReleasesResponse(release=release)
        yield pb.WatchReleasesResponse(synced=True)
        while context.is_active():
            try:
                release = news.get(timeout=0.5)
            except queue.Empty:
                yield pb.WatchReleasesResponse()
                continue
            if release is None:
                return
            yield pb.WatchReleasesResponse(release=release)

    def ReportServing(self, request: Any, context: Any) -> Any:
        self._fake.reports.append(request)
        return pb.ReportServingResponse()


class FakeFeatures(features_pb2_grpc.FeatureServiceServicer):
    """Answers history by patient; can be slow or broken."""

    def __init__(self, port: int = 0) -> None:
        self.values: dict[str, tuple[float, float]] = {}
        self.known_seconds_ago = 60.0
        self.data_seconds_ago: float | None = None
        self.delay = 0.0
        self.awake = threading.Event()
        """Ends a delay that has begun."""
        self.fail = False
        self.calls: list[Any] = []
        self.port = port
        self._server: grpc.Server | None = None

    def start(self) -> FakeFeatures:
        """Listen."""
        server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        features_pb2_grpc.add_FeatureServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        server.start()
        self._server = server
        return self

    def stop(self) -> None:
        """Go down at once."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def GetOnlineFeatures(self, request: Any, context: Any) -> Any:
        """Two features of the view `visits`."""
        self.calls.append(request)
        if self.delay:
            self.awake.wait(self.delay)
        if self.fail:
            context.abort(grpc.StatusCode.INTERNAL, "broken on purpose")
        answer = features_pb2.GetOnlineFeaturesResponse(features=["visits.cost_mean_30d", "visits.count_30d"])
        for patient, at in _asked(request):
            line = answer.rows.add(values=self.values.get(patient, (float("nan"), 0.0)))
            line.known_until.add().FromMicroseconds(at - int(self.known_seconds_ago * 1e6))
        if self.data_seconds_ago is not None:
            answer.data_until.add().FromMicroseconds(int((time.time() - self.data_seconds_ago) * 1e6))
        if request.packed:
            table = np.array([row.values for row in answer.rows], "<f8").reshape(-1, 2)
            answer.columns.values = table.T.tobytes()
            answer.columns.statuses = bytes(np.where(np.isnan(table.T), 2, 1).astype(np.uint8).tobytes())
            known = [row.known_until[0].ToMicroseconds() for row in answer.rows]
            answer.columns.known_until = np.array(known, "<i8").tobytes()
            answer.ClearField("rows")
        return answer


def _asked(request: Any) -> list[tuple[str, int]]:
    """Whom a lookup in columns asks for, and when."""
    times = list(request.at_micros)
    texts = next((list(column.texts) for column in request.keys if column.name == "patient_id"), [""] * len(times))
    return list(zip(texts, times * len(texts) if len(times) == 1 else times, strict=True))
