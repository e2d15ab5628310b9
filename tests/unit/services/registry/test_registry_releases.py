"""The algebra of releases: a state machine against a model with an undo tree, and the rules one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.registry.domain.model import Release, Role
from services.registry.domain.release_rules import Arm, Wish, answering, check_wish
from tenon.core.errors import Conflict, Invalid, NotFound, Precondition, TenonError
from tests.support.registry_fakes import FakeTransact
from tests.support.registry_storage_suite import AIRLINE, CLINIC, Desk, add_version, desk_on

VERSIONS = 5
FAILED = {4, 5}
"""Versions of the fixtures below that failed a gate."""


def desk_with_versions() -> Desk:
    """Five versions of one model; the last two failed a gate."""
    desk = desk_on(FakeTransact())
    for number in range(1, VERSIONS + 1):
        add_version(desk, CLINIC, "cost", f"run-{number}", ("roc_auc >= 0.9: too low",) if number in FAILED else ())
    return desk


@pytest.fixture
def desk() -> Desk:
    """See `desk_with_versions`."""
    return desk_with_versions()


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """Any wish that `check_wish` lets pass."""
    stable, canary, shadow = draw(st.permutations(range(1, VERSIONS + 1)))[:3]
    weight = draw(st.sampled_from([0, 1, 200, 999]))
    # An arm may be of the stable version: that is how one sees what chance alone does.
    versions = st.sampled_from([number for number in range(1, VERSIONS + 1) if number != shadow])
    arms = st.lists(
        st.builds(Arm, st.sampled_from("bcd"), versions, st.integers(1, 250)), max_size=3, unique_by=lambda a: a.name
    )
    beside = tuple(draw(arms)) if weight <= 200 else ()
    return Wish(stable, canary if weight else 0, weight, shadow if draw(st.booleans()) else 0, beside)


def is_possible(wish: Wish) -> bool:
    """Whether `check_wish` lets a wish pass."""
    try:
        check_wish(wish)
    except Invalid:
        return False
    return True


@dataclass
class Node:
    """A place in the undo tree: what was released there, and where an undo leads."""

    revision: int
    content: tuple[Any, ...]
    parent: Node | None


class ReleaseMachine(RuleBasedStateMachine):
    """Any order of set, promote and rollback, beside a model that remembers an undo tree."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = desk_with_versions()
        self.here: Node | None = None
        self.nodes: dict[int, Node] = {}  # by revision; a rollback's revision leads to the node it went to
        self.last_seen: list[Release] = []

    @rule(wish=wishes(), reason=st.sampled_from(["", "because"]))
    def set(self, wish: Wish, reason: str) -> None:
        """Forced, so that gates do not matter here."""
        outcome = self.desk.releases.set(CLINIC, "cost", wish, "k", force=True, reason=reason)
        content = (wish.stable, wish.canary, wish.canary_weight_permille, wish.shadow, wish.arms)
        if self.here is not None and self.here.content == content:
            assert not outcome.changed
            return
        assert outcome.changed
        self._grow(outcome.release, content)

    @precondition(lambda self: self.here is not None)
    @rule()
    def promote(self) -> None:
        """The canary, or the only arm, becomes stable, the shadow stays."""
        assert self.here is not None
        _, canary, _, shadow, arms = self.here.content
        if not canary and len(arms) != 1:
            with pytest.raises(Precondition) as caught:
                self.desk.releases.promote(CLINIC, "cost", "k")
            assert caught.value.reason == ("ARM_NOT_NAMED" if arms else "NO_CANARY")
            return
        outcome = self.desk.releases.promote(CLINIC, "cost", "k")
        self._grow(outcome.release, (canary or arms[0].version, 0, 0, shadow, ()))

    @precondition(lambda self: self.here is not None)
    @rule()
    def rollback(self) -> None:
        """One step back in the undo tree, however one came here."""
        assert self.here is not None
        if self.here.parent is None:
            with pytest.raises(Precondition) as caught:
                self.desk.releases.rollback(CLINIC, "cost", "k")
            assert caught.value.reason == "NO_EARLIER_RELEASE"
            return
        release = self.desk.releases.rollback(CLINIC, "cost", "k").release
        self._go(release, self.here.parent)

    @precondition(lambda self: self.here is not None)
    @rule(data=st.data())
    def rollback_to(self, data: st.DataObject) -> None:
        """To any revision, back or forth."""
        assert self.here is not None
        revision = data.draw(st.sampled_from(sorted(self.nodes)))
        target = self.nodes[revision]
        if target.content == self.here.content:
            with pytest.raises(Precondition) as caught:
                self.desk.releases.rollback(CLINIC, "cost", "k", to_revision=revision)
            assert caught.value.reason == "ALREADY_SERVED"
            return
        release = self.desk.releases.rollback(CLINIC, "cost", "k", to_revision=revision).release
        self._go(release, target)

    @invariant()
    def current_is_what_the_model_says(self) -> None:
        """The content is the model's, always with one stable version."""
        if self.here is None:
            return
        release = self.desk.releases.current(CLINIC, "cost")
        assert content_of(release) == self.here.content

    @invariant()
    def history_only_grows(self) -> None:
        """Revisions count up without gaps and no earlier one ever changes; another tenant has none."""
        history = self.desk.releases.history(CLINIC, "cost", 1000)[::-1]
        assert history[: len(self.last_seen)] == self.last_seen
        assert [release.revision for release in history] == list(range(1, len(history) + 1))
        assert self.desk.releases.history(AIRLINE, "cost", 1000) == []
        self.last_seen = history

    def teardown(self) -> None:
        """Every release has one line in the audit log, and the chain holds."""
        verdict = self.desk.audit.verify(CLINIC)
        assert verdict.intact
        assert verdict.entries == 1 + len(self.last_seen)

    def _grow(self, release: Release, content: tuple[Any, ...]) -> None:
        assert release.from_revision == 0
        self.here = self.nodes[release.revision] = Node(release.revision, content, self.here)

    def _go(self, release: Release, target: Node) -> None:
        assert (release.action, release.from_revision) == ("rollback", target.revision)
        self.here = self.nodes[release.revision] = target


def content_of(release: Release) -> tuple[object, ...]:
    """A release as the model writes it."""
    stable, canary, shadow = (release.track(role) for role in (Role.STABLE, Role.CANARY, Role.SHADOW))
    assert stable is not None
    return (
        stable.version,
        canary.version if canary else 0,
        canary.weight_permille if canary else 0,
        shadow.version if shadow else 0,
        tuple(Arm(t.role.value, t.version, t.weight_permille) for t in release.tracks if t.role.is_arm),
    )


TestReleaseMachine = ReleaseMachine.TestCase
TestReleaseMachine.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


@given(
    st.builds(
        Wish,
        stable=st.integers(-1, 2),
        canary=st.integers(-1, 2),
        canary_weight_permille=st.sampled_from([-1, 0, 1, 999, 1000]),
        shadow=st.integers(-1, 2),
    )
)
def test_possible_wishes_are_exactly_the_sensible_ones(wish: Wish) -> None:
    """One stable version, a weight if and only if a canary, and no version in two roles."""
    sensible = (
        wish.stable >= 1
        and wish.canary >= 0
        and wish.shadow >= 0
        and wish.canary != wish.stable
        and len(set(wish.versions)) == len(wish.versions)
        and (1 <= wish.canary_weight_permille <= 999 if wish.canary else wish.canary_weight_permille == 0)
    )
    assert is_possible(wish) == sensible


def test_two_rollbacks_go_two_steps_back(desk: Desk) -> None:
    """The example in `release_rules`."""
    for stable in (1, 2, 3):
        desk.releases.set(CLINIC, "cost", Wish(stable), "k")
    steps = [desk.releases.rollback(CLINIC, "cost", "k").release for _ in range(2)]
    assert [(step.tracks[0].version, step.from_revision) for step in steps] == [(2, 2), (1, 1)]
    desk.releases.set(CLINIC, "cost", Wish(5), "k", force=True)
    back = desk.releases.rollback(CLINIC, "cost", "k").release
    assert (back.tracks[0].version, back.from_revision) == (1, 1)
    with pytest.raises(Precondition):
        desk.releases.rollback(CLINIC, "cost", "k")


def test_failed_gates_hold_for_those_who_answer(desk: Desk) -> None:
    """Stable and canary need their gates; a shadow does not, nor does a version that somebody forced before."""
    for wish in (Wish(4), Wish(1, 4, 10)):
        with pytest.raises(Precondition) as caught:
            desk.releases.set(CLINIC, "cost", wish, "k")
        assert caught.value.reason == "GATES_FAILED"
        assert "--force" in (caught.value.hint or "")
    desk.releases.set(CLINIC, "cost", Wish(1, shadow=4), "k")
    with pytest.raises(Precondition):
        desk.releases.set(CLINIC, "cost", Wish(1, 4, 10), "k")
    desk.releases.set(CLINIC, "cost", Wish(1, 4, 10), "k", force=True)
    desk.releases.set(CLINIC, "cost", Wish(1, 4, 500), "k")
    assert desk.releases.promote(CLINIC, "cost", "k").release.tracks[0].version == 4
    forced = [entry.details.get("forced_versions") for entry in desk.audit.read(CLINIC)]
    assert [item for item in forced if item] == [[4]]
    with pytest.raises(Precondition):
        desk.releases.set(CLINIC, "cost", Wish(1, arms=(Arm("b", 5, 10),)), "k")


@pytest.mark.parametrize(
    ("arms", "reason"),
    [
        ([Arm("canary", 2, 10)], "ARM_NAME_INVALID"),
        ([Arm("B", 2, 10)], "ARM_NAME_INVALID"),
        ([Arm("stable2", 2, 10)], "ARM_NAME_INVALID"),
        ([Arm("b", 2, 10), Arm("b", 3, 10)], "ARM_REPEATED"),
        ([Arm("b", 0, 10)], "VERSION_INVALID"),
        ([Arm("b", 2, 0)], "ARM_WEIGHT_INVALID"),
        ([Arm("b", 2, 500), Arm("c", 3, 500)], "ARMS_TAKE_ALL"),
        ([Arm(f"a{number}", 2, 1) for number in range(21)], "ARMS_TOO_MANY"),
    ],
)
def test_arms_that_cannot_be(arms: list[Arm], reason: str) -> None:
    """Each kind of wrong arm is refused by its own name."""
    with pytest.raises(Invalid) as caught:
        check_wish(Wish(1, arms=tuple(arms)))
    assert caught.value.reason == reason


def test_the_named_arm_is_promoted_and_the_others_end(desk: Desk) -> None:
    """Of several arms one must be named; a single one need not; the shadow stays."""
    arms = (Arm("b", 2, 100), Arm("c", 3, 100))
    desk.releases.set(CLINIC, "cost", Wish(1, shadow=4, arms=arms), "k")
    for arm, reason in (("", "ARM_NOT_NAMED"), ("d", "NO_SUCH_ARM"), ("stable", "NO_SUCH_ARM")):
        with pytest.raises(Precondition) as caught:
            desk.releases.promote(CLINIC, "cost", "k", arm=arm)
        assert caught.value.reason == reason
    made = desk.releases.promote(CLINIC, "cost", "k", arm="c").release
    assert [(track.role, track.version) for track in made.tracks] == [("stable", 3), ("shadow", 4)]
    desk.releases.set(CLINIC, "cost", Wish(3, arms=arms[:1]), "k")
    assert desk.releases.promote(CLINIC, "cost", "k").release.tracks[0].version == 2


def test_answering_leaves_the_shadow_out(desk: Desk) -> None:
    """A shadow's version does not count as answering."""
    release = desk.releases.set(CLINIC, "cost", Wish(1, 2, 5, 3), "k").release
    assert answering(release) == {1, 2}
    assert answering(None) == set()


@pytest.mark.parametrize(
    ("wish", "extra", "error", "reason"),
    [
        (Wish(9), {}, NotFound, "VERSION_NOT_FOUND"),
        (Wish(1, 9, 5), {}, NotFound, "VERSION_NOT_FOUND"),
        (Wish(1), {"expected_revision": 3}, Conflict, "RELEASE_CHANGED"),
        (Wish(1), {"reason": "x" * 501}, Invalid, "REASON_TOO_LONG"),
    ],
)
def test_refused_releases_change_nothing(
    desk: Desk, wish: Wish, extra: dict[str, object], error: type[TenonError], reason: str
) -> None:
    """Missing versions, stale eyes and endless reasons are refused, and nothing was written."""
    before = desk.audit.read(CLINIC)
    with pytest.raises(error) as caught:
        desk.releases.set(CLINIC, "cost", wish, "k", **extra)  # type: ignore[arg-type]
    assert caught.value.reason == reason
    assert desk.audit.read(CLINIC) == before


def test_another_tenants_versions_cannot_be_released(desk: Desk) -> None:
    """The same model name elsewhere does not help."""
    with pytest.raises(NotFound) as caught:
        desk.releases.set(AIRLINE, "cost", Wish(1), "k")
    assert caught.value.reason == "MODEL_NOT_FOUND"
