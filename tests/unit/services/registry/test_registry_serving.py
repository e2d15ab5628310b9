"""What replicas report: settled or not, alive or silent, and a history that says only what was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.domain.model import Release, Replica, Role, ServedModel, Track
from services.registry.domain.release_rules import Wish
from services.registry.domain.serving import ALIVE_MICROS, SILENT_MICROS, ServingBoard, is_settled
from tenon.core.errors import Invalid
from tests.support.registry_fakes import FakeTransact
from tests.support.registry_storage_suite import AIRLINE, CLINIC, Desk, add_version, desk_on


class World:
    """One model released at version 1, and a board."""

    def __init__(self) -> None:
        transact = FakeTransact()
        self.desk: Desk = desk_on(transact)
        for tenant in (CLINIC, AIRLINE):
            for run in ("a", "b"):
                add_version(self.desk, tenant, "cost", run)
        self.board = ServingBoard(transact, self.desk.clock)
        self.release = self.desk.releases.set(CLINIC, "cost", Wish(1), "k").release

    def history(self) -> list[tuple[str, str, int]]:
        """Replica, cause and number of tracks, oldest first."""
        lines = self.board.history(CLINIC, "cost", 100)[::-1]
        return [(line.replica, line.cause, len(line.served.tracks)) for line in lines]


@pytest.fixture
def world() -> World:
    """See `World`."""
    return World()


def served(release: Release) -> ServedModel:
    """What a replica says that serves a release."""
    return ServedModel(release.tenant, release.model, release.revision, release.tracks)


def test_history_grows_only_when_content_changes(world: World) -> None:
    """The same report every five seconds is one line."""
    for _ in range(3):
        world.board.report("r1", [served(world.release)])
        world.desk.clock.advance(5_000_000)
    world.board.report("r1", [])
    world.board.report("r1", [served(world.release)])
    world.board.report("r1", [], leaving=True)
    assert world.history() == [("r1", "reported", 1), ("r1", "reported", 0), ("r1", "reported", 1), ("r1", "left", 0)]


def test_silence_is_not_serving(world: World) -> None:
    """A replica that is not heard drops out of the view, later its history is closed at the last word."""
    world.board.report("r1", [served(world.release)])
    assert world.board.view(CLINIC, "cost").settled
    last_word = world.board.view(CLINIC).replicas[0].reported_at
    world.desk.clock.advance(ALIVE_MICROS)
    assert not world.board.view(CLINIC, "cost").settled
    assert world.board.view(CLINIC, "cost").replicas == ()
    world.desk.clock.advance(SILENT_MICROS)
    world.board.report("r2", [])
    assert world.history() == [("r1", "reported", 1), ("r1", "silent", 0)]
    assert world.board.history(CLINIC, "cost", 1)[0].at == last_word


def test_a_view_shows_one_tenant_only(world: World) -> None:
    """A shared replica's other tenants, and replicas that are not this tenant's concern, stay unseen."""
    other = world.desk.releases.set(AIRLINE, "cost", Wish(2), "k").release
    world.board.report("shared", [served(world.release), served(other)])
    world.board.report("theirs", [served(other)], serves_only=["airline"])
    world.board.report("mine", [served(world.release)], serves_only=["clinic/cost", "airline/stay"])
    view = world.board.view(CLINIC)
    assert [replica.name for replica in view.replicas] == ["mine", "shared"]
    assert {model.tenant for replica in view.replicas for model in replica.models} == {CLINIC}
    assert view.replicas[0].serves_only == ("clinic/cost",)
    assert view.settled
    assert [replica.name for replica in world.board.view(AIRLINE).replicas] == ["shared", "theirs"]


def test_a_replica_without_the_model_keeps_it_unsettled(world: World) -> None:
    """Every living replica whose concern it is must serve it, also one that has not even heard of it."""
    world.board.report("r1", [served(world.release)])
    world.board.report("fresh", [])
    assert not world.board.view(CLINIC, "cost").settled
    world.board.report("fresh", [], serves_only=["airline"])
    assert world.board.view(CLINIC, "cost").settled


@given(
    revision=st.sampled_from([2, 3]),
    version=st.sampled_from([1, 2]),
    digest=st.sampled_from(["a" * 64, "b" * 64]),
    weight=st.sampled_from([100, 200]),
    problem=st.sampled_from(["", "bundle cannot be read"]),
)
def test_settled_needs_everything_to_fit(revision: int, version: int, digest: str, weight: int, problem: str) -> None:
    """Revision, version, digest, weight and no problem: one difference is enough to be unsettled."""
    stable = Track(Role.STABLE, 3, "c" * 64)
    release = Release(CLINIC, "cost", 2, (stable, Track(Role.CANARY, 1, "a" * 64, 100)), "set", 0, "k")
    tracks = (Track(Role.CANARY, version, digest, weight), stable)
    replica = Replica("r1", 0, (ServedModel(CLINIC, "cost", revision, tracks, problem),))
    fits = (revision, version, digest, weight, problem) == (2, 1, "a" * 64, 100, "")
    assert is_settled(release, [replica]) == fits
    assert not is_settled(release, [])


def test_nonsense_reports_are_refused(world: World) -> None:
    """A replica needs a name of reasonable length."""
    for name in ("", "x" * 201):
        with pytest.raises(Invalid):
            world.board.report(name, [])
