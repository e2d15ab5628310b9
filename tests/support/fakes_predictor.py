"""What the predictor talks to, as in-process gRPC servers that a test drives, and small signed bundles."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tenon.api.features.v1 import features_pb2, features_pb2_grpc
from tenon.api.registry.v1 import registry_pb2 as pb
from tenon.api.registry.v1 import registry_pb2_grpc
from tenon.bundle import Forest, Linear, Numeric, OneHot, Pipeline, generate_key_pair, write_bundle
from tenon.bundle.contributions import cover_to_npy
from tenon.bundle.pipeline import Transform
from tests.support.ports import free_port

PRIVATE_PEM, PUBLIC_PEM = generate_key_pair()
SERVICE_TOKEN = "service-token-for-tests"
ADMIN_KEY = "admin-key-for-tests"
KEYS = {"acme": "acme-key-for-tests", "globex": "globex-key-for-tests"}


def signing_key() -> Ed25519PrivateKey:
    """The key that the test's predictors trust."""
    key = load_pem_private_key(PRIVATE_PEM, None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def stump_forest(features: int, *, shift: float = 0.0, objective: str = "logistic") -> Forest:
    """A small forest: for each feature one split at 0.5, missing goes right; `shift` tells versions apart."""
    left, right, feature, threshold, default = [], [], [], [], []
    for index in range(features):
        left += [1, -1, -1]
        right += [2, -1, -1]
        feature += [index, 0, 0]
        threshold += [0.5, -0.25, 0.25 + index / 8]
        default += [False, False, False]
    offsets = np.arange(0, 3 * features + 1, 3, dtype=np.int32)
    return Forest(
        features,
        np.float32(shift),
        objective,
        offsets,
        np.array(left, np.int32),
        np.array(right, np.int32),
        np.array(feature, np.int32),
        np.array(threshold, np.float32),
        np.array(default, np.bool_),
    )


def manifest_of(
    tenant: str, model: str, inputs: Sequence[tuple[str, str, str, bool]], *, engine: str = "tenon-forest",
    output: str = "probability", views: dict[str, list[str]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A manifest with everything that must be there."""
    evaluation = {"rows": 10, "positives": 4, "metrics": {"roc_auc": 0.75}}
    return {
        "format": 1,
        "tenant": tenant,
        "model": model,
        "task": "binary" if output == "probability" else "regression",
        "created_at": "2026-11-01T00:00:00Z",
        "engine": engine,
        "signature": {
            "inputs": [
                {"name": name, "type": kind, "source": source, "nullable": nullable} for name, kind, source, nullable in inputs
            ],
            "output": output,
            "views": views or {},
        },
        "lineage": {
            "run_id": "run-1", "spec_digest": "0" * 64, "dataset": "visits", "dataset_version": 3,
            "training_set_digest": "1" * 64, "code_version": "test", "environment": {}, "seed": 7,
        },
        "evidence": {
            "estimator": "xgboost", "train_rows": 10, "train_from": "2024-01-01T00:00:00Z", "train_to": "2025-01-01T00:00:00Z",
            "test_from": "2025-01-02T00:00:00Z", "test_to": "2025-02-01T00:00:00Z", "gap": "1d",
            "model": evaluation, "baseline": evaluation,
        },
        "baseline": {
            "columns": {},
            "score": {"kind": "numeric", "rows": 10, "missing": 0, "edges": [0.5], "counts": [5, 5], "mean": 0.5, "iqr": 0.1},
        },
        "parity": {"rows": 10, "max_difference": 0.0},
        "files": {},
    }  # fmt: skip


VISIT_INPUTS = (
    ("age", "float", "request", True),
    ("count", "integer", "request", False),
    ("urgent", "boolean", "request", True),
    ("ward", "string", "request", True),
)
HISTORY_INPUTS = (
    ("visits.cost_mean_30d", "float", "history", True),
    ("visits.count_30d", "integer", "history", True),
    ("patient_id", "string", "entity", True),
    ("arrived_at", "timestamp", "event_time", True),
)
WARDS = ("east", "north", "west")


def visit_bundle(
    tenant: str = "acme",
    model: str = "stay",
    *,
    shift: float = 0.0,
    history: bool = False,
    cover: bool = True,
    threshold: float | None = None,
    key: Ed25519PrivateKey | None = None,
    fallback: dict[str, Any] | None = None,
) -> bytes:
    """A bundle with a number, an integer, a boolean and a string, and with `history` two history features.

    With `fallback` it has that ladder; the second model, where the ladder has one, reads the age alone.
    """
    inputs = [*VISIT_INPUTS, *(HISTORY_INPUTS if history else ())]
    steps: list[Transform] = [Numeric("age"), Numeric("count"), Numeric("urgent"), OneHot("ward", WARDS)]
    if history:
        steps += [Numeric("visits.cost_mean_30d"), Numeric("visits.count_30d")]
    pipeline = Pipeline(tuple(steps))
    forest = stump_forest(pipeline.width, shift=shift)
    files = {"pipeline.json": pipeline.to_json(), "forest.npz": forest.to_npz()}
    if cover:
        # A third of the training rows went left at each split.
        files["cover.npy"] = cover_to_npy(np.tile(np.array([9, 3, 6], np.float32), forest.trees))
    manifest = manifest_of(tenant, model, inputs, views={"visits": ["patient_id"]} if history else None)
    if fallback is not None:
        second = {"engine": "tenon-forest"} if "without_history" in fallback["steps"] else None
        manifest["fallback"] = {"declared": fallback, "prior": 0.25, "without_history": second}
        if second is not None:
            files["without_history/pipeline.json"] = Pipeline((Numeric("age"),)).to_json()
            files["without_history/forest.npz"] = stump_forest(1, shift=shift - 1.0).to_npz()
    return write_bundle(manifest | {"threshold": threshold}, files, key or signing_key())


def linear_bundle(
    tenant: str = "acme", model: str = "price", weights: Sequence[float] = (2.0, 3.0), *, explained: bool = False,
    key: Ed25519PrivateKey | None = None,
) -> bytes:  # fmt: skip
    """A linear model of numeric columns x0, x1, …: intercept 1; with `explained` training means of 0.5 and an interval."""
    names = [f"x{index}" for index in range(len(weights))]
    pipeline = Pipeline(tuple(Numeric(name) for name in names))
    files = {
        "pipeline.json": pipeline.to_json(),
        "linear.json": Linear(tuple(weights), 1.0, "identity").to_json(),
    }
    inputs = [(name, "float", "request", False) for name in names]
    manifest = manifest_of(tenant, model, inputs, engine="tenon-linear", output="prediction")
    if explained:
        part = {"rows": 10, "missing": 0, "edges": [0.5], "counts": [5, 5], "mean": 0.5, "iqr": 0.1}
        manifest["baseline"]["columns"] = dict.fromkeys(names, part)
        manifest["evidence"]["interval"] = {
            "coverage": 0.9, "edges": [10.0], "low": [-1.0, -4.0], "high": [2.0, 8.0], "least": 0.0,
            "calibration_rows": 50, "measured_coverage": 0.91, "measured_rows": 50,
            "measured_blocks": [0.9, 0.92], "mean_width": 5.0,
        }  # fmt: skip
    return write_bundle(manifest, files, key or signing_key())


def sha256(data: bytes) -> str:
    """The digest of a bundle."""
    return hashlib.sha256(data).hexdigest()


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


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """Poll until the condition holds; fails the test naming what was waited for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for: {what}")


class PredictorProcess:
    """A real predictor process."""

    def __init__(
        self,
        folder: Path,
        *,
        registry: int,
        features: int = 1,
        redis_url: str = "",
        extra: dict[str, str] | None = None,
    ) -> None:
        self.http, self.grpc = free_port(), free_port()
        self.folder = folder
        verify = folder / "verify.pem"
        folder.mkdir(parents=True, exist_ok=True)
        verify.write_bytes(PUBLIC_PEM)
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TENON_")},
            "TENON_HTTP_PORT": str(self.http),
            "TENON_GRPC_PORT": str(self.grpc),
            "TENON_DATA_DIR": str(folder / "data"),
            "TENON_REGISTRY_GRPC": f"127.0.0.1:{registry}",
            "TENON_FEATURES_GRPC": f"127.0.0.1:{features}",
            "TENON_REDIS_URL": redis_url,
            "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
            "TENON_ADMIN_KEY": ADMIN_KEY,
            "TENON_VERIFY_KEY_FILE": str(verify),
            "TENON_LOG_LEVEL": "INFO",
            # On a busy machine a prediction waits longer for its history, so that a test is about what it is about.
            "TENON_PREDICTOR_HISTORY_TIMEOUT_MS": "10000",
            **(extra or {}),
        }
        self.command = [sys.executable, "-m", "services.predictor"]
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self.http}"
        self.log = folder / "predictor.log"

    def start(self, *, ready: bool = True) -> PredictorProcess:
        """Run it, and by default wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log)
        path = "/readyz" if ready else "/healthz"
        wait_until(lambda: self._answers(path), f"{path} of the predictor\n{self.log.read_text()[-3000:]}", 180)
        return self

    def _answers(self, path: str) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the predictor ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        try:
            return httpx.get(self.url + path, timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """End it as the kernel would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as an operator would; gives the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=180)
        self.process.kill()
        raise AssertionError("the predictor did not end after SIGTERM")

    def infer(
        self, model: str, body: Any, *, key: str = KEYS["acme"], path: str = "", **headers: str
    ) -> httpx.Response:
        """POST an inference request."""
        return httpx.post(
            f"{self.url}/v2/models/{model}{path}/infer",
            json=body,
            headers={"authorization": f"Bearer {key}", **headers},
            timeout=60,
        )

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        total = 0.0
        for line in httpx.get(self.url + "/metrics", timeout=60).text.splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                total += float(line.rsplit(" ", 1)[1])
        return total


def visit_request(rows: int = 1, **given: Any) -> dict[str, Any]:
    """An inference request for `visit_bundle`."""
    columns: dict[str, tuple[str, list[Any]]] = {
        "age": ("FP64", [61.5] * rows),
        "count": ("INT64", [3] * rows),
        "urgent": ("BOOL", [True] * rows),
        "ward": ("BYTES", ["north"] * rows),
    }
    columns.update(given)
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [rows], "data": data}
            for name, (kind, data) in columns.items()
            if data
        ]
    }
