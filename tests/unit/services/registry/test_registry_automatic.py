"""Releases that go on by themselves: each step on a verdict, back at once, and nothing for silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.registry.domain.automatic import FRESH, Judged, Verdict
from services.registry.domain.model import Automatic, Release, Replica, Role, ServedModel, ServingChange, Track
from services.registry.domain.pinned_trials import pinned_to_two, trial_of_pins
from services.registry.domain.release_rules import Wish
from tenon.core.errors import Invalid
from tests.support.registry_fakes import FakeTransact
from tests.support.registry_storage_suite import CLINIC, Desk, add_version, desk_on

MINUTE = 60 * 10**6
PLAN = Automatic((50, 250, 500), 600, 100, ("errors", "scores"), 7 * 86_400)


@pytest.fixture
def desk() -> Desk:
    """Three versions; version 1 is served."""
    made = desk_on(FakeTransact())
    for number in (1, 2, 3):
        add_version(made, CLINIC, "cost", f"run-{number}")
    made.releases.set(CLINIC, "cost", Wish(1), "ada")
    return made


def begin(desk: Desk, plan: Automatic = PLAN) -> Release:
    """Version 2 with 5 percent."""
    return desk.releases.set(CLINIC, "cost", Wish(1, 2, 50), "ada", automatic=plan).release


def say(desk: Desk, verdict: Verdict, *, after: int = 0, **changes: Any) -> tuple[Release, str]:
    """What stands after a verdict that monitor gives so many microseconds later; and why nothing followed."""
    desk.clock.advance(after)
    current = desk.releases.current(CLINIC, "cost")
    judged = Judged(current.revision, 2, verdict, "because of this", desk.clock.now, 1000)
    outcome, waiting = desk.releases.follow(CLINIC, "cost", replace(judged, **changes), "monitor")
    return outcome.release, waiting


def served(release: Release) -> list[tuple[str, int, int]]:
    """Role, version and weight of each track."""
    return [(track.role.value, track.version, track.weight_permille) for track in release.tracks]


def test_steps_then_promotion(desk: Desk) -> None:
    """Each verdict after the step's time raises the share once; after the last step the canary is stable, on probation."""
    begin(desk)
    assert served(say(desk, "promote", after=11 * MINUTE)[0])[1] == ("canary", 2, 250)
    assert served(say(desk, "promote", after=11 * MINUTE)[0])[1] == ("canary", 2, 500)
    promoted, _ = say(desk, "promote", after=11 * MINUTE)
    assert served(promoted) == [("stable", 2, 0)]
    assert promoted.automatic is not None
    assert (promoted.automatic.before, promoted.action, promoted.created_by) == (1, "promote", "monitor")
    assert promoted.reason == "because of this"
    history = desk.releases.history(CLINIC, "cost", 10)
    assert [release.action for release in history] == ["promote", "advance", "advance", "set", "set"]
    actions = [entry.action for entry in desk.audit.read(CLINIC, limit=3)]
    assert actions == ["release.promote", "release.advance", "release.advance"]


@pytest.mark.parametrize(
    ("verdict", "after", "changes", "why"),
    [
        ("hold", 60 * MINUTE, {}, "moves nothing"),
        ("not_enough_evidence", 60 * MINUTE, {}, "moves nothing"),
        ("promote", MINUTE, {}, "lasts 600 seconds"),
        ("promote", 11 * MINUTE, {"stage_answers": 99}, "99 of 100 answers"),
        ("promote", 11 * MINUTE, {"revision": 1}, "not current"),
        ("roll_back", 11 * MINUTE, {"revision": 1}, "not current"),
        ("promote", 11 * MINUTE, {"candidate": 3}, "not the canary"),
        ("promote", 20 * MINUTE, {"judged_at": 1_700_000_000_000_000 - FRESH}, "not of now"),
    ],
)
def test_nothing_else_moves_it(desk: Desk, verdict: Verdict, after: int, changes: dict[str, int], why: str) -> None:
    """Too early, too few, of another revision or version, of long ago: the release stays, and the answer says why."""
    begun = begin(desk)
    release, waiting = say(desk, verdict, after=after, **changes)
    assert release.revision == begun.revision
    assert why in waiting


def test_silence_never_promotes(desk: Desk) -> None:
    """However long nobody says anything, the canary stays a canary."""
    begun = begin(desk)
    desk.clock.advance(10**6 * 86_400 * 365)
    assert desk.releases.current(CLINIC, "cost") == begun


def test_worse_goes_back_at_once_and_once(desk: Desk) -> None:
    """No waiting for the step's end; what was served before the canary comes back; the same verdict again does nothing; and a
    rollback by hand goes on from there."""
    desk.releases.set(CLINIC, "cost", Wish(3), "ada")
    desk.releases.set(CLINIC, "cost", Wish(1), "ada")
    begun = begin(desk)
    say(desk, "promote", after=11 * MINUTE)
    back, _ = say(desk, "roll_back")
    assert (served(back), back.action, back.automatic) == ([("stable", 1, 0)], "rollback", None)
    assert back.from_revision == begun.revision - 1
    again, waiting = say(desk, "roll_back", revision=back.revision - 1)
    assert (again.revision, "not current" in waiting) == (back.revision, True)
    assert served(desk.releases.rollback(CLINIC, "cost", "ada").release) == [("stable", 3, 0)]


def test_probation(desk: Desk) -> None:
    """A promoted version goes back while it is on probation, when its labels say so; not afterwards."""
    begin(desk, replace(PLAN, steps=()))
    promoted, _ = say(desk, "promote", after=11 * MINUTE)
    (trial,) = desk.releases.trials()
    assert (trial.stable, trial.candidate, trial.role, len(trial.stages)) == (1, 2, Role.CANARY, 1)
    assert trial.stages[0].end == promoted.created_at
    assert say(desk, "promote", after=MINUTE)[0] == promoted
    back, _ = say(desk, "roll_back", after=86_400 * 10**6)
    assert served(back) == [("stable", 1, 0)]
    assert desk.releases.trials() == []
    begin(desk, replace(PLAN, steps=()))
    late, _ = say(desk, "promote", after=11 * MINUTE)
    assert say(desk, "roll_back", after=8 * 86_400 * 10**6)[0] == late
    assert desk.releases.trials() == []


def test_first_release_with_a_canary_goes_back_to_its_stable_version(desk: Desk) -> None:
    """Where nothing was served before, the stable version is left."""
    add_version(desk, CLINIC, "stay", "run-1")
    add_version(desk, CLINIC, "stay", "run-2")
    release = desk.releases.set(CLINIC, "stay", Wish(1, 2, 500), "ada", automatic=replace(PLAN, steps=())).release
    judged = Judged(release.revision, 2, "promote", "", desk.clock.now + 11 * MINUTE, 1000)
    desk.clock.advance(11 * MINUTE)
    promoted = desk.releases.follow(CLINIC, "stay", judged, "monitor")[0].release
    worse = replace(judged, revision=promoted.revision, verdict="roll_back")
    assert served(desk.releases.follow(CLINIC, "stay", worse, "monitor")[0].release) == [("stable", 1, 0)]


def test_trials_have_a_stage_for_each_share(desk: Desk) -> None:
    """Of one pair of versions, in order; what is not automatic is judged as well."""
    first = desk.releases.set(CLINIC, "cost", Wish(1, 2, 50), "ada").release
    second = desk.releases.set(CLINIC, "cost", Wish(1, 2, 200), "ada").release
    (trial,) = desk.releases.trials()
    assert [(one.start, one.end, one.weight_permille) for one in trial.stages] == [
        (first.created_at, second.created_at, 50), (second.created_at, None, 200),
    ]  # fmt: skip
    desk.releases.set(CLINIC, "cost", Wish(1, 3, 200), "ada")
    assert [(one.candidate, len(one.stages)) for one in desk.releases.trials()] == [(3, 1)]
    desk.releases.set(CLINIC, "cost", Wish(1, shadow=3), "ada")
    assert [(one.role, one.stages[0].weight_permille) for one in desk.releases.trials()] == [(Role.SHADOW, 1000)]


@pytest.mark.parametrize(
    ("wish", "plan", "why"),
    [
        (Wish(1), PLAN, "only a canary"),
        (Wish(1, 2, 50), replace(PLAN, steps=(500, 250)), "steps grow"),
        (Wish(1, 2, 50), replace(PLAN, steps=(1000,)), "99.9"),
        (Wish(1, 2, 50), replace(PLAN, needs=("speed",)), "'speed' is no question"),
        (Wish(1, 2, 50), replace(PLAN, needs=()), "silence is never a pass"),
        (Wish(1, 2, 50), replace(PLAN, step_answers=0), "one answer at least"),
        (Wish(1, 2, 50), replace(PLAN, step_seconds=-1), "a year at most"),
    ],
)
def test_plans_that_cannot_be_meant(desk: Desk, wish: Wish, plan: Automatic, why: str) -> None:
    """Refused with what is wrong."""
    with pytest.raises(Invalid, match=why):
        desk.releases.set(CLINIC, "cost", wish, "ada", automatic=plan)


def pinned(name: str, version: int, at: int, role: Role = Role.STABLE) -> tuple[Replica, ServingChange]:
    """A replica that was told its version, and the line of history of when it began."""
    served = ServedModel(CLINIC, "cost", 0, (Track(role, version, f"{version:064x}"),))
    return Replica(name, at, (served,), (f"clinic/cost@{version}",)), ServingChange(name, at, served, "reported")


def test_pinned_versions_beside_each_other_are_a_trial() -> None:
    """By role where there is one; else the later one is the candidate, since its oldest living replica; none for one version."""
    old, new, newer, primary = pinned("a", 6, 100), pinned("b", 7, 300), pinned("c", 7, 200), pinned("d", 6, 400)
    history = [change for _, change in (primary, new, newer, old)]
    replicas = [replica for replica, _ in (primary, new, newer)]
    ((place, versions),) = pinned_to_two(replicas).items()
    trial = trial_of_pins(place, versions, history)
    assert trial is not None
    assert (trial.stable, trial.candidate, trial.stages[0].start, trial.release.revision) == (6, 7, 200, 0)
    assert pinned_to_two(replicas[1:]) == {}
    back, line = pinned("e", 5, 500, Role.STABLE)
    canary, its = pinned("f", 6, 50, Role.CANARY)
    ((place, versions),) = pinned_to_two([back, canary]).items()
    declared = trial_of_pins(place, versions, [line, its])
    assert declared is not None
    assert (declared.stable, declared.candidate) == (5, 6)
    assert trial_of_pins(place, versions, [line]) is None
