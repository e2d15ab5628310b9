"""Releases, what pods are pinned to, and what replicas serve: who differs from whom is said, and nothing else."""

from __future__ import annotations

import pytest

from services.registry import metrics
from services.registry.domain.agreement import Kind, disagreements
from services.registry.domain.model import Release, Replica, Role, ServedModel, Track
from services.registry.domain.release_rules import Wish
from services.registry.domain.serving import ALIVE_MICROS, ServingBoard
from tenon.core.tenancy import TenantId
from tests.support.registry_fakes import FakeTransact
from tests.support.registry_storage_suite import AIRLINE, CLINIC, add_version, desk_on

DIGESTS = {version: f"{version}" * 64 for version in range(1, 10)}


def digest_of(tenant: TenantId, model: str, version: int) -> str | None:
    """What is registered: versions 1 to 9 of the clinic's `cost`."""
    return DIGESTS.get(version) if (tenant, model) == (CLINIC, "cost") else None


def release(stable: int, canary: int = 0, shadow: int = 0) -> Release:
    """The clinic's release."""
    tracks = [Track(Role.STABLE, stable, DIGESTS[stable])]
    tracks += [Track(Role.CANARY, canary, DIGESTS[canary], 100)] if canary else []
    tracks += [Track(Role.SHADOW, shadow, DIGESTS[shadow])] if shadow else []
    return Release(CLINIC, "cost", 4, tuple(tracks), "set", 0, "k")


def pod(version: int, *, serves: int | None = None, digest: str = "", problem: str = "", name: str = "") -> Replica:
    """A replica pinned to a version, which it serves unless something else is said."""
    loaded = version if serves is None else serves
    tracks = (Track(Role.STABLE, loaded, digest or DIGESTS[loaded]),) if loaded else ()
    return Replica(
        name or f"pod-{version}", 0, (ServedModel(CLINIC, "cost", 0, tracks, problem),), (f"clinic/cost@{version}",)
    )


def follower(released: Release) -> Replica:
    """A replica that follows releases."""
    return Replica("follower", 0, (ServedModel(CLINIC, "cost", released.revision, released.tracks),))


@pytest.mark.parametrize(
    ("released", "replicas"),
    [
        ([], []),
        ([], [pod(6), pod(7)]),
        ([release(6)], [pod(6), pod(6, name="standby")]),
        ([release(6, canary=7)], [pod(6), pod(7)]),
        ([release(6, shadow=8)], [pod(6)]),
        ([release(6)], [follower(release(6))]),
        ([release(6, canary=7)], [follower(release(6, canary=7)), pod(7)]),
    ],
)
def test_who_agrees(released: list[Release], replicas: list[Replica]) -> None:
    """Pods alone, pods and release, followers, and followers beside pods; a pod on standby and a shadow do not disagree."""
    assert disagreements(released, replicas, digest_of) == ()


@pytest.mark.parametrize(
    ("released", "replicas", "expected"),
    [
        ([release(6)], [pod(6), pod(7)], {(Kind.RELEASE, "pods are pinned to version 7; revision 4 names version 6")}),
        ([release(6, canary=7)], [pod(6)], {(Kind.RELEASE, "revision 4 names version 7; pods are pinned to version 6")}),
        ([], [pod(7, serves=6)], {(Kind.PINNED, "pod-7 is pinned to version 7 and serves version 6")}),
        (
            [],
            [pod(7, serves=0, problem="not signed by the key this platform trusts")],
            {(Kind.PINNED, "pod-7 is pinned to version 7 and serves nothing: not signed by the key this platform trusts")},
        ),
        (
            [release(6)],
            [pod(6, digest="f" * 64)],
            {(Kind.DIGEST, "pod-6 serves other bytes as version 6 (ffffffffffff) than were registered (666666666666)")},
        ),
        ([release(6)], [follower(release(5))], {(Kind.FOLLOWING, "follower does not serve revision 4")}),
    ],
)  # fmt: skip
def test_who_differs(released: list[Release], replicas: list[Replica], expected: set[tuple[Kind, str]]) -> None:
    """Each difference by its kind, in words that name both sides."""
    assert {(line.kind, line.text) for line in disagreements(released, replicas, digest_of)} == expected


def test_a_version_that_was_never_registered() -> None:
    """Pods that got a bundle from a file under a number that the registry does not know."""
    stranger = Replica(
        "pod", 0, (ServedModel(AIRLINE, "stay", 0, (Track(Role.STABLE, 3, "a" * 64),)),), ("airline/stay@3",)
    )
    (line,) = disagreements([], [stranger], digest_of)
    assert (line.kind, line.text) == (Kind.DIGEST, "pod serves version 3, which was never registered")


def test_the_board_compares_what_lives_and_shows_each_tenant_its_own() -> None:
    """All tenants for the metric, one for its own eyes; a pod that is heard no more differs from nobody."""
    transact = FakeTransact()
    desk = desk_on(transact)
    add_version(desk, CLINIC, "cost", "a")
    second = add_version(desk, CLINIC, "cost", "b")
    board = ServingBoard(transact, desk.clock)
    desk.releases.set(CLINIC, "cost", Wish(1), "k")
    pinned = ServedModel(CLINIC, "cost", 0, (Track(Role.STABLE, 2, second.bundle_sha256),))
    board.report("pod", [pinned], serves_only=["clinic/cost@2", "odd", "NOT A TENANT/cost@1", "clinic/cost@x"])
    assert [(line.tenant, line.kind) for line in board.disagreements()] == [(CLINIC, Kind.RELEASE)] * 2
    assert [line.kind for line in board.view(CLINIC).disagreements] == [Kind.RELEASE] * 2
    assert board.view(AIRLINE).disagreements == ()
    assert not board.view(CLINIC, "cost").settled
    desk.releases.set(CLINIC, "cost", Wish(2), "k")
    assert board.disagreements() == ()
    assert board.view(CLINIC, "cost").settled
    desk.releases.set(CLINIC, "cost", Wish(1), "k")
    desk.clock.advance(ALIVE_MICROS + 1)
    assert board.disagreements() == ()


def test_the_metric_is_absent_where_all_agree() -> None:
    """A gauge for each kind of each model that differs, gone when it does no more."""
    metrics.show_disagreements(
        [("clinic", "cost", "release"), ("clinic", "cost", "release"), ("airline", "stay", "digest")]
    )
    found = {tuple(item.labels.values()): item.value for item in next(iter(metrics.DISAGREEMENTS.collect())).samples}
    assert found == {("clinic", "cost", "release"): 2.0, ("airline", "stay", "digest"): 1.0}
    metrics.show_disagreements([("airline", "stay", "digest")])
    found = {tuple(item.labels.values()): item.value for item in next(iter(metrics.DISAGREEMENTS.collect())).samples}
    assert found == {("airline", "stay", "digest"): 1.0}
    metrics.show_disagreements([])
