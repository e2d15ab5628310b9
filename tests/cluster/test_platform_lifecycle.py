"""The platform's life in Helm: installed, upgraded, a migration that fails, rolled back, uninstalled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.harness.cluster import CHARTS, Cluster, CommandFailed

CHART = CHARTS / "platform"

SERVICES = {"ingest", "features", "trainer", "worker", "registry", "monitor"}
RELEASE, NAMESPACE = "tenon", "tenon-platform"


class Platform:
    """The release."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def helm(self, verb: str, *arguments: str) -> str:
        """Install or upgrade with the values that its own tests begin with."""
        values = str(sorted((CHART / "ci").glob("*-values.yaml"))[0])
        return self.cluster.helm(
            verb, RELEASE, str(CHART), "-n", NAMESPACE, "-f", values, "--wait", "--timeout=180s", *arguments
        )

    def deployments(self) -> dict[str, dict[str, Any]]:
        """The Deployments by the component that they are."""
        found = self.cluster.objects("deployments", NAMESPACE, f"app.kubernetes.io/instance={RELEASE}")
        return {item["metadata"]["labels"]["app.kubernetes.io/component"]: item for item in found.values()}

    def images(self) -> set[str]:
        """The tags that run."""
        return {
            container["image"].rpartition(":")[2]
            for item in self.deployments().values()
            for container in item["spec"]["template"]["spec"]["containers"]
        }


@pytest.fixture(scope="module")
def platform_release(cluster: Cluster) -> Iterator[Platform]:
    """The platform, installed; uninstalling it takes away what it brought."""
    cluster.create_namespace(NAMESPACE)
    platform = Platform(cluster)
    platform.helm("install", "--set", "image.tag=one")
    yield platform
    cluster.helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait")
    left = cluster.kubectl(
        "get",
        "deployments,services,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers",
        "-n",
        NAMESPACE,
        "-o",
        "name",
    )
    assert not left.split(), "uninstalling leaves something behind"


def test_installed(platform_release: Platform) -> None:
    """All six services run and are ready; migrations ran before them, and their Jobs are gone or done."""
    found = platform_release.deployments()
    assert set(found) >= SERVICES
    for name, item in found.items():
        assert item["status"].get("readyReplicas", 0) == item["spec"]["replicas"] > 0, name
    for job in platform_release.cluster.objects("jobs", NAMESPACE).values():
        assert job["status"].get("succeeded"), job["metadata"]["name"]


def test_pods_keep_to_themselves(platform_release: Platform) -> None:
    """Every pod is selected by a NetworkPolicy, has limits and probes, and a token of the API only if it asks for one."""
    policies = platform_release.cluster.objects("networkpolicies", NAMESPACE)
    assert policies
    for name, item in platform_release.deployments().items():
        pod = item["spec"]["template"]
        labels = pod["metadata"]["labels"].items()
        assert any(
            policy["spec"]["podSelector"].get("matchLabels", {}).items() <= labels for policy in policies.values()
        ), name
        assert pod["spec"].get("automountServiceAccountToken") is False, name
        for container in pod["spec"]["containers"]:
            assert container["resources"]["requests"], name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_migration_that_fails(platform_release: Platform) -> None:
    """An upgrade whose migrations cannot be applied stops there: no service is touched, and the release is as before."""
    before = {name: item["metadata"]["generation"] for name, item in platform_release.deployments().items()}
    with pytest.raises(CommandFailed):
        platform_release.helm("upgrade", "--atomic", "--set", "image.tag=broken,migrations.retries=0")
    found = platform_release.deployments()
    assert platform_release.images() == {"one"}
    assert {name: item["metadata"]["generation"] for name, item in found.items()} == before
    assert all(item["status"].get("readyReplicas") == item["spec"]["replicas"] for item in found.values())


def test_rolled_back_after_a_failure(platform_release: Platform) -> None:
    """The revision before a failed upgrade is named: without one Helm would take the failed one for the earlier."""
    found = json.loads(platform_release.cluster.helm("history", RELEASE, "-n", NAMESPACE, "-o", "json"))
    assert [entry["status"] for entry in found][-2:] == ["failed", "deployed"]
    before = platform_release.cluster.state(NAMESPACE)
    platform_release.cluster.helm("rollback", RELEASE, "1", "-n", NAMESPACE, "--wait")
    assert platform_release.images() == {"one"}
    after = platform_release.cluster.state(NAMESPACE)
    assert {name: after[name] for name in before if not name.startswith("Secret/")} == {
        name: state for name, state in before.items() if not name.startswith("Secret/")
    }


def test_upgraded_and_rolled_back(platform_release: Platform) -> None:
    """Every service moves to the new version, and back again."""
    platform_release.helm("upgrade", "--set", "image.tag=two")
    assert platform_release.images() == {"two"}
    platform_release.cluster.helm("rollback", RELEASE, "-n", NAMESPACE, "--wait")
    assert platform_release.images() == {"one"}


def test_everything_bundled(cluster: Cluster, namespace: str) -> None:
    """With the bundled stores everything is ready, no Job waits for a database that is not there yet, and uninstalling
    leaves the stores' volumes alone."""
    values = str(CHART / "ci/bundled-values.yaml")
    cluster.helm("install", "all", str(CHART), "-n", namespace, "-f", values, "--wait", "--timeout=180s")
    sets = cluster.objects("statefulsets", namespace)
    assert {name: item["status"]["readyReplicas"] for name, item in sets.items()} == {
        "all-postgresql": 1,
        "all-redis": 1,
        "all-objects": 1,
    }
    assert "all-predictor" in cluster.objects("deployments", namespace)
    assert not cluster.objects("jobs", namespace)
    cluster.helm(
        "upgrade",
        "all",
        str(CHART),
        "-n",
        namespace,
        "-f",
        values,
        "--set",
        "image.tag=two",
        "--wait",
        "--timeout=180s",
    )
    cluster.helm("uninstall", "all", "-n", namespace, "--wait")
    assert set(cluster.objects("persistentvolumeclaims", namespace)) == {
        "data-all-postgresql-0",
        "data-all-redis-0",
        "data-all-objects-0",
    }
    assert not cluster.objects("networkpolicies,statefulsets,configmaps,poddisruptionbudgets", namespace).keys() - {
        "ConfigMap/kube-root-ca.crt"
    }
