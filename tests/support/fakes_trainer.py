"""What the trainer talks to, as one small gRPC server in the test's own process: ingest, features and registry."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import polars as pl

from tenon.api.features.v1 import features_pb2, features_pb2_grpc
from tenon.api.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.specs import spec_digest
from tests.support.trainer_data import history_spec, visits_spec


@dataclass
class TrainerNeighbours:
    """The three services' answers; change the fields to change what they say."""

    folder: Path
    frame: pl.DataFrame
    keys: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """API key to (tenant, scopes)."""
    bundles: dict[int, bytes] = field(default_factory=dict)
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    builds: int = 0
    down: bool = False
    hold: threading.Event = field(default_factory=threading.Event)
    """Set to let BuildTrainingSet answer."""

    def start(self) -> str:
        """Begin to answer; gives host:port."""
        self.hold.set()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        ingest_pb2_grpc.add_DatasetServiceServicer_to_server(_Datasets(), self._server)
        features_pb2_grpc.add_FeatureServiceServicer_to_server(_Features(self), self._server)
        registry_pb2_grpc.add_VersionServiceServicer_to_server(_Versions(self), self._server)
        registry_pb2_grpc.add_CredentialServiceServicer_to_server(_Credentials(self), self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return f"127.0.0.1:{port}"

    def stop(self) -> None:
        """End at once."""
        self.hold.set()
        self._server.stop(None).wait()


class _Datasets(ingest_pb2_grpc.DatasetServiceServicer):
    def GetDataset(self, request: Any, context: Any) -> Any:
        if request.dataset != "visits":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no data set {request.dataset}")
        spec = json.dumps(visits_spec().canonical()).encode()
        return ingest_pb2.GetDatasetResponse(
            dataset=ingest_pb2.Dataset(tenant=request.tenant, name="visits", revision=1, spec_json=spec)
        )


class _Features(features_pb2_grpc.FeatureServiceServicer):
    def __init__(self, world: TrainerNeighbours) -> None:
        self._world = world

    def ListFeatureViews(self, request: Any, context: Any) -> Any:
        view = history_spec()
        return features_pb2.ListFeatureViewsResponse(
            views=[
                features_pb2.FeatureView(
                    tenant=request.tenant,
                    name=view.name,
                    revision=1,
                    spec_json=json.dumps(view.canonical()).encode(),
                    digest=spec_digest(view),
                )
            ]
        )

    def BuildTrainingSet(self, request: Any, context: Any) -> Any:
        world = self._world
        world.builds += 1
        while not world.hold.wait(0.05):
            if not context.is_active():
                return features_pb2.BuildTrainingSetResponse()
        if world.down:
            context.abort(grpc.StatusCode.UNAVAILABLE, "features is down")
        path = world.folder / "training-sets" / f"{request.tenant}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        world.frame.write_parquet(path)
        return features_pb2.BuildTrainingSetResponse(
            uri=path.absolute().as_uri(),
            rows=world.frame.height,
            fingerprint="f" * 64,
            file_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            dataset_versions={request.spine: 3},
            view_digests={name: spec_digest(history_spec()) for name in request.views},
        )


class _Versions(registry_pb2_grpc.VersionServiceServicer):
    def __init__(self, world: TrainerNeighbours) -> None:
        self._world = world

    def RegisterVersion(self, request_iterator: Iterator[Any], context: Any) -> Any:
        header = next(request_iterator).header
        data = b"".join(part.chunk for part in request_iterator)
        if hashlib.sha256(data).hexdigest() != header.bundle_sha256 or len(data) != header.size_bytes:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the bytes are not what the header says")
        number = self._world.versions.setdefault((header.run_id, header.bundle_sha256), len(self._world.versions) + 1)
        self._world.bundles[number] = data
        return registry_pb2.RegisterVersionResponse(
            version=registry_pb2.Version(tenant=header.tenant, model=header.model, version=number)
        )


class _Credentials(registry_pb2_grpc.CredentialServiceServicer):
    def __init__(self, world: TrainerNeighbours) -> None:
        self._world = world

    def ListCredentials(self, request: Any, context: Any) -> Any:
        return registry_pb2.ListCredentialsResponse(
            revision=1,
            credentials=[
                registry_pb2.Credential(
                    key_id=f"key-{tenant}",
                    key_sha256=hashlib.sha256(key.encode()).hexdigest(),
                    tenant=tenant,
                    scopes=scopes,
                )
                for key, (tenant, scopes) in self._world.keys.items()
            ],
        )
