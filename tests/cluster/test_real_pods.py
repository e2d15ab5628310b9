"""A tenant's release whose pods are real predictors: what KWOK says of the others is what would have happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.harness.cluster import CommandFailed
from tests.cluster.harness.nodes import BROKEN
from tests.cluster.harness.real_world import BETTER, GOOD, RealWorld
from tests.cluster.harness.releases import TenantRelease


@pytest.fixture(scope="module")
def acme(world: RealWorld) -> Iterator[TenantRelease]:
    """A tenant whose first version answers."""
    release = world.release("acme")
    release.install(GOOD)
    yield release
    release.uninstall()


def test_helm_test_asks_for_a_prediction(world: RealWorld, acme: TenantRelease) -> None:
    """Each track is asked with a key of the tenant, through its Service, and by the version that it is pinned to it answers."""
    assert "Succeeded" in acme.test()
    said = world.log(acme, "acme-test")
    assert said.count(f"stay version {GOOD} answered: ") == 2
    assert "ready" in said


def test_helm_test_fails_with_a_reason(world: RealWorld, acme: TenantRelease) -> None:
    """Asked with what the model refuses, it fails and says what was answered."""
    acme.upgrade("--set-json", 'test.inputs={"age":"old"}')
    with pytest.raises(CommandFailed):
        acme.test()
    assert '"reason":"VALUE_TYPE"' in world.log(acme, "acme-test")
    acme.rollback()


def test_releases_without_a_failed_request(world: RealWorld, acme: TenantRelease) -> None:
    """Canary, an upgrade that reverts by itself because the version was signed by somebody else, promotion, rollback: whoever
    asks meanwhile is answered, and the pod that could not be ready said why."""
    asked = world.traffic(acme.namespace, "acme")
    try:
        acme.upgrade("--set", f"canary.version={BETTER}", "--set", "canary.weight=50")
        assert acme.versions() == {"stable": GOOD, "canary": BETTER}

        logs = set((world.pods.folder / acme.namespace).iterdir())
        with pytest.raises(CommandFailed):
            acme.upgrade_or_revert("--set", f"stable.version={BROKEN}", seconds=30)
        assert acme.versions() == {"stable": GOOD, "canary": BETTER}
        (refused,) = set((world.pods.folder / acme.namespace).iterdir()) - logs
        assert "signature was not made by the key this platform trusts" in (refused / "log").read_text()

        acme.upgrade("--set", f"stable.version={BETTER}", "--set", "canary=null")
        assert acme.versions() == {"stable": BETTER, "canary": BETTER}
        acme.rollback()
        assert acme.versions() == {"stable": GOOD, "canary": BETTER}
        assert acme.weights() == {"stable": 50, "canary": 50}
    finally:
        asked.stop()
    assert set(asked.statuses) == {"200"}
    assert set(asked.versions) == {str(GOOD), str(BETTER)}
