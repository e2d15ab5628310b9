"""A tenant's life in Helm: installed, canary, promoted, a failed upgrade, rolled back; and its neighbours notice nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.harness.cluster import Cluster, CommandFailed
from tests.cluster.harness.nodes import BROKEN
from tests.cluster.harness.releases import TenantRelease, never_fewer, untouched

CANARY = ("--set", "canary.version=7", "--set", "canary.weight=10")
PROMOTED = ("--set", "stable.version=7", "--set", "canary=null")


def values(name: str) -> dict[str, object]:
    """What every tenant must say of itself."""
    return {"tenant": name, "model": "stay"}


@pytest.fixture(scope="module")
def neighbours(cluster: Cluster) -> list[TenantRelease]:
    """Two other tenants, one of them in the middle of a canary."""
    found = []
    for name in ("birch", "cedar"):
        release = TenantRelease(cluster, name, values(name))
        cluster.create_namespace(release.namespace)
        release.install(3)
        found.append(release)
    found[1].upgrade("--set", "canary.version=4", "--set", "canary.weight=25")
    for release in found:
        release.settle()
    return found


@pytest.fixture
def acme(cluster: Cluster, neighbours: list[TenantRelease]) -> Iterator[TenantRelease]:
    """A tenant at version 6; whatever is done to it, its neighbours stay as they are."""
    release = TenantRelease(cluster, "acme", values("acme"))
    cluster.create_namespace(release.namespace)
    with untouched(*neighbours):
        release.install(6)
        release.settle()
        yield release
        release.uninstall()
        left = {
            name for name in cluster.state(release.namespace) if not name.endswith(("/default", "/kube-root-ca.crt"))
        }
        assert not left, "uninstalling leaves something behind"


def test_installed(acme: TenantRelease) -> None:
    """The stable track at its version with all requests, and one pod on standby with none; as many pods as the autoscalers
    want at least, and budgets for disruptions that let a node be emptied without taking the last pod."""
    assert acme.versions() == {"stable": 6, "canary": 6}
    assert acme.weights() == {"stable": 100, "canary": 0}
    deployments, serving = acme.deployments(), acme.serving()
    scalers = acme.cluster.objects("horizontalpodautoscalers", acme.namespace)
    budgets = acme.cluster.objects("poddisruptionbudgets", acme.namespace)
    assert len(scalers) == len(budgets) == len(deployments) == 2
    for track, least in (("stable", 2), ("canary", 1)):
        name = deployments[track]["metadata"]["name"]
        assert scalers[name]["spec"]["scaleTargetRef"]["name"] == name
        assert serving[track] == scalers[name]["spec"]["minReplicas"] == least
        selector = budgets[name]["spec"]["selector"]["matchLabels"].items()
        assert selector <= deployments[track]["spec"]["template"]["metadata"]["labels"].items()
    stable = deployments["stable"]["metadata"]["name"]
    acme.cluster.wait(
        "a pod of the stable track may be taken away, and no more",
        lambda: acme.cluster.get("pdb", stable, acme.namespace)["status"]["disruptionsAllowed"] == 1,
    )


def test_canary_and_promotion(acme: TenantRelease) -> None:
    """A canary gets its share beside a stable track whose pods are not restarted, and never lacks a pod that answers; promoted,
    it is the stable track."""
    before = pods(acme)
    with never_fewer(acme, 1, "canary"):
        acme.upgrade(*CANARY)
        acme.settle()
    assert acme.versions() == {"stable": 6, "canary": 7}
    assert acme.weights() == {"stable": 90, "canary": 10}
    assert before <= pods(acme)
    acme.upgrade("--set", "canary.weight=50")
    assert acme.weights() == {"stable": 50, "canary": 50}
    assert before <= pods(acme)

    tried = pods(acme, "canary")
    with never_fewer(acme, acme.serving()["stable"]):
        acme.upgrade(*PROMOTED)
        acme.settle()
    assert acme.versions() == {"stable": 7, "canary": 7}
    assert acme.weights() == {"stable": 100, "canary": 0}
    assert pods(acme, "canary") == tried


def test_without_standby(acme: TenantRelease) -> None:
    """For whom that pod is too much: version and weight in two steps, and promoted nothing of the canary is left."""
    acme.upgrade("--set", "rollout.standby=false")
    assert acme.versions() == {"stable": 6}
    acme.upgrade("--set", "canary.version=7")
    acme.upgrade("--set", "canary.weight=10")
    assert (acme.versions(), acme.weights()) == ({"stable": 6, "canary": 7}, {"stable": 90, "canary": 10})
    acme.upgrade(*PROMOTED)
    assert (acme.versions(), acme.weights()) == ({"stable": 7}, {"stable": 100})


@pytest.mark.parametrize("change", ["canary.version", "stable.version"])
def test_failed_upgrade_reverts_by_itself(acme: TenantRelease, change: str) -> None:
    """Under --atomic a version that never becomes ready, as canary or in place of the stable one, leaves everything as it
    was; both tracks had their pods all the time."""
    before, running = acme.cluster.state(acme.namespace), acme.serving()
    with pytest.raises(CommandFailed), never_fewer(acme, running["stable"]), never_fewer(acme, 1, "canary"):
        acme.upgrade_or_revert("--set", f"{change}={BROKEN}", "--set", "canary.weight=10")
    acme.settle()
    assert acme.versions() == {"stable": 6, "canary": 6}
    assert acme.weights() == {"stable": 100, "canary": 0}
    assert acme.serving() == running
    assert [revision["status"] for revision in acme.history()] == ["superseded", "failed", "deployed"]
    after = acme.cluster.state(acme.namespace)
    changed = {name for name in before | after if before.get(name, "").split()[-1:] != after.get(name, "").split()[-1:]}
    # A revision of Helm is a Secret; Deployments remember how often they were rolled out.
    assert all(name.startswith(("Secret/sh.helm.release", "Deployment/")) for name in changed), changed


def test_rolled_back(acme: TenantRelease) -> None:
    """`helm rollback` undoes the last change; twice undoes the undoing; and by its number any revision comes back. Neither
    track is without a pod meanwhile."""
    with never_fewer(acme, 2), never_fewer(acme, 1, "canary"):
        acme.upgrade(*CANARY)
        acme.upgrade(*PROMOTED)
        acme.rollback()
        assert (acme.versions(), acme.weights()) == ({"stable": 6, "canary": 7}, {"stable": 90, "canary": 10})
        acme.rollback()
        assert (acme.versions(), acme.weights()) == ({"stable": 7, "canary": 7}, {"stable": 100, "canary": 0})
        acme.rollback("1")
        acme.settle()
    assert (acme.versions(), acme.weights()) == ({"stable": 6, "canary": 6}, {"stable": 100, "canary": 0})
    assert len(acme.history()) == 6


def pods(release: TenantRelease, track: str = "stable") -> set[str]:
    """The pods of a track, by identity."""
    found = release.cluster.objects(
        "pods", release.namespace, f"app.kubernetes.io/instance={release.name},tenon.io/track={track}"
    )
    return {pod["metadata"]["uid"] for pod in found.values()}
