"""What a release may be, and how one follows from another. Pure functions; `releases` puts them to work.

**Rolling back.** Every revision has an *origin*: itself, or for a rollback the revision whose content it took. The
content before the current one is that of the revision just under the current origin (again by its origin). So two
rollbacks go two steps back, as with undo; what is set after a rollback grows from where the rollback went:

    1 set A   2 set B   3 set C   4 rollback (B, from 2)   5 rollback (A, from 1)   6 set D   7 rollback (A, from 1)

`rollback --to N` goes to any earlier revision, so the way forward again is open too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.registry.domain.model import Release, Role, Track, Version
from tenon.core.errors import Conflict, Invalid, Place, Precondition, did_you_mean
from tenon.core.roles import ROLES

MAX_REASON = 500
MAX_ARMS = 20


@dataclass(frozen=True, slots=True)
class Arm:
    """A version beside the stable one, under a name of its own, with its share in thousandths."""

    name: str
    version: int
    weight_permille: int


@dataclass(frozen=True, slots=True)
class Wish:
    """The versions somebody wants to serve; 0 means none."""

    stable: int
    canary: int = 0
    canary_weight_permille: int = 0
    shadow: int = 0
    arms: tuple[Arm, ...] = ()

    @property
    def answering(self) -> tuple[int, ...]:
        """Every version that would answer."""
        named = (self.stable, self.canary, *(arm.version for arm in self.arms))
        return tuple(dict.fromkeys(number for number in named if number))

    @property
    def versions(self) -> tuple[int, ...]:
        """Every version named."""
        return (*self.answering, *((self.shadow,) if self.shadow else ()))


def check_wish(wish: Wish) -> None:
    """Refuse what no state of the world would allow. Raises `Invalid` naming the field."""
    for name, number in (("stable", wish.stable), ("canary", wish.canary), ("shadow", wish.shadow)):
        if number < 0:
            raise Invalid("VERSION_INVALID", f"{name}: a version is 1 or more, not {number}", place=Place(field=name))
    if wish.stable == 0:
        raise Invalid("STABLE_MISSING", "a release needs a stable version", place=Place(field="stable"))
    if wish.canary:
        if not 1 <= wish.canary_weight_permille <= 999:
            raise Invalid(
                "CANARY_WEIGHT_INVALID",
                "a canary needs a weight from 0.1 to 99.9 percent",
                place=Place(field="canary_weight"),
                hint="to give the canary everything, promote it",
            )
        if wish.canary == wish.stable:
            raise Invalid("CANARY_IS_STABLE", f"version {wish.canary} is stable already", place=Place(field="canary"))
    elif wish.canary_weight_permille:
        raise Invalid("CANARY_MISSING", "a canary weight needs a canary version", place=Place(field="canary"))
    _check_arms(wish)
    if wish.shadow and wish.shadow in wish.answering:
        raise Invalid(
            "SHADOW_ANSWERS",
            f"version {wish.shadow} answers already, so it cannot be the shadow too",
            place=Place(field="shadow"),
        )


def _check_arms(wish: Wish) -> None:
    if len(wish.arms) > MAX_ARMS:
        raise Invalid("ARMS_TOO_MANY", f"a release has at most {MAX_ARMS} arms", place=Place(field="arms"))
    seen = set()
    for arm in wish.arms:
        try:
            role = Role(arm.name)
        except ValueError:
            role = Role.STABLE
        if not role.is_arm or did_you_mean(arm.name, ROLES):
            raise Invalid(
                "ARM_NAME_INVALID",
                f"{arm.name[:40]!r} cannot be an arm's name: lower-case letters, digits, - and _ (at most 10), and nothing near "
                + ", ".join(ROLES),
                place=Place(field="arms"),
            )
        if arm.name in seen:
            raise Invalid("ARM_REPEATED", f"arm {arm.name!r} is named twice", place=Place(field="arms"))
        seen.add(arm.name)
        if arm.version < 1:
            raise Invalid(
                "VERSION_INVALID",
                f"arm {arm.name!r}: a version is 1 or more, not {arm.version}",
                place=Place(field="arms"),
            )
        if not 1 <= arm.weight_permille <= 999:
            raise Invalid(
                "ARM_WEIGHT_INVALID",
                f"arm {arm.name!r} needs a weight from 0.1 to 99.9 percent",
                place=Place(field="arms"),
            )
    total = wish.canary_weight_permille + sum(arm.weight_permille for arm in wish.arms)
    if total > 999:
        raise Invalid(
            "ARMS_TAKE_ALL",
            f"the weights add up to {total / 10:g} percent; at least 0.1 percent must be left for the stable version",
            place=Place(field="arms"),
        )


def compose(wish: Wish, versions: Mapping[int, Version]) -> tuple[Track, ...]:
    """The tracks of a checked wish, in the order stable, canary, arms as they were named, shadow.

    The order of the arms is the order of their shares of the hash: who changes one arm's weight moves only entities of
    that arm and of those behind it.
    """
    wanted = (
        (Role.STABLE, wish.stable, 0),
        (Role.CANARY, wish.canary, wish.canary_weight_permille),
        *((Role(arm.name), arm.version, arm.weight_permille) for arm in wish.arms),
        (Role.SHADOW, wish.shadow, 0),
    )
    return tuple(
        Track(role, number, versions[number].bundle_sha256, weight) for role, number, weight in wanted if number
    )


def answering(release: Release | None) -> set[int]:
    """The versions that answer in a release; a shadow does not."""
    return {track.version for track in release.tracks if track.role.answers} if release else set()


def check_gates(wish: Wish, versions: Mapping[int, Version], current: Release | None) -> None:
    """Refuse to let a version answer that failed a gate, unless it answers already (somebody forced it before).

    A shadow never answers, so it needs no gate.
    """
    for number in wish.answering:
        if number not in answering(current) and not versions[number].gates_passed:
            failed = versions[number].failed_gates
            raise Precondition(
                "GATES_FAILED",
                f"version {number} failed {len(failed)} gate{'s' if len(failed) > 1 else ''}: {'; '.join(failed)}",
                hint="release it all the same with --force",
                data={"version": number, "gates": list(failed)},
            )


def check_expected(current: Release | None, expected_revision: int) -> None:
    """Refuse when somebody else has released since the caller looked. 0: the caller does not mind."""
    revision = current.revision if current else 0
    if expected_revision and expected_revision != revision:
        raise Conflict(
            "RELEASE_CHANGED",
            f"the current revision is {revision}, not {expected_revision}",
            place=Place(field="expected_revision"),
            hint="look at `tenon release history` and decide again",
            data={"current_revision": revision},
        )


def check_reason(reason: str) -> None:
    """Refuse a reason nobody will read."""
    if len(reason) > MAX_REASON:
        raise Invalid("REASON_TOO_LONG", f"a reason has at most {MAX_REASON} characters", place=Place(field="reason"))


def promote(current: Release, arm: str = "") -> tuple[Track, ...]:
    """The tracks after the canary, or the named arm, has become stable; a shadow stays, everything else ends.

    Without a name it is the canary, or else the only arm.
    """
    shadow = current.track(Role.SHADOW)
    arms = [track for track in current.tracks if track.role.is_arm]
    if arm:
        canary = next((track for track in current.tracks if track.role == arm and track.weight_permille), None)
        if canary is None:
            raise Precondition(
                "NO_SUCH_ARM",
                f"revision {current.revision} has no arm {arm[:40]!r}",
                place=Place(field="arm"),
                hint=f"arms: {', '.join(track.role for track in arms)}" if arms else None,
            )
    else:
        canary = current.track(Role.CANARY)
        if canary is None and len(arms) == 1:
            canary = arms[0]
        elif canary is None and arms:
            raise Precondition(
                "ARM_NOT_NAMED",
                f"revision {current.revision} has {len(arms)} arms: {', '.join(track.role for track in arms)}",
                place=Place(field="arm"),
                hint="name the one to promote: `tenon release promote MODEL --arm NAME`",
            )
    if canary is None:
        stable = current.track(Role.STABLE)
        raise Precondition(
            "NO_CANARY",
            f"there is no canary to promote: revision {current.revision} serves only version "
            f"{stable.version if stable else 0}",
            hint="start one with `tenon release set --canary VERSION --weight 20`",
        )
    stable_track = Track(Role.STABLE, canary.version, canary.bundle_sha256)
    return (stable_track, shadow) if shadow else (stable_track,)


def origin(release: Release) -> int:
    """The revision a release's content was first set with."""
    return release.from_revision or release.revision


def earlier_content(current: Release, get: Callable[[int], Release]) -> Release | None:
    """The revision a rollback goes to (never itself a rollback), or None when there is nothing before."""
    number = origin(current) - 1
    while number >= 1:
        found = get(origin(get(number)))
        if found.tracks != current.tracks:
            return found
        number = found.revision - 1
    return None
