"""One control plane for the session; each test takes namespaces of its own, and uninstalls what it installed."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.control_plane import ControlPlane
from tests.cluster.harness.real_world import RealWorld, real_world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The control plane and what a chart needs are waited for; on a busy machine that takes its time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A running cluster; skipped where its tools cannot be had. After a failure its logs are in .cache/cluster-logs."""
    folder = tmp_path_factory.mktemp("cluster")
    plane = ControlPlane(folder)
    plane.start()
    try:
        running = Cluster(plane)
        running.install_definitions()
        running.offer_volumes()
        yield running
    finally:
        plane.stop()
        if request.session.testsfailed:
            keep = Path(request.config.rootpath) / ".cache/cluster-logs"
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(folder / "logs", keep)
            print(f"the cluster's logs: {keep}")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for one test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.create_namespace(name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealWorld]:
    """Real pods, Prometheus and Flagger."""
    with real_world(cluster, tmp_path_factory.mktemp("world")) as running:
        yield running
        assert not running.pods.problems
