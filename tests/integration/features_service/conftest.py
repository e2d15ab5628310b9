"""The features service as a process, with a real Redis, real Delta tables and a stand-in for ingest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_ingest import FakeIngest, running_ingest
from tests.support.features_service import DATASET, Client
from tests.support.ports import free_port
from tests.support.redis import RedisServer, running_redis
from tests.support.service_process import running_service


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A real Redis."""
    with running_redis() as server:
        yield server


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[FakeIngest]:
    """A stand-in for ingest, with the data set defined."""
    with running_ingest(tmp_path / "lake of tests") as fake:
        fake.define("north", DATASET)
        yield fake


@pytest.fixture
def environment(tmp_path: Path, redis_server: RedisServer, ingest: FakeIngest) -> dict[str, str]:
    """What the process is started with; the registry is not there, and platform keys work all the same."""
    return {
        "TENON_REDIS_URL": redis_server.url,
        "TENON_BLOB_URL": (tmp_path / "blobs").as_uri(),
        "TENON_INGEST_GRPC": ingest.target,
        "TENON_REGISTRY_GRPC": f"127.0.0.1:{free_port()}",
        "TENON_FEATURES_RECONCILE_SECONDS": "0.5",
    }


@pytest.fixture
def client(tmp_path: Path, environment: dict[str, str]) -> Iterator[Client]:
    """The running service."""
    with running_service("features", tmp_path / "features", environment) as service:
        yield Client(service)
