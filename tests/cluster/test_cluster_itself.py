"""The cluster of these tests is one: what the other tests lean on holds."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cluster.harness.cluster import Cluster, CommandFailed
from tests.cluster.harness.nodes import BROKEN
from tests.cluster.tools.catalog import KUBERNETES


def deployment(name: str, version: int, replicas: int = 1) -> dict[str, Any]:
    """A Deployment whose pods are as restricted as ours, pinned as a predictor is."""
    labels = {"app.kubernetes.io/name": name}
    pins = json.dumps([{"model": "cost", "version": version}])
    container = {
        "name": "predictor",
        "image": "tenon/predictor:test",
        "env": [{"name": "TENON_PREDICTOR_PINNED", "value": pins}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "securityContext": security},
            },
        },
    }


def test_versions(cluster: Cluster) -> None:
    """The API server is of the version that we say, and kubectl is no more than one minor version away."""
    told = json.loads(cluster.kubectl("version", "-o", "json"))
    assert told["serverVersion"]["gitVersion"] == KUBERNETES
    minor = int(re.sub(r"\D", "", told["clientVersion"]["minor"]))
    assert abs(minor - int(KUBERNETES.split(".")[1])) <= 1


def test_definitions(cluster: Cluster) -> None:
    """The definitions that our charts use are served."""
    served = cluster.kubectl("api-resources", "-o", "name")
    for name in (
        "httproutes.gateway.networking.k8s.io",
        "canaries.flagger.app",
        "metrictemplates.flagger.app",
        "scaledobjects.keda.sh",
        "servicemonitors.monitoring.coreos.com",
        "prometheusrules.monitoring.coreos.com",
    ):
        assert name in served.split()


def test_pods_become_ready(cluster: Cluster, namespace: str) -> None:
    """A Deployment's pods are scheduled, run and are ready."""
    cluster.apply([deployment("good", 1, replicas=3)], "-n", namespace)
    cluster.kubectl("rollout", "status", "deployment/good", "-n", namespace, "--timeout=180s")
    pods = cluster.objects("pods", namespace)
    assert len(pods) == 3
    assert all(pod["status"]["phase"] == "Running" and pod["spec"]["nodeName"] for pod in pods.values())


def test_broken_version_is_never_ready(cluster: Cluster, namespace: str) -> None:
    """A pod that is pinned to the broken version runs, and is not ready."""
    cluster.apply([deployment("bad", BROKEN)], "-n", namespace)
    cluster.wait(
        "the pod runs",
        lambda: all(p["status"]["phase"] == "Running" for p in cluster.objects("pods", namespace).values()),
    )
    with pytest.raises(CommandFailed, match="timed out"):
        cluster.kubectl("rollout", "status", "deployment/bad", "-n", namespace, "--timeout=3s")


def test_namespaces_are_restricted(cluster: Cluster, namespace: str) -> None:
    """A pod that asks for more rights than ours is not admitted."""
    greedy = deployment("greedy", 1)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "greedy"},
        "spec": greedy["spec"]["template"]["spec"],
    }
    pod["spec"]["hostNetwork"] = True
    with pytest.raises(CommandFailed, match="violates PodSecurity"):
        cluster.apply([pod], "-n", namespace)
