"""Pods that are real predictors: what KWOK says of the others is what would have happened."""

from __future__ import annotations

import pytest

from tests.cluster.flagger_documents import documents
from tests.cluster.harness.cluster import CommandFailed
from tests.cluster.harness.nodes import BROKEN
from tests.cluster.harness.real_world import GOOD, RealWorld


def test_a_version_that_cannot_be_verified_is_never_ready(world: RealWorld) -> None:
    """A Deployment moved to a version that somebody else signed keeps the pod that serves; its new pod says why it is not
    ready; moved back, it is as it was."""
    cluster, namespace = world.cluster, "real-signed"
    cluster.create_namespace(namespace)

    def apply(version: int) -> None:
        deployment, *_, secret = documents(namespace, "signed", version, world.prometheus.url)
        cluster.apply([secret, deployment], "-n", namespace)

    def ready() -> int:
        return int(cluster.get("deployment", "signed", namespace)["status"].get("readyReplicas", 0))

    apply(GOOD)
    cluster.kubectl("rollout", "status", "deployment/signed", "-n", namespace, "--timeout=60s")
    before = [pod.name for pod in world.pods.running(namespace) if pod.ready]
    apply(BROKEN)
    with pytest.raises(CommandFailed, match="timed out"):
        cluster.kubectl("rollout", "status", "deployment/signed", "-n", namespace, "--timeout=8s")
    assert ready() == 1
    (fresh,) = (pod for pod in world.pods.running(namespace) if not pod.ready)
    assert "signature was not made by the key this platform trusts" in (fresh.folder / "log").read_text()
    apply(GOOD)
    cluster.kubectl("rollout", "status", "deployment/signed", "-n", namespace, "--timeout=60s")
    assert [pod.name for pod in world.pods.running(namespace) if pod.ready] == before
