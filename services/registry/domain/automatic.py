"""Releases that go on by themselves: what follows from a verdict of monitor's. Pure functions; `releases` puts them to work.

Only a verdict moves anything, and only one on the revision that is current, given lately: a monitor that is silent, late
or away promotes nothing. A canary that is worse ends at once. One that may be promoted takes its next step when it has been
at this one for long enough and answered often enough there; after the last step it is stable, and on probation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from services.registry.domain.model import Automatic, Release, Role, Track
from services.registry.domain.release_rules import promote
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import TenantId

QUESTIONS = ("errors", "latency", "scores", "quality")
FRESH = 600 * 10**6
"""A verdict older than this (microseconds) moves nothing."""
_LONGEST = 366 * 86_400

Verdict = Literal["promote", "hold", "roll_back", "not_enough_evidence"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What monitor says of a revision's candidate. `stage_answers`: how often it has answered since this revision."""

    revision: int
    candidate: int
    verdict: Verdict
    summary: str
    judged_at: int
    stage_answers: int


@dataclass(frozen=True, slots=True)
class Step:
    """What follows: the next revision's content. `back`: it is a content that was there before."""

    action: str
    tracks: tuple[Track, ...]
    automatic: Automatic | None
    back: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of time with one share, in thousandths; `end` None: it lasts."""

    start: int
    end: int | None
    weight_permille: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate beside the stable version, since this pair began."""

    release: Release
    stable: int
    candidate: int
    role: Role
    stages: tuple[Stage, ...]

    @property
    def tenant(self) -> TenantId:
        """Whose it is."""
        return self.release.tenant


def check_automatic(wanted: Automatic, canary_weight_permille: int) -> Automatic:
    """The plan as it will be kept: its steps begin with the canary's weight. Raises `Invalid`."""

    def refuse(text: str) -> Invalid:
        return Invalid("AUTOMATIC_INVALID", f"automatic: {text}", place=Place(field="automatic"))

    if not canary_weight_permille:
        raise Invalid(
            "AUTOMATIC_WITHOUT_CANARY",
            "only a canary can go on by itself",
            place=Place(field="automatic"),
            hint="add `--canary VERSION --weight 5`",
        )
    if not all(1 <= step <= 999 for step in wanted.steps):
        raise refuse("a step is a share from 0.1 to 99.9 percent")
    if list(wanted.steps) != sorted(set(wanted.steps)):
        raise refuse("steps grow: 5, 25, 50")
    if unknown := sorted(set(wanted.needs) - set(QUESTIONS)):
        raise refuse(f"{unknown[0][:40]!r} is no question; there are {', '.join(QUESTIONS)}")
    if not wanted.needs:
        raise refuse("something must be needed: silence is never a pass")
    if not (0 <= wanted.step_seconds <= _LONGEST and 0 <= wanted.probation_seconds <= _LONGEST):
        raise refuse("steps and probation last a year at most")
    if wanted.step_answers < 1:
        raise refuse("a step needs one answer at least")
    later = tuple(step for step in wanted.steps if step > canary_weight_permille)
    needs = tuple(question for question in QUESTIONS if question in wanted.needs)
    return replace(wanted, steps=(canary_weight_permille, *later), needs=needs, probation_until=0, before=0)


def next_step(current: Release | None, judged: Judged, now: int) -> Step | str:
    """What follows from a verdict, or why nothing does."""
    if current is None or current.revision != judged.revision:
        return f"revision {judged.revision} is not current"
    plan = current.automatic
    if plan is None:
        return "the release does not go on by itself"
    if not now - FRESH <= judged.judged_at <= now + FRESH:
        return "the verdict is not of now"
    stable, canary = current.track(Role.STABLE), current.track(Role.CANARY)
    if plan.probation_until:
        return _on_probation(current, plan, judged, now)
    if stable is None or canary is None or canary.version != judged.candidate:
        return f"version {judged.candidate} is not the canary"
    if judged.verdict == "roll_back":
        return Step("rollback", tuple(track for track in current.tracks if track is not canary), None, back=True)
    if judged.verdict != "promote":
        return "the verdict moves nothing"
    if now < current.created_at + plan.step_seconds * 10**6:
        return f"this step lasts {plan.step_seconds} seconds at least"
    if judged.stage_answers < plan.step_answers:
        return f"{judged.stage_answers} of {plan.step_answers} answers in this step"
    higher = next((step for step in plan.steps if step > canary.weight_permille), None)
    others = sum(track.weight_permille for track in current.tracks if track.role.is_arm)
    if higher is not None and higher + others <= 999:
        grown = replace(canary, weight_permille=higher)
        return Step("advance", tuple(grown if track is canary else track for track in current.tracks), plan)
    until = now + plan.probation_seconds * 10**6 if plan.probation_seconds else 0
    after = replace(plan, probation_until=until, before=stable.version) if until else None
    return Step("promote", promote(current), after)


def _on_probation(current: Release, plan: Automatic, judged: Judged, now: int) -> Step | str:
    stable = current.track(Role.STABLE)
    if now > plan.probation_until or judged.verdict != "roll_back":
        return "promoted"
    if stable is None or stable.version != judged.candidate:
        return f"version {judged.candidate} is not stable"
    # Which tracks those were, and their digest, the history knows.
    return Step("rollback", (), None, back=True)


def trial_of(current: Release, before: Iterable[Release], now: int) -> Trial | None:
    """What is tried in a release, None when nothing is. `before`: earlier revisions, newest first, read as far as needed."""
    found = _pair(current)
    if found is None:
        plan, stable = current.automatic, current.track(Role.STABLE)
        if plan is None or stable is None or now > plan.probation_until:
            return None
        found = plan.before, stable.version, Role.CANARY
    releases = [current]
    for release in before:
        releases.append(release)
        if _pair(release) != found:
            break
    stages: list[Stage] = []
    end: int | None = None
    for release in releases:
        if _pair(release) == found:
            track = release.track(found[2])
            weight = 1000 if track is None or found[2] == Role.SHADOW else track.weight_permille
            if stages and stages[-1].weight_permille == weight and stages[-1].start == end:
                stages[-1] = replace(stages[-1], start=release.created_at)
            else:
                stages.append(Stage(release.created_at, end, weight))
        end = release.created_at
    return Trial(current, found[0], found[1], found[2], tuple(reversed(stages)))


def _pair(release: Release) -> tuple[int, int, Role] | None:
    stable = release.track(Role.STABLE)
    for role in (Role.CANARY, Role.SHADOW):
        track = release.track(role)
        if track is not None and stable is not None:
            return stable.version, track.version, role
    return None
